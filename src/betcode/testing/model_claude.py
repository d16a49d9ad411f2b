"""A small model of the claude CLI: what it prints for what it is given, one choice at a time.

It knows what matters to the core and is proved by recordings of the real one: the order of lifecycle, init, result;
messages given early join the running turn after a tool call, or run next; a question waits until it is answered;
an interrupt withdraws it; a repeated uuid that has an answer is dropped and called completed, one that has none runs
again; background tasks start turns of their own. A model that meets what must never happen raises AssertionError.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from betcode.core.effects import Allow, AskVersion, Command, Deny, Initialize, RefuseControl, Say, StopTurn, Withdraw
from betcode.model.capabilities import Capabilities
from betcode.model.conversation import Conversation as Stored
from betcode.model.facts import (
    BadLine,
    ControlAnswer,
    ControlRequest,
    Fact,
    Lifecycle,
    PermissionRequest,
    RequestWithdrawn,
    RunState,
    TextBlock,
    ToolCall,
    ToolResult,
    TurnResult,
    TurnStarted,
    Unknown,
    UserText,
)

VERSION = "2.1.330"


@dataclass(slots=True)
class Conversation:
    """What all processes of one conversation leave behind, and what the tests want to know of it."""

    entries: list[tuple[str, str]] = field(default_factory=list)
    """What the transcript holds: (user | call | result | end, uuid or tool_use_id)."""
    dropped: set[str] = field(default_factory=set)
    outcome: dict[str, str] = field(default_factory=dict)
    """How claude ended the turn of a message: completed, failed or cancelled."""
    calls: dict[str, list[str]] = field(default_factory=dict)
    """Message -> the calls that were made in its turn."""
    tool_runs: dict[str, set[int]] = field(default_factory=dict)
    """Message -> processes in which a tool was called in its turn."""
    ran: Counter[str] = field(default_factory=Counter)
    """Tool calls that were run."""

    def stored(self) -> Stored:
        """What a reader of the transcript learns."""
        last = next((uuid for kind, uuid in reversed(self.entries) if kind == "user"), "")
        return Stored(
            found=bool(self.entries),
            messages=self.of("user"),
            calls=self.of("call"),
            results=self.of("result"),
            prompts=(last,) if last else (),
            answered=last in self.of("end"),
            followed=bool(self.entries) and self.entries[-1][0] != "user",
        )

    def of(self, kind: str) -> frozenset[str]:
        """All ids of one kind."""
        return frozenset(name for known, name in self.entries if known == kind)

    def is_answered(self, uuid: str) -> bool:
        """Whether anything of an answer to this message is stored: a copy of it is dropped then."""
        if ("user", uuid) not in self.entries:
            return False
        after = self.entries[self.entries.index(("user", uuid)) + 1 :]
        return any(kind != "user" for kind, _ in after)

    def is_filled(self, uuid: str) -> bool:
        """Whether all that follows this message is the note that there was no answer."""
        after = self.entries[self.entries.index(("user", uuid)) + 1 :]
        return bool(after) and all(kind == "filler" for kind, _ in after)

    def fill(self) -> str:
        """claude was resumed: after a message at the end it notes that there is no answer. uuid of that message."""
        if not self.entries or self.entries[-1][0] != "user":
            return ""
        uuid = self.entries[-1][1]
        self.entries.append(("filler", uuid))
        return uuid

    def unfinished(self) -> str:
        """The newest message, if its turn has no end: what a re-run goes on with."""
        stored = self.stored()
        last = next((uuid for kind, uuid in reversed(self.entries) if kind == "user"), "")
        return "" if stored.answered else last


@dataclass(slots=True)
class _Turn:
    uuids: list[str]
    joined: list[str] = field(default_factory=list)
    """Messages that came in the middle: their `completed` comes before the result."""
    tools: int = 0
    rerun: bool = False

    @property
    def all(self) -> list[str]:
        return self.uuids + self.joined


@dataclass(slots=True)
class _Question:
    tool_use_id: str
    of_task: bool


class ModelClaude:
    """One process. `lines` is its standard output so far: each line as the facts that it holds."""

    def __init__(self, run: int, conversation: Conversation, *, names_messages: bool, rerun: bool = False) -> None:
        """How it behaves.

        Args:
            run: its number.
            conversation: what is left of earlier processes.
            names_messages: whether results list the messages they are about, as newer versions do.
            rerun: it goes on with the turn that was cut off, if there is one.
        """
        self.run = run
        self.conversation = conversation
        self.alive = True
        self.lines: list[list[Fact]] = []
        self.stdin: list[Command] = []
        self.spoil: type[Fact] | None = None
        """The next line with a fact of this type comes out damaged."""
        self.questions: dict[str, _Question] = {}
        self.tasks = 0
        self._names_messages = names_messages
        self._queue: list[str] = []
        self._seen: set[str] = set()
        self._fresh = 0
        """Entries of the transcript that are this process's own."""
        self._turn: _Turn | None = None
        self._count = 0
        self._unanswered = ""
        """Message at the end of the transcript as it was found: a copy of it is answered, in this process only."""
        if rerun and conversation.unfinished():
            self._rerun(conversation.unfinished())
        else:
            self._unanswered = conversation.fill()

    def _rerun(self, uuid: str) -> None:
        """Go on after the last stored result. What has none is cut out of the history, and called again."""
        cut = [name for name in self.conversation.of("call") if name not in self.conversation.of("result")]
        ran = [name for name in self.conversation.calls.get(uuid, []) if name not in self.conversation.of("result")]
        lost = [name for name in ran if self.conversation.ran[name]]
        assert not lost, f"a re-run repeats {lost} (cut: {cut}), which had run"
        self.conversation.tool_runs.setdefault(uuid, set()).add(self.run)
        self._seen.add(uuid)
        self._print(RunState("running"))
        self._print(Lifecycle(self._name("cli"), "started"))
        self._turn = _Turn([uuid], rerun=True)
        self._print(TurnStarted("opus", ""))

    @property
    def busy(self) -> bool:
        """Whether it has something to do that needs no answer of a person."""
        return self.alive and bool(self.stdin or self._queue or self._turn or self.tasks)

    # --- what it is given ---------------------------------------------------------------------------------------

    def read_stdin(self) -> None:
        """Take one line from its standard input."""
        if not (self.alive and self.stdin):
            return
        match self.stdin.pop(0):
            case Initialize():
                named = self.run % 3 != 0  # some versions name theirs only when they are asked
                self._print(ControlAnswer("init", ok=True, offer=Capabilities(version=VERSION if named else "")))
            case AskVersion():
                self._print(ControlAnswer("version", ok=True, offer=Capabilities(version=VERSION)))
            case Say() as said:
                self._given(said.message_id)
            case StopTurn():
                self._interrupted()
            case (Allow() | Deny()) as answer:
                self._answered(answer)
            case Withdraw() as taken:
                there = taken.message_uuid in self._queue
                self._queue = [uuid for uuid in self._queue if uuid != taken.message_uuid]
                if there:
                    self._print(Lifecycle(taken.message_uuid, "cancelled"))
                self._print(ControlAnswer(f"withdraw:{taken.message_uuid}", ok=True, body={"cancelled": there}))
            case RefuseControl():
                pass

    def _given(self, uuid: str) -> None:
        earlier = self.conversation.tool_runs.get(uuid, set()) - {self.run}
        assert not earlier, f"{uuid} is sent again although its turn had called tools in run {earlier}"
        if uuid in self._seen:
            return
        self._seen.add(uuid)
        if self.conversation.is_answered(uuid) and uuid != self._unanswered:
            assert not self.conversation.is_filled(uuid), f"{uuid} is sent again in vain: claude noted it as unanswered"
            self.conversation.dropped.add(uuid)
            self._print(Lifecycle(uuid, "completed"))
            if self._turn is None:
                self._print(RunState("idle"))
            return
        if self._turn is None:
            self._print(RunState("running"))
        self._queue.append(uuid)
        self._print(Lifecycle(uuid, "queued"))

    def _interrupted(self) -> None:
        for request_id in [r for r, q in self.questions.items() if not q.of_task]:
            del self.questions[request_id]
            self._print(RequestWithdrawn(request_id))
        self._print(ControlAnswer("interrupt", ok=True, body={"still_queued": list(self._queue)}))
        if self._turn is not None:
            self._print(UserText("", "[Request interrupted by user]"))
            self._end_turn("cancelled", "aborted_streaming")

    def _answered(self, answer: Allow | Deny) -> None:
        question = self.questions.pop(answer.request_id, None)
        if question is None:
            return
        self._store("result", question.tool_use_id)
        if isinstance(answer, Allow):
            self.conversation.ran[question.tool_use_id] += 1
            assert self.conversation.ran[question.tool_use_id] == 1, "a tool call ran twice"
        self._print(RunState("running"))
        self._print(ToolResult("", question.tool_use_id, "", is_error=isinstance(answer, Deny)))
        if isinstance(answer, Deny) and answer.interrupt and self._turn is not None and not question.of_task:
            self._end_turn("cancelled", "aborted_tools")

    # --- what it does by itself ---------------------------------------------------------------------------------

    def work(self, choice: int) -> None:
        """Go on with the turn, or begin the next one; `choice` is the model's answer."""
        if not self.alive or any(not q.of_task for q in self.questions.values()):
            return
        if self._turn is not None:
            self._go_on(self._turn, choice % 10)
        elif self._queue:
            self._begin(_Turn(self._queue))
            self._queue = []
        elif self.tasks and choice % 3 == 0 and not self.questions:
            self._call_tool([], ask=True, of_task=True)
        elif self.tasks and not self.questions:
            self.tasks -= 1
            self._begin(_Turn([]))

    def finish(self) -> None:
        """Do all that is left to do without calling tools."""
        for _ in range(100):
            while self.alive and self.stdin:
                self.read_stdin()
            if not self.busy or self.questions:
                return
            self.work(6 if self._turn is not None else 1)
        raise AssertionError("claude does not come to an end")

    def _begin(self, turn: _Turn) -> None:
        self._turn = turn
        self._print(RunState("running"))
        for uuid in turn.uuids:
            self._store("user", uuid)
            self._print(Lifecycle(uuid, "started"))
        self._print(TurnStarted("opus", ""))

    def _go_on(self, turn: _Turn, choice: int) -> None:
        match choice:
            case 0 | 1:
                self._print(TextBlock("", self._name("msg"), "text", "well"))
            case 2 | 3:
                self._call_tool(turn.all, ask=False)
                turn.joined += self._queue
                for uuid in self._queue:
                    self._store("user", uuid)
                    self._print(Lifecycle(uuid, "started"))
                self._queue = []
            case 4 | 5:
                self._call_tool(turn.all, ask=True)
            case 6:
                self._end_turn("completed", "completed")
            case 7:
                self._end_turn("failed", "api_error")
            case 8:
                self.tasks += 1
                self._call_tool(turn.all, ask=False)
            case _:
                self._print(ControlRequest(self._name("control"), "mcp_message"))
                self._print(Unknown("system/new", "{}"))

    def _call_tool(self, uuids: list[str], *, ask: bool, of_task: bool = False) -> None:
        for uuid in uuids:
            self.conversation.tool_runs.setdefault(uuid, set()).add(self.run)
        if self._turn is not None and not of_task:
            self._turn.tools += 1
        use, scope = self._name("toolu"), "task" if of_task else ""
        for uuid in uuids:
            self.conversation.calls.setdefault(uuid, []).append(use)
        self._store("call", use)
        self._print(ToolCall(scope, self._name("msg"), use, "Bash", {"command": "make"}))
        if not ask:
            self.conversation.ran[use] += 1
            self._store("result", use)
            self._print(ToolResult(scope, use, "", is_error=False))
            return
        request_id = self._name("request")
        self.questions[request_id] = _Question(use, of_task)
        self._print(RunState("requires_action"))
        self._print(PermissionRequest(request_id, "Bash", {"command": "make"}, tool_use_id=use))

    def _end_turn(self, outcome: str, terminal_reason: str) -> None:
        assert self._turn is not None
        turn, self._turn = self._turn, None
        for uuid in turn.all:
            assert uuid not in self.conversation.outcome, f"{uuid} ends a second time"
            self.conversation.outcome[uuid] = outcome
            self._store("end" if outcome == "completed" else "error", uuid)
        good = outcome == "completed"
        end = "completed" if good else "cancelled"
        for uuid in turn.joined:
            self._print(Lifecycle(uuid, end))
        self._print(
            TurnResult(
                "error_during_execution" if outcome == "cancelled" else "success",
                not good,
                terminal_reason,
                message_ids=tuple(turn.all) if self._names_messages else (),
                origin="" if turn.all else "task-notification",
                num_turns=1,
            )
        )
        for uuid in turn.uuids if not turn.rerun else [self._name("cli")]:
            self._print(Lifecycle(uuid, end))
        if not (self._queue or self.tasks):
            self._print(RunState("idle"))

    # --- its end ------------------------------------------------------------------------------------------------

    def die(self, choice: int) -> None:
        """End at once. How much of the transcript was not on disk yet, `choice` says."""
        if self.alive:
            for _ in range(min(choice % 4, self._fresh)):
                self.conversation.entries.pop()
        self.alive = False

    def _store(self, kind: str, name: str) -> None:
        if (kind, name) not in self.conversation.entries:
            self.conversation.entries.append((kind, name))
            self._fresh += 1

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self.run}_{self._count}"

    def _print(self, fact: Fact) -> None:
        if self.spoil is not None and type(fact) is self.spoil:
            self.spoil = None
            fact = BadLine("invalid_json", "spoilt", "", 1)
        self.lines.append([fact])
