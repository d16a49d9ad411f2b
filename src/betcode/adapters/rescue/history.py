"""Events that no source of rows has, made again from the journals of the sessions (INV-6, SQ-4).

The intake log holds the whole state of a session at each thing that was promised to people. Between two such points
the session only read claude's output: read again from the journal, it gives the same events. Where what is still known
agrees with them, they are put in the holes under their own numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

import apsw
import msgspec

from betcode.adapters.intake import Problem, Record, read_segment, segments
from betcode.adapters.rescue import gaps
from betcode.adapters.rescue.places import Places
from betcode.adapters.rescue.salvage import Progress
from betcode.adapters.session_files import SessionFiles
from betcode.adapters.sqlite import checked, statements, values
from betcode.core.instant import Instant
from betcode.core.life import from_rows
from betcode.core.rescue.newest import newer_message
from betcode.core.rescue.replaying import Made, in_run, proved, replayed, warm
from betcode.core.transcript import Transcript
from betcode.keeper.journal import JournalGap
from betcode.model import limits
from betcode.model.events import Event
from betcode.model.facts import Fact
from betcode.model.ids import SessionId
from betcode.model.rows import EventRow, Message, Permission, SessionRow
from betcode.model.states import FINAL_MESSAGE_STATES, Delivery, PermissionState
from betcode.wire.claude import read_line
from betcode.wire.lines import LineSplitter

_PUT = checked.replacing("messages")
_encode = msgspec.json.Encoder().encode
_KNOWN = "SELECT seq, body FROM events WHERE session = ? AND epoch = ? AND seq BETWEEN ? AND ?"
_TIME = "SELECT time FROM events WHERE session = ? AND epoch = ? AND seq <= ? ORDER BY seq DESC LIMIT 1"


@dataclass(slots=True)
class Filled:
    """What came back."""

    events: int = 0
    sessions: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Point:
    """A session as it was after one of its transactions."""

    row: SessionRow
    messages: dict[str, Message] = field(default_factory=dict)
    permissions: dict[str, Permission] = field(default_factory=dict)

    def take(self, record: Record) -> None:
        """Become what this later record says."""
        self.row = record.session
        for message in record.messages:
            self.messages[message.id] = message
            if message.state in FINAL_MESSAGE_STATES:
                del self.messages[message.id]
        for permission in record.permissions:
            self.permissions[permission.id] = permission
            if permission.state is not PermissionState.PENDING and permission.delivery is not Delivery.SENDING:
                del self.permissions[permission.id]


def fill_holes(staging: apsw.Connection, places: Places, *, progress: Progress) -> Filled:
    """Look at the sessions with holes in their newest epoch. Blocks. Raises apsw.Error, OSError."""
    filled = Filled()
    wanted = _with_holes(staging)
    if not wanted:
        return filled
    points: dict[SessionId, _Point] = {}
    numbers = segments(places.intake) if places.intake.is_dir() else []
    problems: list[Problem] = []
    with staging:
        rev = checked.next_rev(staging)
        for done, number in enumerate(n for n in numbers if not places.intake_end or n < places.intake_end):
            progress("journals", done, len(numbers))
            for record in read_segment(places.intake, number, problems):
                if record.session.id not in wanted:
                    continue
                point = points.setdefault(record.session.id, _Point(record.session))
                _between(staging, places, point, record.session, rev, filled)
                point.take(record)
        for session, point in points.items():
            row = statements.session(staging, session)
            if row is not None:
                _between(staging, places, point, row, rev, filled)
    return filled


def _with_holes(staging: apsw.Connection) -> set[SessionId]:
    newest = {row.id: row.epoch for row in statements.sessions(staging)}
    return {
        SessionId(hole.session) for hole in gaps.holes(staging) if newest.get(SessionId(hole.session)) == hole.epoch
    }


def _between(
    staging: apsw.Connection, places: Places, point: _Point, row: SessionRow, rev: int, filled: Filled
) -> None:
    """Fill what is missing between the point and this later state of the session."""
    before = point.row
    if row.epoch != before.epoch or row.seq <= before.seq or row.run < before.run:
        return
    first, last = before.seq + 1, row.seq
    known = dict(staging.execute(_KNOWN, (row.id, row.epoch, first, last)))
    if len(known) == last - first + 1:
        return
    made = _made(places, point, row)
    found = proved(made.events, known, first, last) if made is not None else {}
    if made is None or not found:
        return
    _bring_further(staging, made, rev)
    time = staging.execute(_TIME, (row.id, row.epoch, first)).get or before.created_at
    rows = [_row_of(row, msgspec.structs.replace(event, time=time)) for event in found.values()]
    staging.executemany(
        checked.INSERT["events"], [checked.sealed("events", values.of_event(event, rev)) for event in rows]
    )
    filled.events += len(rows)
    filled.sessions.add(row.id)


def _bring_further(staging: apsw.Connection, made: Made, rev: int) -> None:
    """A message whose end is only in the journal has ended. Questions stay as they are: an answer is not in it."""
    for message in made.rows:
        if isinstance(message, Message):
            known = staging.execute(f"{checked.SELECT['messages']} WHERE id = ?", (message.id,)).fetchone()
            if known is not None and newer_message(values.message(known), 0, message, 0):
                staging.execute(_PUT, checked.sealed("messages", values.of_message(message, rev)))


def _made(places: Places, point: _Point, row: SessionRow) -> Made | None:
    """The events of claude's output from the point on up to where the row has read it."""
    before = point.row
    files = SessionFiles(places.sessions / row.id)
    session = in_run(from_rows(before, tuple(point.messages.values()), tuple(point.permissions.values())), row.run)
    transcript = Transcript(answers={scope: (name, done) for scope, name, done in session.answers})
    try:
        warm(transcript, _lines(files, session.run, session.checkpoint, session.offset))
        lines = _lines(files, session.run, session.offset, row.offset)
        return replayed(session, transcript, lines, now=Instant(0.0, 0.0), rng=Random(0))
    except (JournalGap, OSError):
        return None


def _lines(files: SessionFiles, run: int, start: int, end: int) -> Iterator[list[Fact]]:
    """What the lines between two offsets of a run say. Raises JournalGap, OSError."""
    splitter = LineSplitter(start)
    while start < end:
        data = files.read(run, start, min(limits.JOURNAL_READ_BYTES, end - start))
        if not data:
            return
        start += len(data)
        for line in splitter.feed(data):
            if line.data:
                yield read_line(line.data, line.original_size, [])


def _row_of(row: SessionRow, event: Event) -> EventRow:
    kind = str(type(event).__struct_config__.tag)
    return EventRow(row.id, event.epoch, event.seq, kind, event.time, _encode(event))
