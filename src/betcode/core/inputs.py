"""What can happen to a session: the inputs of `core.session.step`.

`ticket` names whoever waits for the answer; the answer comes as `Reply` or `Refuse` with the same ticket, after the
change is stored. Ticket 0 means that nobody waits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from betcode.model.conversation import NOTHING_STORED, Conversation
from betcode.model.errors import BetcodeError
from betcode.model.events import Event
from betcode.model.facts import Fact
from betcode.model.ids import MessageId, PermissionId
from betcode.model.memory import MemoryUse
from betcode.model.news import Gone
from betcode.model.other_claude import OtherClaude
from betcode.model.rows import Mark, Message

LASTING = frozenset(
    {
        "claude.not_found",
        "claude.not_executable",
        "claude.too_old",
        "claude.version_unknown",
        "config.insecure",
        "request.directory",
        "agent.transcript_unreadable",
    }
)
"""Codes of start failures that trying again cannot mend."""


@dataclass(frozen=True, slots=True)
class Submit:
    """A message for claude. `known` is what the store has under this id, from any session."""

    ticket: int
    message_id: MessageId
    text: str
    client: str
    known: Message | None = None
    steer: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """A person's decision on a permission question."""

    ticket: int
    permission_id: PermissionId
    allow: bool
    by: str
    message: str = ""
    updated_input: dict[str, Any] | None = None
    for_session: bool = False
    interrupt: bool = False


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Stop the running turn; messages that wait stay waiting until `Release` or `Clear`."""

    ticket: int
    by: str


@dataclass(frozen=True, slots=True)
class Release:
    """Let held messages go on."""

    ticket: int
    by: str


@dataclass(frozen=True, slots=True)
class Clear:
    """Cancel the messages that wait (all, or the one named)."""

    ticket: int
    by: str
    message_id: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """Start afresh after CRASHED, or at once while backing off, or while it waits for the API."""

    ticket: int
    by: str
    model: str = ""
    """To be used from the next start of claude on; empty: as before."""


@dataclass(frozen=True, slots=True)
class Close:
    """End the session for good."""

    ticket: int
    by: str


@dataclass(frozen=True, slots=True)
class Halt:
    """End the process; the session stays, and its next message starts another one."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Rename:
    """Give the session another name."""

    ticket: int
    name: str


@dataclass(frozen=True, slots=True)
class Started:
    """The keeper of `run` has started claude (or an old keeper was found alive: `adopted`)."""

    run: int
    adopted: bool = False


@dataclass(frozen=True, slots=True)
class StartFailed:
    """claude could not be started. `lasting`: trying again by itself cannot help (CB-3)."""

    run: int
    code: str
    message: str
    hint: str
    lasting: bool

    @classmethod
    def of(cls, run: int, error: BetcodeError) -> StartFailed:
        """What an error of the launcher means."""
        return cls(run, error.code, str(error), error.hint, error.code in LASTING)


@dataclass(frozen=True, slots=True)
class Ended:
    """The process of `run` is gone and its journal is read to the end.

    `written` holds the ids of stdin lines that the keeper began to write, whole or in part. `never_started`: there was
    no such process, since the daemon that was to start it ended before.
    """

    run: int
    code: int | None
    signal: int | None
    reason: str
    stderr_tail: tuple[str, ...] = ()
    written: frozenset[str] = field(default_factory=frozenset)
    never_started: bool = False
    known: Conversation = NOTHING_STORED
    """What Claude's transcript says after the end."""
    shown: tuple[Event, ...] = ()
    """The unfinished text of blocks that were being written."""
    late: tuple[Event, ...] = ()
    """The stored blocks of the newest answer that were not shown whole."""
    memory: MemoryUse | None = None
    """What was used, if that is why it was ended."""

    @classmethod
    def of(cls, run: int, gone: Gone, shown: tuple[Event, ...], late: tuple[Event, ...]) -> Ended:
        """What a link's last news means."""
        return cls(
            run,
            gone.code,
            gone.signal,
            gone.reason,
            gone.stderr_tail,
            gone.written,
            gone.never_started,
            gone.known,
            shown,
            late,
            gone.memory,
        )


@dataclass(frozen=True, slots=True)
class Written:
    """The keeper wrote the whole line `line_id`."""

    run: int
    line_id: str


@dataclass(frozen=True, slots=True)
class NotWritten:
    """The keeper refused the line `line_id`; not one byte of it was written."""

    run: int
    line_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Saw:
    """claude printed this. `shown` are the display events that `core.transcript` made of it."""

    fact: Fact
    shown: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed; deadlines may be due."""


@dataclass(frozen=True, slots=True)
class MakeRoom:
    """Another session needs the place of this one's process, if it rests."""


@dataclass(frozen=True, slots=True)
class Behind:
    """The mark outside the database is ahead of it: the database has lost something (INV-2)."""

    mark: Mark


@dataclass(frozen=True, slots=True)
class DirectoryGone:
    """At the daemon's start the session's directory was not there."""


@dataclass(frozen=True, slots=True)
class Sighted:
    """Somebody looked who else works on the conversation: other processes, and the prompts that it holds."""

    others: tuple[OtherClaude, ...] = ()
    prompts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tell:
    """Something about this session that its people must know (a gap, a keeper that is silent)."""

    event: Event


Input = (
    Submit
    | Answer
    | Interrupt
    | Release
    | Clear
    | Retry
    | Close
    | Halt
    | Rename
    | Started
    | StartFailed
    | Ended
    | Written
    | NotWritten
    | DirectoryGone
    | Saw
    | Sighted
    | Tick
    | MakeRoom
    | Tell
    | Behind
)
