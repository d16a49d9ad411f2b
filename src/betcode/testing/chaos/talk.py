"""One conversation on the stage: a person who sends, answers and waits, and what the daemon has stored of it."""

from __future__ import annotations

import asyncio
import json
import signal
import time
import uuid
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from betcode.client.client import Client
from betcode.keeper.report import read_report
from betcode.keeper.tree import Process, kill
from betcode.model.errors import BetcodeError
from betcode.model.frames import Answer, Events, Permissions, Release, Send, Show
from betcode.model.states import FINAL_MESSAGE_STATES
from betcode.testing.chaos.view import View
from betcode.testing.installation import Installation, scripted, until
from betcode.testing.limits import NEWS_S

COUNTERS: Final = "counters"
"""Folder in the project: a file for each tool call, a line for each time that it ran."""
FINAL: Final = frozenset(state.value for state in FINAL_MESSAGE_STATES)


def counting_tool(busy_s: float = 0.0, **more: Any) -> dict[str, Any]:
    """A call of Bash that leaves a line in the counter file of this very call, and is then busy for a while."""
    wait = f'; python3 -c "import time; time.sleep({busy_s})"' if busy_s else ""
    command = f"mkdir -p {COUNTERS}; echo x >> {COUNTERS}/@call{wait}"
    return {"tool": {"name": "Bash", "input": {"command": command, "description": "counts", **more}}}


