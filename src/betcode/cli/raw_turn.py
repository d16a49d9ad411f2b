"""Which of claude's own lines belong to the answer to one message, and which of them `claude -p` would print (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from betcode.cli.raw_denials import Denials
from betcode.core.failures.api import api_failure
from betcode.model import limits
from betcode.model.facts import TurnResult
from betcode.model.failures import ApiKind
from betcode.model.ids import MessageId, attempt_id

INNER = frozenset({"control_request", "control_response", "control_cancel_request", "command_lifecycle", "keep_alive"})
"""Types of lines that are between claude and the daemon."""
PARTIAL = frozenset({"stream_event", "system/status"})
"""Kinds that `claude -p` prints only with --include-partial-messages."""
OURS = frozenset({"system/session_state_changed"})
"""Kinds that are printed only because the daemon asks for them."""


class Head(msgspec.Struct):
    """The fields of a line that are looked at; whatever else it holds is left alone."""

    type: str = ""
    subtype: str | None = None
    command_uuid: str | None = None
    state: str | None = None
    user_message_uuids: list[str] | None = None
    user_message_uuid: str | None = None
    is_error: bool | None = None
    api_error_status: int | None = None
    api_error: str | None = None
    terminal_reason: str | None = None
    result: Any = None

    @property
    def kind(self) -> str:
        """`type`, for system lines with the subtype."""
        return f"system/{self.subtype}" if self.type == "system" else self.type

    @property
    def is_refused(self) -> bool:
        """Whether this is the result of a turn with which the daemon goes on when the API answers again."""
        failure = api_failure(
            TurnResult(
                subtype=self.subtype or "",
                is_error=bool(self.is_error),
                terminal_reason=self.terminal_reason or "",
                text=self.result if isinstance(self.result, str) else "",
                api_error_status=self.api_error_status,
                api_error=self.api_error or "",
            )
        )
        return failure is not None and failure.kind is not ApiKind.REQUEST


_decode = msgspec.json.Decoder(Head, strict=False).decode


def head(line: bytes) -> Head:
    """The head of a line; an empty one for a line that is no JSON object or has other types in these fields."""
    try:
        return _decode(line)
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return Head()


def printed(found: Head, *, partial: bool) -> bool:
    """Whether `claude -p --output-format stream-json --verbose` would print this line."""
    return bool(found.type) and not (
        found.type in INNER or found.kind in OURS or (found.kind in PARTIAL and not partial)
    )


def uuids_of(message_id: str) -> frozenset[str]:
    """The uuids under which claude may know a message: it is told to go on with it under another one each time."""
    attempts = range(1, limits.ATTEMPTS_FOLLOWED + 1)
    return frozenset({message_id, *(attempt_id(MessageId(message_id), attempt) for attempt in attempts)})


@dataclass(slots=True)
class RawTurn:
    """The lines from the beginning of the turn about `message_id` to its result. Feed it every line in order."""

    message_id: str
    partial: bool = False
    whole: bool = False
    """Everything that claude prints, as it is, until it is idle or begins another message."""
    alone: bool = False
    """claude does nothing else before, so what it prints before its first line about this message belongs to it too."""
    result: bytes | None = None
    """claude's result line for this message, once it came."""
    held: bool = False
    """`result` was not printed: the API refused the turn, and the message goes on unless nobody waits for it."""
    over: bool = False
    """claude prints nothing more about this message."""
    _begun: bool = False
    _uuids: frozenset[str] = frozenset()
    _denials: Denials = field(default_factory=Denials)

    def __post_init__(self) -> None:
        self._uuids = uuids_of(self.message_id)

    def take(self, line: bytes) -> list[bytes]:
        """The line if it is to be printed, with those that `claude -p` would print before it."""
        found = head(line)
        before = self._before(found, line)
        return [*before, line] if self._prints(found, line) else []

    def _before(self, found: Head, line: bytes) -> list[bytes]:
        if found.type == "control_request":
            self._denials.asked(line)
        return self._denials.before(line) if found.type == "user" and not self.whole else []

    def _prints(self, found: Head, line: bytes) -> bool:
        if found.type == "command_lifecycle" and found.command_uuid in self._uuids:
            self._begun = self._begun or found.state == "started" or self.whole
            if self.held and found.state == "started":
                self.result, self.held = None, False
            return self.whole
        if self.whole:
            return self._prints_whole(found, line)
        if not self._begun or self.result is not None:
            return False
        if found.type == "result" and self._is_ours(found):
            self.result = line
            self.held = found.is_refused
            self.over = not self.held
        return printed(found, partial=self.partial) and not self.held

    def _prints_whole(self, found: Head, line: bytes) -> bool:
        if not (self._begun or self.alone):
            return False
        if found.type == "result" and self._is_ours(found):
            self.result = None if found.is_refused else line
        elif self.result is not None and found.kind == "system/session_state_changed" and found.state == "idle":
            self.over = True
        elif self.result is not None and found.type == "command_lifecycle" and found.state == "started":
            self.over = True
            return False
        return True

    def _is_ours(self, found: Head) -> bool:
        named = found.user_message_uuids or ([found.user_message_uuid] if found.user_message_uuid else [])
        return not named or not self._uuids.isdisjoint(named)
