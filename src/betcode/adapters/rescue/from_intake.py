"""What the intake log holds, brought into the staging database: all that was acknowledged to people (SQ-11)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import msgspec

from betcode.adapters.intake import Problem, Record, read_segment, segments
from betcode.adapters.rescue.salvage import Progress
from betcode.adapters.sqlite import checked, values
from betcode.core.rescue.newest import newer_message, newer_permission, newer_session
from betcode.model.states import PermissionState

_PUT = {table: checked.replacing(table) for table in ("sessions", "messages", "permissions")}
_EVENT = f"{checked.INSERT['events']} ON CONFLICT DO NOTHING"
_DECISION = f"{checked.INSERT['decisions']} ON CONFLICT DO NOTHING"
_STONE = f"{checked.INSERT['tombstones']} ON CONFLICT (key) DO NOTHING"


@dataclass(slots=True)
class Told:
    """What the log held."""

    records: int = 0
    newest_rev: int = 0
    problems: list[str] = field(default_factory=list)


def merge_intake(directory: Path, staging: apsw.Connection, *, before_segment: int, progress: Progress) -> Told:
    """All records of the segments before `before_segment` (0: all), in order, in the caller's transaction.

    Raises apsw.Error, OSError.
    """
    told = Told()
    problems: list[Problem] = []
    numbers = [n for n in segments(directory) if not before_segment or n < before_segment] if directory.is_dir() else []
    for done, number in enumerate(numbers):
        progress("intake log", done, len(numbers))
        for record in read_segment(directory, number, problems):
            told.records += 1
            told.newest_rev = max(told.newest_rev, record.rev)
            _put(staging, record, problems, number)
    for problem in problems:
        if not problem.torn_end:
            told.problems.append(
                f"The intake log is damaged: {problem.lost_bytes} bytes of segment {problem.segment} cannot be read."
            )
    return told


def _put(staging: apsw.Connection, record: Record, problems: list[Problem], number: int) -> None:
    row, rev = record.session, max(1, record.rev)
    if record.deletion is not None:
        _delete(staging, record, rev)
        return
    try:
        events = record.transaction().events
    except msgspec.DecodeError as error:
        problems.append(Problem(number, 0, 0, False, f"events of session {row.id} are not understood: {error}"))
        events = ()
    known = _stored(staging, "sessions", row.id)
    if known is None or newer_session(values.session(known), known[-1], row, record.rev):
        staging.execute(_PUT["sessions"], checked.sealed("sessions", values.of_session(row, rev)))
    staging.executemany(_EVENT, [checked.sealed("events", values.of_event(event, rev)) for event in events])
    for message in {message.id: message for message in record.messages}.values():  # of several versions the last
        known = _stored(staging, "messages", message.id)
        if known is not None:
            old = values.message(known)
            if (old.session, old.text) != (message.session, message.text):
                continue  # was refused: the key belongs to another message
            if not newer_message(old, known[-1], message, record.rev):
                continue
        staging.execute(_PUT["messages"], checked.sealed("messages", values.of_message(message, rev)))
    for permission in {permission.id: permission for permission in record.permissions}.values():
        known = _stored(staging, "permissions", permission.id)
        if known is not None and not newer_permission(values.permission(known), known[-1], permission, record.rev):
            continue
        staging.execute(_PUT["permissions"], checked.sealed("permissions", values.of_permission(permission, rev)))
        if permission.state is not PermissionState.PENDING:
            staging.execute(_DECISION, checked.sealed("decisions", values.of_decision(permission, rev)))


def _stored(staging: apsw.Connection, table: str, key: str) -> Sequence[Any] | None:
    """The covered values of a row; the last of them is its revision."""
    found = staging.execute(f"{checked.SELECT[table]} WHERE id = ?", (key,)).fetchone()
    return None if found is None else found[:-1]


def _delete(staging: apsw.Connection, record: Record, rev: int) -> None:
    """The tombstones of a session; `gaps.forget_deleted` then removes what is left of it."""
    assert record.deletion is not None
    row, at = record.session, record.deletion.at
    stones = [(row.id, "session", ""), (row.claude_session_id, "conversation", "")]
    messages = staging.execute("SELECT id, state FROM messages WHERE session = ?", (row.id,))
    stones += [(message, "message", state) for message, state in messages]
    rows = [checked.sealed("tombstones", (key, kind, row.id, state, at, rev)) for key, kind, state in stones]
    staging.executemany(_STONE, rows)