class Talk:
    """One session. `client` makes requests, `viewer` shows the events; both find the next daemon by themselves."""

    def __init__(self, made: Installation, client: Client, viewer: Client, session: str, claude_session: str) -> None:
        self.made = made
        self.session = session
        self.claude_session = claude_session
        self.view = View(viewer, session)
        self.sent: dict[str, str] = {}
        """Key -> first words of every message that was acknowledged."""
        self._client = client
        self._viewer = viewer

    @property
    def folder(self) -> Path:
        """The session's files."""
        return self.made.paths.sessions / self.session

    async def leave(self) -> None:
        """Close the viewer."""
        await self._viewer.__aexit__(None, None, None)

    # --- what a person does -------------------------------------------------------------------------------------

    async def send(self, words: str, *steps: dict[str, Any], told: dict[str, Any] | None = None) -> str:
        """Send a message whose script stays in charge until the next one; returns its key once it is acknowledged.

        `told`: what the model answers once BetCode has told it of an end, instead of beginning at the step that the
        transcript has come to. So a tool call that is begun again without a word shows as a second call.
        """
        key = str(uuid.uuid4())
        more = {} if told is None else {"told": told}
        text = scripted(words, *steps, keep=True, **more)
        await self._client.request(Send(session=self.session, key=key, text=text))
        self.sent[key] = words
        return key

    async def allow(self, allow: bool = True) -> bool:
        """Answer the open question, if there is one. False also when it was gone before the answer came."""
        for question in (await self._client.request(Permissions(session=self.session)))["permissions"]:
            try:
                await self._client.request(Answer(permission=question["id"], allow=allow))
            except BetcodeError as error:
                if not error.code.startswith("permission."):
                    raise
                return False
            return True
        return False

    async def goes_on(self) -> None:
        """Show that the session is of use: one more message is answered. Raises AssertionError if not."""
        await self._client.request(Release(session=self.session))
        key = await self.send("and now", {"text": "of use"})
        state = await self.outcome(key, allowing=True)
        assert state == "completed", f"the next message ended as {state}"
        assert self.answers("of use") == 1, "the next message has no answer"

    # --- what can be seen ---------------------------------------------------------------------------------------

    async def look(self) -> dict[str, Any]:
        """The session at a glance."""
        found: dict[str, Any] = (await self._client.request(Show(session=self.session)))["session"]
        return found

    async def stored(self) -> list[dict[str, Any]]:
        """All events that are stored in the newest epoch."""
        found: list[dict[str, Any]] = []
        while True:
            body = await self._client.request(Events(session=self.session, after=len(found)))
            found += body["events"]
            if not body["more"]:
                return found

    async def until(self, kind: str, *, after: int = 0, within_s: float = NEWS_S, **fields: Any) -> dict[str, Any]:
        """Wait for an event beyond the first `after` ones."""

        def found() -> list[dict[str, Any]]:
            return [e for e in self.view.events[after:] if e["kind"] == kind and fields.items() <= e.items()]

        try:
            await until(found, within_s=within_s, what=f"{kind} {fields or ''}")
        except AssertionError as error:
            raise AssertionError(f"{error}; last events: {self.tail()}") from None
        return found()[0]

    async def until_words(self, prefix: str, count: float) -> None:
        """Wait until so many words with this prefix were shown."""
        await until(lambda: self.view.words_of(prefix) >= count, within_s=NEWS_S, what=f"{count} words {prefix!r}")

    async def outcome(self, key: str, *, allowing: bool = False, within_s: float = NEWS_S) -> str:
        """The final state of a message. `allowing`: questions that come meanwhile are answered with yes."""
        end_s = time.monotonic() + within_s
        while not self.finals(key):
            if time.monotonic() >= end_s:
                raise AssertionError(f"{self.sent[key]!r} has no outcome; last events: {self.tail()}")
            if allowing and self._asks():
                await self.allow()
            await asyncio.sleep(0.02)
        return self.finals(key)[0]

    def _asks(self) -> bool:
        return len(self.view.of("permission_asked")) > len(self.view.of("permission_settled"))

    def finals(self, key: str) -> list[str]:
        """The final states that this message reached, in the newest epoch."""
        epoch = self.view.events[-1]["epoch"] if self.view.events else 1
        states = [e["state"] for e in self.view.of("message_state", message_id=key, epoch=epoch)]
        return [state for state in states if state in FINAL]

    def answers(self, text: str) -> int:
        """How often a whole, uninterrupted answer with this text was given."""
        return sum(_is_answer(event, text) for event in self.view.events)

    def unlike_one_answer(self, state: str, text: str) -> str:
        """What is wrong with the answer to a message that ended as `state`; "" when nothing is.

        A completed message has one whole answer. Two are right when claude died after the first, before it had kept
        it; none is right when claude finished while nobody could read it, said so, and has the answer in its
        conversation. A message whose outcome is unknown may have one.
        """
        found = [n for n, e in enumerate(self.view.events) if _is_answer(e, text)]
        deaths = [n for n, e in enumerate(self.view.events) if e["kind"] == "notice" and e["code"] == "agent.ended"]
        for first, second in pairwise(found):
            if not any(first < death < second for death in deaths):
                return f"a message that is {state} was answered {len(found)} times"
        if state != "completed" or found:
            return ""
        if not self.view.of("notice", code="agent.answer_unread"):
            return "a completed message has no answer, and nobody was told"
        return "" if self._kept(text) else "a message is called completed, but claude never answered it"

    def _kept(self, text: str) -> bool:
        """Whether claude's own transcript has this answer."""
        for file in (self.made.home / ".claude/projects").glob(f"*/{self.claude_session}.jsonl"):
            for line in file.read_text(errors="replace").splitlines():
                if '"assistant"' in line and json.dumps(text)[1:-1] in line:
                    return True
        return False

    def notices(self) -> list[str]:
        """What the people of this session were told."""
        return [f"{e['code']}: {e['message']}" for e in self.view.of("notice")]

    def counters(self) -> dict[str, int]:
        """Tool call -> how often its side effect happened. All sessions of a project share the folder."""
        found = (self.made.project / COUNTERS).glob("*")
        return {file.name: len(file.read_text().splitlines()) for file in found}

    def tail(self) -> list[str]:
        """The last events in short."""
        return [_short(e) for e in self.view.events[-8:]]

    def told_unknown(self) -> bool:
        """Whether claude was told, in any model request of this conversation, that an outcome is unknown."""
        with self.made.recorded.open() as file:
            for line in file:
                if "unknown" in line:
                    request = json.loads(line)
                    if request["session"] == self.claude_session and "unknown" in json.dumps(
                        request["body"]["messages"]
                    ):
                        return True
        return False

    # --- processes ----------------------------------------------------------------------------------------------

    def run(self, number: int | None = None) -> dict[str, Any] | None:
        """What the keeper of a run wrote at its start; of the newest one unless given."""
        numbers = sorted(int(file.stem) for file in self.folder.glob("*.run") if file.stem.isdecimal())
        if not numbers or (number is not None and number not in numbers):
            return None
        return read_report(str(self.folder / f"{number or numbers[-1]}.run"))

    def process(self, victim: str) -> Process:
        """Keeper or claude of the newest run. Raises AssertionError when there never was one."""
        run = self.run()
        assert run is not None, "no claude was started yet"
        return Process(int(run[f"{victim}_pid"]), 0, int(run[f"{victim}_start"]))

    def signal(self, victim: str, number: int) -> float:
        """Send `keeper` or `claude` a signal; returns the moment. Raises AssertionError when it has ended before."""
        assert kill(self.process(victim), number), f"the {victim} had ended before its signal"
        return time.monotonic()

    def strike(self, victim: str) -> float:
        """kill -9 of `daemon`, `keeper` or `claude`; returns the moment."""
        if victim != "daemon":
            return self.signal(victim, signal.SIGKILL)
        assert self.made.kill_daemon(), "no daemon lived at the moment of its kill"
        return time.monotonic()


def _is_answer(event: dict[str, Any], text: str) -> bool:
    whole = event["kind"] == "assistant" and event["part"] == "text" and not event.get("interrupted")
    return bool(whole and event["text"] == text)


def _short(event: dict[str, Any]) -> str:
    shown = {k: v for k, v in event.items() if k not in ("kind", "time", "epoch", "input", "usage", "message_id") and v}
    return f"{event['kind']} {shown}"[:240]
