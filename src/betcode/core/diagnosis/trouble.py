"""What went wrong in a session, from its stored events, with what was done about it and why.

Fed with all events in order, it keeps those that tell of trouble and those that tell how it went on.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Any

from betcode.core.diagnosis.entry import Entry
from betcode.core.diagnosis.finding import Severity
from betcode.model import limits
from betcode.model.states import MessageState, PermissionState, SessionState

Event = dict[str, Any]

GIVEN = (MessageState.DELIVERED, MessageState.STARTED)
"""States of a message that claude has."""
BAD_STATES = {
    SessionState.BACKING_OFF: Severity.WARNING,
    SessionState.WAITING_API: Severity.WARNING,
    SessionState.CRASHED: Severity.ERROR,
}
KINDS = (
    "user_message",
    "message_state",
    "status",
    "notice",
    "error",
    "gap",
    "permission_asked",
    "permission_settled",
    "turn_ended",
)
"""Kinds of events that are looked at; all others may be left out."""


class Troubles:
    """Collects entries, the newest `limits.DOCTOR_HISTORY_MAX` of them."""

    def __init__(self, session: str) -> None:
        """`session` takes the place of ID in hints."""
        self._session = session
        self._entries: deque[Entry] = deque(maxlen=limits.DOCTOR_HISTORY_MAX)
        self.left_out = 0
        """Entries that were dropped because newer ones came."""
        self.undecided: list[str] = []
        """Messages with an unknown outcome after which nothing was completed: a person is asked how to go on."""
        self._messages: dict[str, str] = {}
        self._troubled: set[str] = set()
        self._tools: dict[str, str] = {}
        self._was_bad = False

    @property
    def entries(self) -> list[Entry]:
        """What was kept, in order."""
        return list(self._entries)

    def feed(self, event: Event) -> None:
        """Look at the next event."""
        match event.get("kind"):
            case "notice":
                self._notice(event)
            case "status":
                self._status(event)
            case "message_state":
                self._message(event)
            case "gap":
                missing = f"{event.get('unit')} {event.get('first')} to {event.get('last')} are missing"
                self._keep(event, Severity.ERROR, f"{missing}: {event.get('cause')}")
            case "error":
                raw = f" The line begins: {event['raw'][:80]}" if event.get("raw") else ""
                text = f"{event.get('code')}: {event.get('message')}.{raw}"
                self._keep(event, Severity.WARNING, text, str(event.get("hint", "")))
            case "permission_asked":
                self._tools[str(event.get("permission_id"))] = str(event.get("tool"))
            case "permission_settled":
                self._settled(event)
            case "turn_ended":
                if event.get("outcome") == "failed" and not event.get("message_ids"):
                    why = "; ".join(event.get("errors") or []) or str(event.get("terminal_reason"))
                    self._keep(event, Severity.WARNING, f"a turn that claude began by itself failed: {why}")
            case _:
                pass

    def _notice(self, event: Event) -> None:
        known = {"warning": Severity.WARNING, "error": Severity.ERROR}
        severity = known.get(str(event.get("severity")))
        if severity is None and event.get("code") == "keeper.well":
            severity = Severity.INFO
        if severity is not None:
            self._keep(event, severity, str(event.get("message")), str(event.get("hint", "")))

    def _status(self, event: Event) -> None:
        state, reason = str(event.get("state")), str(event.get("reason", ""))
        severity = next((found for bad, found in BAD_STATES.items() if bad == state), None)
        told = bool(self._entries) and self._entries[-1].what.startswith(reason)
        because = f": {reason}" if reason and not told else ""
        if severity is not None:
            self._keep(event, severity, f"the session became {state}{because}", str(event.get("hint", "")))
        elif self._was_bad:
            self._keep(event, Severity.INFO, f"the session became {state}{because}")
        self._was_bad = severity is not None

    def _message(self, event: Event) -> None:
        message, state = str(event.get("message_id")), str(event.get("state"))
        before = self._messages.get(message)
        self._messages[message] = state
        because = f": {event['reason']}" if event.get("reason") else ""
        said = f"message {message} {state}{because}"
        if state == MessageState.UNKNOWN:
            self.undecided.append(message)
            self._keep(event, Severity.ERROR, said)
        elif state == MessageState.FAILED:
            self._keep(event, Severity.WARNING, said)
        elif state == MessageState.QUEUED and before in GIVEN:
            self._troubled.add(message)
            self._keep(event, Severity.WARNING, said)
        elif message in self._troubled and state in (MessageState.COMPLETED, MessageState.CANCELLED):
            self._keep(event, Severity.INFO, said)
        if state == MessageState.COMPLETED:
            self.undecided.clear()
        if state in (MessageState.COMPLETED, MessageState.FAILED, MessageState.CANCELLED, MessageState.UNKNOWN):
            self._messages.pop(message, None)
            self._troubled.discard(message)

    def _settled(self, event: Event) -> None:
        question, state = str(event.get("permission_id")), str(event.get("state"))
        tool = self._tools.pop(question, "a tool")
        if state in (PermissionState.EXPIRED, PermissionState.CANCELLED):
            by = f" by {event['by']}" if event.get("by") else ""
            because = f": {event['message']}" if event.get("message") else ""
            self._keep(event, Severity.WARNING, f"question {question} about {tool} {state}{by}{because}")

    def _keep(self, event: Event, severity: Severity, what: str, hint: str = "") -> None:
        if len(self._entries) == self._entries.maxlen:
            self.left_out += 1
        self._entries.append(
            Entry(
                str(event.get("time", "")),
                severity,
                str(event.get("kind")),
                what,
                with_id(hint, self._session),
                epoch=int(event.get("epoch", 0)),
                seq=int(event.get("seq", 0)),
            )
        )


def with_id(hint: str, session: str) -> str:
    """A hint with the session's id where it says ID."""
    return re.sub(r"\bID\b", session, hint)
