"""What `core.session.step` wants done, after its events and rows are stored, in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from betcode.model.errors import BetcodeError
from betcode.model.ids import MessageId


@dataclass(frozen=True, slots=True)
class Initialize:
    """Ask claude whether it is ready."""


@dataclass(frozen=True, slots=True)
class AskVersion:
    """Ask claude which version it is."""


@dataclass(frozen=True, slots=True)
class Say:
    """Give claude a user message."""

    message_id: MessageId
    text: str


@dataclass(frozen=True, slots=True)
class Allow:
    """Let the tool run with `updated_input`; `rules` are session rules in the CLI's own form."""

    request_id: str
    updated_input: dict[str, Any]
    rules: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Deny:
    """Refuse the tool; the model reads `message` unless `interrupt`."""

    request_id: str
    message: str
    interrupt: bool = False


@dataclass(frozen=True, slots=True)
class StopTurn:
    """Interrupt the running turn."""


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take back a message that claude has and has not begun; claude tells whether it could."""

    message_uuid: str


@dataclass(frozen=True, slots=True)
class RefuseControl:
    """Answer a control request that BetCode does not support."""

    request_id: str
    reason: str


Command = Initialize | AskVersion | Say | Allow | Deny | StopTurn | Withdraw | RefuseControl


@dataclass(frozen=True, slots=True)
class Write:
    """Hand one line to the keeper of `run`. The same `line_id` is written at most once per run."""

    run: int
    line_id: str
    command: Command


@dataclass(frozen=True, slots=True)
class StartProcess:
    """Start a keeper with claude as `run`. `rerun`: it goes on with its interrupted turn by itself."""

    run: int
    rerun: bool = False


@dataclass(frozen=True, slots=True)
class EndProcess:
    """End claude of `run`: SIGTERM, then SIGKILL of its whole tree after `grace_s`."""

    run: int
    grace_s: float


@dataclass(frozen=True, slots=True)
class Reply:
    """The request is done and stored."""

    ticket: int
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refuse:
    """The request was not done."""

    ticket: int
    error: BetcodeError


Effect = Write | StartProcess | EndProcess | Reply | Refuse
