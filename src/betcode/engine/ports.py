"""What the engine needs of the world. Adapters fulfil these; tests and the simulator have their own."""

from __future__ import annotations

from typing import Any, Protocol

from betcode.core.effects import Command
from betcode.core.inputs import Sighted
from betcode.core.instant import Instant
from betcode.model.ids import MessageId, PermissionId, SessionId
from betcode.model.news import News
from betcode.model.rows import (
    Drift,
    EventRow,
    Mark,
    Message,
    Permission,
    Quarantined,
    SessionRow,
    Tombstone,
    Transaction,
)
from betcode.model.usage import TurnRow


class Store(Protocol):
    """The database. Every failure is a BetcodeError with code `store.failed` or `store.damaged`."""

    async def commit(self, transaction: Transaction) -> None:
        """Return when it is durable. Transactions of one caller are committed in the order of the calls."""
        ...

    async def sessions(self) -> list[SessionRow]:
        """All sessions, oldest first."""
        ...

    async def session(self, session: SessionId) -> SessionRow | None:
        """One session."""
        ...

    async def open_messages(self, session: SessionId) -> list[Message]:
        """Messages without an outcome, in the order of their acceptance."""
        ...

    async def open_permissions(self, session: SessionId) -> list[Permission]:
        """Questions that are pending or settled and still being delivered, oldest first."""
        ...

    async def message(self, message: MessageId) -> Message | None:
        """One message of any session. Of one that was deleted all but text and sender, for the time that is set."""
        ...

    async def leftovers(self) -> list[SessionRow]:
        """Deleted sessions of which events or files may be left."""
        ...

    async def tombstone(self, key: str) -> Tombstone | None:
        """What is remembered of a deleted session under its id, or under the key that it was created with."""
        ...

    async def permission(self, permission: PermissionId) -> Permission | None:
        """One question of any session."""
        ...

    async def events(self, session: SessionId, epoch: int, after: int, limit: int) -> list[EventRow]:
        """Events of one epoch with seq > after, in order, at most `limit`."""
        ...

    async def quarantine(self, session: SessionId, since: str) -> list[Quarantined]:
        """Lines of a session that could not be read, kept since this time, in the order in which they were printed."""
        ...

    async def quarantined(self, session: SessionId, run: int, offset: int) -> Quarantined | None:
        """One of them."""
        ...

    async def drift(self) -> list[Drift]:
        """All that was new in the output of any claude, by its version."""
        ...

    async def turns(self, since: str, session: SessionId | None = None) -> list[TurnRow]:
        """What turns of sessions that are there, or of one, stored since this time, have used, by session and position.

        Before the first of a session stands the one before it, where only that tells what the first one cost.
        """
        ...


class Link(Protocol):
    """The way to one claude process through its keeper. It survives a broken socket by itself."""

    keeper_pid: int | None
    claude_pid: int | None
    memory_bytes: int
    """What claude and its tools used when the keeper last told; 0 before that."""

    def write(self, line_id: str, command: Command) -> None:
        """Have a line written at most once; `Confirmed` or `Rejected` follows unless the process ends first."""
        ...

    def end(self, grace_s: float) -> None:
        """End claude: SIGTERM, and SIGKILL of its whole tree after `grace_s`."""
        ...

    async def receive(self) -> News:
        """The next news. After `Gone` it must not be called again."""
        ...

    async def close(self) -> None:
        """Let go of the keeper, which goes on by itself."""
        ...


class Launcher(Protocol):
    """Starts and finds keepers."""

    async def start(self, row: SessionRow, *, rerun: bool = False) -> Link:
        """Start claude as `row.run`. Raises BetcodeError when it cannot be started.

        `rerun`: claude goes on with its interrupted turn by itself, without a message. When an earlier claude of the
        session still lived, it is ended, and the link yields `Gone` with `never_started`: decide again on what it left.
        """
        ...

    async def look(self, row: SessionRow, own_pid: int | None, *, prompts: bool) -> Sighted:
        """Who else works on the session's conversation; with `prompts` also what it holds, which reads the file."""
        ...

    async def adopt(self, row: SessionRow) -> Link:
        """Take over `row.run` from `row.offset`. A dead one yields the rest of its output, then `Gone`."""
        ...

    async def read_raw(self, session: SessionId, run: int, offset: int, count: int) -> tuple[int, bytes]:
        """Up to `count` journal bytes from `offset`, and where they really begin: later, when some are missing."""
        ...

    async def read_back(self, row: SessionRow, start: int) -> bytes:
        """A piece of the journal from `start` on, before `row.offset`; empty at that end or when it is missing."""
        ...


class Marks(Protocol):
    """A second record of how far each session is committed, outside the database."""

    def write(self, session: SessionId, mark: Mark) -> None:
        """Replace the mark. Raises BetcodeError `store.failed`; the old one then stands."""
        ...

    def read(self, session: SessionId) -> Mark | None:
        """The mark; None when there is none."""
        ...


class Clock(Protocol):
    """Reads both clocks."""

    def now(self) -> Instant:
        """The time of this call."""
        ...


class Log(Protocol):
    """Structured log of one component; fields are JSON values, ids in their full form, no payloads."""

    def bind(self, **fields: Any) -> Log:
        """The same log with these fields in every line."""
        ...

    def debug(self, message: str, **fields: Any) -> None:
        """Detail for whoever hunts a defect."""
        ...

    def info(self, message: str, **fields: Any) -> None:
        """A transition."""
        ...

    def warning(self, message: str, **fields: Any) -> None:
        """Something was wrong and was dealt with."""
        ...

    def error(self, message: str, **fields: Any) -> None:
        """Something failed."""
        ...


class Meter(Protocol):
    """Counts what operators watch; the names are in `adapters.telemetry`."""

    def spawned(self, outcome: str, seconds: float) -> None:
        """A start of claude: `ok` or the error's code."""
        ...

    def crashed(self, exit_code: str) -> None:
        """claude ended unexpectedly."""
        ...

    def bad_line(self, error_type: str) -> None:
        """A line could not be read."""
        ...

    def gap(self, unit: str) -> None:
        """Bytes of a journal, or events, are missing."""
        ...

    def permission(self, tool: str, decision: str, seconds: float) -> None:
        """A question was settled."""
        ...


class Channel(Protocol):
    """One client's connection, already framed."""

    client: str

    @property
    def ready(self) -> bool:
        """Whether `put` may be called: it is open, and nothing that was sent before waits."""
        ...

    def put(self, frame: bytes) -> None:
        """Send one frame at once. Only while `ready`."""
        ...

    async def send(self, frame: bytes) -> None:
        """Send one frame; returns when the transport can take more. Raises ConnectionError when it is gone."""
        ...

    async def receive(self) -> bytes | None:
        """The next frame, or None at the end. Raises BetcodeError `frame.too_large`."""
        ...
