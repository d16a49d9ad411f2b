"""What was in a database and what is in it now; and whether what is missing was still held by any file."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import msgspec

Content = tuple[str, str]
"""Kind of an event, and all of it but its number and time, as JSON."""


@dataclass(slots=True)
class Picture:
    """What people have been promised and shown."""

    events: dict[str, list[Content]] = field(default_factory=dict)
    """By session, of its newest epoch, in order."""
    messages: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    """Session, text, state."""
    questions: dict[str, str] = field(default_factory=dict)
    """States."""

    @property
    def rows(self) -> int:
        """How many there are of all."""
        return sum(map(len, self.events.values())) + len(self.messages) + len(self.questions) + len(self.events)


def picture(database: Path) -> Picture:
    """Read it with SQLite. Raises apsw.Error."""
    seen = Picture()
    with contextlib.closing(apsw.Connection(str(database))) as connection:
        rows = list(connection.execute("SELECT id, epoch FROM sessions WHERE state != 'DELETED'"))
        for session, epoch in rows:
            query = "SELECT body FROM events WHERE session = ? AND epoch = ? ORDER BY seq"
            seen.events[session] = [content(body) for (body,) in connection.execute(query, (session, epoch))]
        for row in connection.execute("SELECT id, session, text, state FROM messages"):
            seen.messages[row[0]] = row[1:]
        seen.questions = dict(connection.execute("SELECT id, state FROM permissions"))
    return seen


def content(body: bytes) -> Content:
    """What an event tells, whenever it was stored and under whatever number."""
    event: dict[str, Any] = msgspec.json.decode(body)
    for name in ("epoch", "seq", "time", "expires_at"):
        event.pop(name, None)
    return str(event.pop("kind")), msgspec.json.encode(event, order="sorted").decode()


@dataclass(slots=True)
class Difference:
    """What a rescue changed."""

    missing: list[tuple[str, Content]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """What was never so: a row that was not written, an order that was none, a yes that nobody said."""


ENDED = frozenset({"completed", "failed", "cancelled"})
GIVEN = ("delivering", "delivered", "started")
"""States of a message whose end the daemon will find in the journal."""
PASSING = frozenset({"status", "notice"})
"""Kinds of events that tell of a moment, and that the database alone holds: nothing else can give them back."""
ADDED = frozenset({"status", "notice", "gap", "message_state", "permission_settled", "turn_started", "turn_ended"})
"""Kinds that a rescue and the daemon's start may add."""

UNREADABLE = '"code":"ndjson.'
"""In an event that tells of a line which cannot be read: a journal that is needed may be damaged too."""


def compare(
    before: Picture, after: Picture, *, deletions: bool = True, told: str = "", at_rest: bool = True
) -> Difference:
    """What is missing, and what is wrong.

    Args:
        before, after: the damage.
        deletions: whether anything was left that told of one.
        told: all that people were told: a deleted session may be back if it is named there.
        at_rest: whether a daemon has read again what the journals still had.
    """
    found = Difference()
    strangers = after.events.keys() - before.events.keys()
    deletions = deletions and not all(session in told for session in strangers)
    strangers = strangers if deletions else set()
    found.wrong += [f"session {session} was never there" for session in strangers]
    for session, events in before.events.items():
        now = after.events.get(session, [])
        left = Counter(events)
        extra = Counter(now) - left
        found.wrong += [
            f"{session}: {kind} {text[:80]} was never shown"
            for kind, text in extra
            if kind not in ADDED and not (kind == "error" and UNREADABLE in text)
        ]
        found.missing += [(session, event) for event in (left - Counter(now)).elements()]
        kept = [event for event in now if event in left and event[0] == "assistant"]
        order = {event: place for place, event in enumerate(events)}
        places = [order[event] for event in kept]
        if places != sorted(places):
            found.wrong.append(f"{session}: answers are in another order")
    found.missing += [("", ("message", key)) for key in before.messages.keys() - after.messages.keys()]
    for key, message in after.messages.items():
        was = before.messages.get(key)
        if was is None and not deletions:
            continue  # of a deleted session
        if was is None or (was[:2] != message[:2] and message[1]):  # of some only the key is known, and no text
            found.wrong.append(f"message {key} was never sent so")
        elif was is None or (was[2] in ENDED and message[2] not in (was[2], "unknown", *(() if at_rest else GIVEN))):
            found.wrong.append(f"message {key} was {was[2]} and is {message[2]}")
    found.missing += [("", ("question", key)) for key in before.questions.keys() - after.questions.keys()]
    for key, state in after.questions.items():
        if key not in before.questions and not deletions:
            continue
        if state == "ALLOWED" and before.questions.get(key) != "ALLOWED":
            found.wrong.append(f"question {key} is ALLOWED and nobody said yes")
    return found


SOUGHT_MAX = 500
"""Missing rows that are looked for in all files: each costs a search through 100 MB."""


def still_held(missing: Iterable[tuple[str, Content]], files: Iterable[Path]) -> list[str]:
    """Answers among `missing` whose letters stand in one of the files: somebody could have brought them back."""
    wanted = {}
    for _, (kind, text) in list(missing)[:SOUGHT_MAX]:
        told = msgspec.json.decode(text) if kind == "assistant" else {}
        if told.get("text"):
            wanted[str(told["text"]).encode()] = text
    held = []
    for path in files:
        data = path.read_bytes()
        held += [f"{path.name}: {text[:80]}" for letters, text in wanted.items() if letters in data]
    return held
