"""What a link tells of one claude process (`engine.ports.Link`)."""

from __future__ import annotations

from dataclasses import dataclass, field

from betcode.model.conversation import NOTHING_STORED, Conversation
from betcode.model.memory import MemoryUse


@dataclass(frozen=True, slots=True)
class Output:
    """Bytes of claude's stdout; the first one stands at `offset` of the run."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The whole line was written to claude, now or earlier."""

    line_id: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """Not one byte of the line was written, and none will be."""

    line_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Lost:
    """Bytes `first` to `last` of the run's journal are missing, with the cause."""

    first: int
    last: int
    cause: str


@dataclass(frozen=True, slots=True)
class Troubled:
    """The keeper is alive in trouble (silent, journal blocked) or well again (`what` empty)."""

    what: str


@dataclass(frozen=True, slots=True)
class MemoryHigh:
    """claude and its tools use nearly as much memory as they may."""

    use: MemoryUse


@dataclass(frozen=True, slots=True)
class Gone:
    """claude ended and all its output has been delivered. The last news of a link."""

    code: int | None
    signal: int | None
    reason: str
    stderr_tail: tuple[str, ...] = ()
    written: frozenset[str] = field(default_factory=frozenset)
    never_started: bool = False
    """There is no trace of this process: the daemon that wanted it ended too early, or another had to end first."""
    known: Conversation = NOTHING_STORED
    """What Claude's transcript says now."""
    memory: MemoryUse | None = None
    """What was used, if that is why it was ended."""


News = Output | Confirmed | Rejected | Lost | Troubled | MemoryHigh | Gone
