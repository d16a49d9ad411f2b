"""A model of the claude process: reads stdin lines, prints stdout bytes, dies when its fate says so.

It follows what was observed of the real CLI under a supervisor: nothing is printed before the first line is read; a
message is reported as queued and started; a repeated uuid is dropped by the same process, reported as completed by
the next one if an answer was begun, and run again if not; a tool waits for the answer to its question for ever; what
was printed last is not yet in the transcript. The turn itself is in `claude_turn`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

import msgspec

from betcode.testing.simulator import claude_lines as lines
from betcode.testing.simulator.conversation import ModelConversation
from betcode.testing.simulator.stage import Stage
from betcode.testing.simulator.truth import Printed, Question, RunTruth, Truth

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Host(Protocol):
    """Who holds the other ends of the pipes."""

    def stdout(self, data: bytes) -> None:
        """Bytes in the pipe."""
        ...

    def claude_ended(self, code: int | None, signal: int | None, stderr: tuple[str, ...]) -> None:
        """The process is gone."""
        ...


@dataclass(frozen=True, slots=True)
class Fate:
    """How this process ends, if not by others. One of the numbers is set, or none."""

    line: int = 0
    """Dies while printing this line."""
    time_s: float = 0.0
    """Dies this long after its start."""
    at_start: bool = False
    hangs: bool = False
    """Never reads anything."""
    silent: int = 0
    """Prints nothing more after this line, in the middle of a turn."""
    obeys: bool = True
    """Whether an interrupt ends that silence."""


class Dead(Exception):
    """This process has just ended."""


@dataclass(slots=True)
class Setting:
    """What a model claude is started with."""

    conversation: ModelConversation
    resume: bool
    fate: Fate
    gentle: bool
    """Nothing goes wrong by itself."""
    rerun: bool = False
    """Goes on with the turn that was cut off, without a message."""


class ModelClaude:
    """One process. `feed` takes stdin lines; output goes to the host."""

    def __init__(self, stage: Stage, truth: Truth, record: RunTruth, host: Host, setting: Setting) -> None:
        """Alive from here on."""
        self.stage = stage
        self.truth = truth
        self.record = record
        self.host = host
        self.setting = setting
        self.conversation = setting.conversation
        self.rng = Random(f"claude {record.session} {record.run} {stage.plan.seed}")
        self.alive = True
        self.rules: set[str] = set()
        """Tools that a person allowed for the rest of the session."""
        self.queue: list[str] = []
        """Messages that wait for their turn."""
        self.turn: asyncio.Task[None] | None = None
        self.aborting = False
        self.questions: dict[str, tuple[Question, asyncio.Future[dict[str, Any]]]] = {}
        self.numbers = 0
        self._up = False
        self._early: list[bytes] = []
        self._seen: set[str] = set()
        self._lines = 0
        self._unanswered = ""
        """Message at the end of the transcript as it was found: a copy of it is answered, in this process only."""
        self._wake = asyncio.Event()
        self.conversation.processes += 1
        two = f"two claudes are alive on {self.conversation.name}, the second is run {record.run} of {record.session}"
        stage.check(self.conversation.processes == 1, "INV-7", two)
        self._main = stage.task(self._guarded(), f"claude {record.session} {record.run}")
        if setting.fate.time_s:
            stage.later(setting.fate.time_s, self._die_by_fate)

    # --- life ---------------------------------------------------------------------------------------------------

    async def _guarded(self) -> None:
        try:
            await self._live()
        except Dead:
            return

    async def _live(self) -> None:
        fate = self.setting.fate
        await asyncio.sleep(self.rng.uniform(0.05, 0.8))
        if fate.hangs and not self.stage.plan.calm:
            await asyncio.get_running_loop().create_future()
        if fate.at_start and not self.stage.plan.calm:
            self._die(self.rng.choice((1, 1, 2, 127)), None, "claude: cannot start", clean=True)
        if self.setting.resume and not self.conversation.can_be_resumed(self.stage.now_s):
            self.print(lines.no_conversation(self.conversation.name))
            self._die(1, None, "No conversation found", clean=True)
        if not self.setting.resume and self.conversation.can_be_resumed(self.stage.now_s):
            self._die(1, None, "Session ID is already in use.", clean=True)
        self._up = True
        if self.setting.rerun:
            await self._go_on()
        else:
            self._unanswered = self.conversation.fill(self.stage.now_s)
        for line in self._early:
            self._read(line)
        self._early.clear()
        while True:
            if not self.queue:
                self._wake.clear()
                await self._wake.wait()
            await asyncio.sleep(self.rng.uniform(0.001, 0.1))
            if self.queue:
                self.turn = self.stage.task(self.take_turn(own=False), "turn")
                await self._turn_over()
            if not self.setting.gentle and self.stage.plan.chance(self.rng, "claude", 0.1):
                await asyncio.sleep(self.rng.uniform(0.01, 5.0))  # a background task ended: a turn of its own
                self.turn = self.stage.task(self.take_turn(own=True), "own turn")
                await self._turn_over()

    async def _go_on(self) -> None:
        """Begin the cut-off turn, if there is one, before anything that came on stdin is answered."""
        uuid = self.conversation.newest()
        if not uuid or self.conversation.stored().answered:
            return
        self.truth.turn_rerun(self.record, uuid, self.conversation.stored().results)
        self._seen.add(uuid)
        self.turn = self.stage.task(self.take_turn(own=False, again=uuid), "turn that goes on")
        for line in self._early:
            self._read(line)
        self._early.clear()
        await self._turn_over()

    async def _turn_over(self) -> None:
        assert self.turn is not None
        await asyncio.wait([self.turn])
        self.turn = None
        if not self.alive:
            raise Dead

    async def silence(self) -> None:
        """Wait for ever, if it is its fate to fall silent here."""
        silent = self.setting.fate.silent
        if silent and self._lines >= silent and not self.stage.plan.calm:
            self.stage.note(f"claude {self.record.session}.{self.record.run} falls silent")
            await asyncio.get_running_loop().create_future()

    async def take_turn(self, *, own: bool, again: str = "") -> None:
        """One turn; `claude_turn.take_turn`, which knows this class, takes its place."""
        raise NotImplementedError

    def _die_by_fate(self) -> None:
        if self.alive and not self.stage.plan.calm:
            self.end_by_fate()

    def end_by_fate(self) -> None:
        """Crash, in one of the ways in which processes do."""
        code, signal = self.rng.choice(((1, None), (None, 9), (None, 11), (134, None), (0, None), (143, None)))
        self.ended(code, signal, "fatal: something", clean=code == 143)

    def _die(self, code: int | None, signal: int | None, stderr: str = "", *, clean: bool) -> None:
        self.ended(code, signal, stderr, clean=clean)
        raise Dead

    def ended(self, code: int | None, signal: int | None, stderr: str = "", *, clean: bool) -> None:
        """End now. `clean`: the transcript is written to its end."""
        if not self.alive:
            return
        self.alive = False
        self.conversation.processes -= 1
        if clean:
            self.conversation.flush()
        else:
            self.conversation.crash(self.stage.now_s)
        self.stage.note(f"claude {self.record.session}.{self.record.run} ends: code {code}, signal {signal}")
        for task in (self._main, self.turn):
            if task is not None:
                task.cancel()
        self.host.claude_ended(code, signal, (stderr,) if stderr else ())

    def terminate(self, delay_s: float) -> None:
        """SIGTERM; it takes a moment, longer in a tool."""
        self.stage.later(delay_s, lambda: self.ended(143, None, clean=True))

    def kill(self) -> None:
        """SIGKILL."""
        self.ended(None, 9, clean=False)

    # --- stdout -------------------------------------------------------------------------------------------------

    def print(self, data: bytes, *, kind: str = "", key: str = "", text: str = "") -> int:
        """Print one line, which becomes an event of `kind` if that is given. Returns the offset behind it.

        Raises Dead when this was the line at which the process ends.
        """
        if not self.alive:
            raise Dead
        self._lines += 1
        end = self.record.bytes_printed + len(data)
        if kind:
            self.record.printed.append(Printed(end, kind, key, text))
        if self._lines == self.setting.fate.line and not self.stage.plan.calm:
            cut = self.rng.choice((0, len(data), len(data) - 1, self.rng.randrange(len(data))))
            self._put(data[:cut])
            self.end_by_fate()
            raise Dead
        self._put(data)
        return end

    def _put(self, data: bytes) -> None:
        if data:
            self.record.bytes_printed += len(data)
            self.host.stdout(data)

    # --- stdin --------------------------------------------------------------------------------------------------

    def feed(self, line: bytes) -> None:
        """A whole line arrived."""
        if self.alive and not self._up:
            self._early.append(line)
        elif self.alive:
            try:
                self._read(line)
            except Dead:
                return

    def _read(self, line: bytes) -> None:
        if not self.alive:
            raise Dead
        value = _decode(line)
        match value["type"]:
            case "user":
                self._on_message(value["uuid"])
            case "control_request":
                self._on_control(value["request_id"], value["request"])
            case "control_response":
                self._on_answer(value["response"])
            case _:
                pass

    def _on_message(self, uuid: str) -> None:
        self.stage.note(f"claude {self.record.session}.{self.record.run} reads message {uuid[-6:]}")
        self.truth.message_read(self.record, uuid)
        if uuid in self._seen:
            return
        self._seen.add(uuid)
        if self.conversation.is_answered(uuid) and uuid != self._unanswered:
            lost = f"message {uuid[-6:]} is sent again in vain: claude has noted it as unanswered"
            self.stage.check(not self.conversation.is_filled(uuid), "INV-1", lost)
            self.print(lines.lifecycle(uuid, "completed"))
            return
        self.print(lines.lifecycle(uuid, "queued"))
        self.queue.append(uuid)
        self._wake.set()

    def _on_control(self, request_id: str, request: dict[str, Any]) -> None:
        if request["subtype"] == "initialize":
            named = {"claude_code_version": lines.VERSION} if self.record.run % 3 else {}  # older ones do not say it
            self.print(lines.control_response(request_id, {"commands": [], "pid": 1} | named))
        elif request["subtype"] == "get_binary_version":
            self.print(lines.control_response(request_id, {"version": lines.VERSION}))
        elif request["subtype"] == "cancel_async_message":
            uuid = request["message_uuid"]
            there = uuid in self.queue
            if there:
                self.queue.remove(uuid)
                self.print(lines.lifecycle(uuid, "cancelled"))
            self.print(lines.control_response(request_id, {"cancelled": there}))
        elif request["subtype"] == "interrupt":
            if self.setting.fate.silent and not self.setting.fate.obeys:
                return
            self.stage.note(f"claude {self.record.session}.{self.record.run} is interrupted")
            for pending, (_, answer) in self.questions.items():
                if not answer.done():
                    self.print(lines.cancel_request(pending))
                    answer.cancel()
            self.print(lines.control_response(request_id, {"still_queued": list(self.queue)}))
            if self.turn is not None and not self.aborting:
                self.aborting = True
                self.turn.cancel()
        else:
            self.print(lines.control_refusal(request_id, "unsupported_request"))

    def _on_answer(self, response: dict[str, Any]) -> None:
        question, answer = self.questions.get(response["request_id"], (None, None))
        if question is None or answer is None:
            self.stage.note(f"claude {self.record.session}.{self.record.run} is told an answer to nothing it asked")
            return
        body = response.get("response") or {}
        allow = body.get("behavior") == "allow"
        self.truth.answer_read(self.record, question, allow, body.get("updatedInput"))
        if not answer.done():
            answer.set_result(body)
