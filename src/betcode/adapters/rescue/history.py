"""Events that no source of rows has, made again from the journals of the sessions (INV-6, SQ-4).

The intake log holds the whole state of a session at each thing that was promised to people. Between two such points
the session only read claude's output: read again from the journal, it gives the same events. Where what is still known
agrees with them, they are put in the holes under their own numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

import apsw
import msgspec

from betcode.adapters.intake import Problem, Record, read_segment, segments
from betcode.adapters.rescue import gaps
from betcode.adapters.rescue.places import Places, mark_of
from betcode.adapters.rescue.salvage import Progress
from betcode.adapters.session_files import SessionFiles
from betcode.adapters.sqlite import checked, statements, values
from betcode.core.instant import Instant
from betcode.core.life import Session, from_rows
from betcode.core.rescue.newest import newer_message
from betcode.core.rescue.replaying import Made, in_run, proved, replayed, warm
from betcode.core.rescue.settling import is_behind
from betcode.core.rescue.weaving import woven
from betcode.core.transcript import Transcript
from betcode.keeper.journal import JournalGap
from betcode.model import limits
from betcode.model.events import Event
from betcode.model.facts import Fact
from betcode.model.ids import MessageId, SessionId
from betcode.model.rows import EventRow, Mark, Message, Permission, SessionRow
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
    staging.execute("CREATE TEMP TABLE extras (session TEXT, after INTEGER, kind TEXT, time TEXT, body BLOB)")
    behind = _behind(staging, places)
    wanted = _with_holes(staging) | behind.keys()
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
        for session in sorted(wanted):
            row = statements.session(staging, session)
            if row is None:
                continue
            if session in points:
                _between(staging, places, points[session], row, rev, filled)
            if session in behind:
                _tail(staging, places, points.get(session, _Point(row)), row, behind[session], rev, filled)
    return filled


def _behind(staging: apsw.Connection, places: Places) -> dict[SessionId, Mark]:
    """Sessions that had come further than their rows say, in a later run."""
    marks = {row.id: (row, mark_of(places, row.id)) for row in statements.sessions(staging)}
    return {name: mark for name, (row, mark) in marks.items() if mark and is_behind(row, mark) and mark.run > row.run}


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
    if made is None:
        return
    time = staging.execute(_TIME, (row.id, row.epoch, first)).get or before.created_at
    found = proved(made.events, known, first, last)
    if found:
        rows = [_row_of(row, msgspec.structs.replace(event, time=time)) for event in found.values()]
        sealed = [checked.sealed("events", values.of_event(event, rev)) for event in rows]
        staging.executemany(checked.INSERT["events"], sealed)
        filled.events += len(rows)
    else:
        extras = woven(made.events, known, first, last)
        _keep(staging, row, [(after, msgspec.structs.replace(event, time=time)) for after, event in extras])
        filled.events += len(extras)
    filled.sessions.add(row.id)
    _bring_further(staging, row, made, rev)


def _keep(staging: apsw.Connection, row: SessionRow, extras: Sequence[tuple[int, Event]]) -> None:
    """For `settle`, which gives them numbers."""
    rows = [_row_of(row, event) for _, event in extras]
    staging.executemany(
        "INSERT INTO temp.extras VALUES (?, ?, ?, ?, ?)",
        [(row.id, after, made.kind, made.time, made.body) for (after, _), made in zip(extras, rows, strict=True)],
    )


def _tail(
    staging: apsw.Connection, places: Places, point: _Point, row: SessionRow, mark: Mark, rev: int, filled: Filled
) -> None:
    """What the session's runs printed after its row, but the newest: that one is read again from its beginning."""
    files = SessionFiles(places.sessions / row.id)
    session = from_rows(row, tuple(point.messages.values()), tuple(point.permissions.values()))
    time = staging.execute(_TIME, (row.id, row.epoch, row.seq)).get or row.created_at
    events: list[Event] = []
    for run in [number for number in files.runs() if max(1, row.run) <= number < mark.run]:
        made = _read_run(files, in_run(session, run), files.end(run))
        if made is not None:
            session = made.session
            events += made.events
            _bring_further(staging, row, made, rev)
    known = _known_after(staging, row)
    extras = woven(events, known, row.seq + 1, max(known, default=row.seq))
    _keep(staging, row, [(after, msgspec.structs.replace(event, time=time)) for after, event in extras])
    filled.events += len(extras)
    filled.sessions.add(row.id)


def _known_after(staging: apsw.Connection, row: SessionRow) -> dict[int, bytes]:
    """Events of the session that are newer than its row."""
    query = "SELECT seq, body FROM events WHERE session = ? AND epoch = ? AND seq > ?"
    return dict(staging.execute(query, (row.id, row.epoch, row.seq)))


def _bring_further(staging: apsw.Connection, row: SessionRow, made: Made, rev: int) -> None:
    """A message whose end is only in the journal has ended; one of which only its key is left must not run again.

    Questions stay as they are: what was answered is not in the journal.
    """
    for message in made.rows:
        if isinstance(message, Message):
            known = _message(staging, message.id)
            if known is not None and newer_message(known, 0, message, 0):
                staging.execute(_PUT, checked.sealed("messages", values.of_message(message, rev)))
    for name, state in made.ended.items():
        if _message(staging, name) is None:
            lost = Message(
                id=MessageId(name), session=row.id, text="", client="", state=state, accepted_at=row.created_at,
                reason="its text was lost with the database",
            )  # fmt: skip
            staging.execute(_PUT, checked.sealed("messages", values.of_message(lost, rev)))


def _message(staging: apsw.Connection, name: str) -> Message | None:
    found = staging.execute(f"{checked.SELECT['messages']} WHERE id = ?", (name,)).fetchone()
    return None if found is None else values.message(found)


def _made(places: Places, point: _Point, row: SessionRow) -> Made | None:
    """The events of claude's output from the point on up to where the row has read it."""
    before = point.row
    session = in_run(from_rows(before, tuple(point.messages.values()), tuple(point.permissions.values())), row.run)
    return _read_run(SessionFiles(places.sessions / row.id), session, row.offset)


def _read_run(files: SessionFiles, session: Session, end: int) -> Made | None:
    """What the session's run printed from the session's offset on; None when its journal does not have it."""
    transcript = Transcript(answers={scope: (name, done) for scope, name, done in session.answers})
    try:
        warm(transcript, _lines(files, session.run, session.checkpoint, session.offset))
        lines = _lines(files, session.run, session.offset, end)
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
