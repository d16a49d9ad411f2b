"""A person who asks the engine for things on a failing disk, and what must be there afterwards."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from betcode.adapters.sqlite.store import SqliteStore
from betcode.model.errors import BetcodeError
from betcode.model.frames import Answer, AnyRequest, Create, Events, Rename, Send
from betcode.model.ids import ClaudeSessionId, MessageId, PermissionId, SessionId
from betcode.model.states import MessageState, PermissionState
from betcode.testing.paper_claude import PaperLauncher
from betcode.testing.small_engine import SmallEngine

ATTEMPTS = 2
"""How often the person asks for a thing."""
KEYS = [f"00000000-0000-4000-8000-{n:012}" for n in range(9)]
"""Keys of sessions and messages."""


class Promises(msgspec.Struct):
    """What was acknowledged."""

    sessions: dict[str, str] = msgspec.field(default_factory=dict)
    """Key -> session id."""
    messages: dict[str, str] = msgspec.field(default_factory=dict)
    """Key -> text."""
    answers: list[str] = msgspec.field(default_factory=list)


@dataclass
class Person:
    """Asks for things, each `ATTEMPTS` times at most, and remembers what was promised."""

    engine: SmallEngine
    given_up: Callable[[], bool] = lambda: False
    """Whether it makes no sense to wait for a question."""
    told: Callable[[Promises], None] = lambda promises: None
    """Called after each acknowledgement."""
    promises: Promises = field(default_factory=Promises)
    refusals: list[BetcodeError] = field(default_factory=list)

    async def talk(self) -> None:
        """Sessions, messages, an answer, a new name; two of it at the same time."""
        first = await self.create(KEYS[0])
        if await self.send(first, KEYS[1]):
            await self.answer(first)
        if first:
            await self.engine.until(first, lambda s: not s.messages, self.given_up)
            await self.ask(Rename(session=first, name="new name"))  # an event that the intake log does not have
        second = await self.create(KEYS[2])
        await asyncio.gather(self.send(second, KEYS[3]), self.send(first, KEYS[4]))

    async def ask(self, request: AnyRequest) -> dict[str, Any] | None:
        """The reply's body; None when it was refused each time."""
        for _ in range(ATTEMPTS):
            try:
                return await self.engine.ask(request)
            except BetcodeError as error:
                self.refusals.append(error)
        return None

    async def create(self, key: str) -> str:
        """The id of a new session; empty when it was refused."""
        body = await self.ask(Create(directory="/", key=key))
        if body is None:
            return ""
        self.promises.sessions[key] = body["session"]["id"]
        self.told(self.promises)
        return self.promises.sessions[key]

    async def send(self, session: str, key: str) -> bool:
        """Whether the message was accepted."""
        if not session or await self.ask(Send(session=session, key=key, text=f"text of {key}")) is None:
            return False
        self.promises.messages[key] = f"text of {key}"
        self.told(self.promises)
        return True

    async def answer(self, session: str) -> None:
        """Allow what the session asks for, when it does."""
        for _ in range(ATTEMPTS + 1):
            question = await self.engine.question(session, self.given_up)
            if question is None:
                return
            try:
                await self.engine.ask(Answer(permission=question.id, allow=True))
            except BetcodeError as error:
                self.refusals.append(error)
            else:
                self.promises.answers.append(question.id)
                self.told(self.promises)
                return


async def events_of(engine: SmallEngine, session: str) -> list[dict[str, Any]]:
    """All events of the newest epoch."""
    body = await engine.ask(Events(session=session))
    assert not body["more"]
    return [msgspec.json.decode(event) for event in body["events"]]


async def compare(store: SqliteStore, promises: Promises) -> None:
    """What was promised is in the files."""
    rows = {row.claude_session_id: row for row in await store.sessions()}
    for key, session in promises.sessions.items():
        assert ClaudeSessionId(key) in rows, "a session"
        assert await store.session(SessionId(session)) is not None
    assert len(rows) == len(await store.sessions()), "one session for a key"
    for key, text in promises.messages.items():
        message = await store.message(MessageId(key))
        assert message is not None, "a message"
        assert message.text == text
    for permission in promises.answers:
        answered = await store.permission(PermissionId(permission))
        assert answered is not None
        assert answered.state is PermissionState.ALLOWED


async def everything_ends(engine: SmallEngine, launcher: PaperLauncher, promises: Promises, gaps: bool = False) -> None:
    """What was promised is there, and comes to its end, once. `gaps`: events may be missing where a gap says so."""
    await compare(engine.store, promises)
    for row in await engine.store.sessions():
        while (question := await engine.question(row.id)) is not None:
            await engine.ask(Answer(permission=question.id, allow=True))
        await engine.until(row.id, lambda s: not s.messages)
        events = await events_of(engine, row.id)
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        assert gaps or not [event for event in events if event["kind"] == "gap"], "nobody lost anything"
        said = Counter(event["message_id"] for event in events if event["kind"] == "user_message")
        assert set(said.values()) <= {1}
    for key in promises.messages:
        message = await engine.store.message(MessageId(key))
        assert message is not None
        assert message.state is MessageState.COMPLETED
    for claude in launcher.claudes.values():
        assert claude.times <= {1}, "nothing was done twice"
