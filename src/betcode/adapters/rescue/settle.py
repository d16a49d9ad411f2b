"""Gives sessions that a rescue could not get back whole a new epoch with all that is left of them (INV-2, INV-6).

Sessions of which everything is there are not touched: their numbering stays. `core.rescue.settling` decides; here rows
are read and written, in batches, since a session may have a million events.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import apsw
import msgspec

from betcode.adapters.marks import read_mark
from betcode.adapters.rescue import gaps
from betcode.adapters.rescue.places import Places
from betcode.adapters.rescue.salvage import Progress
from betcode.adapters.session_files import SessionFiles
from betcode.adapters.sqlite import checked, decisions, statements, values
from betcode.core.instant import Instant
from betcode.core.life import to_row
from betcode.core.rescue.settling import CAUSE, Left, is_behind, next_epoch, settle
from betcode.model.events import Event, Gap
from betcode.model.ids import SessionId
from betcode.model.rows import EventRow, Mark, Message, Permission, SessionRow
from betcode.model.states import PermissionState

_BATCH = 1_000
_EVENTS = "WHERE session = ? AND epoch = ? AND seq > ? ORDER BY seq LIMIT ?"
_PUT = {table: checked.replacing(table) for table in ("sessions", "messages", "permissions")}
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(slots=True)
class Settled:
    """What was done."""

    sessions: int = 0
    """That begin a new epoch."""
    missing: list[str] = field(default_factory=list)
    """What they lack, a sentence each."""


def settle_all(staging: apsw.Connection, places: Places, *, now: Instant, rng: Random, progress: Progress) -> Settled:
    """Look at every session. Blocks. Raises apsw.Error."""
    settled = Settled()
    holes: dict[str, list[gaps.Hole]] = {}
    for hole in gaps.holes(staging):
        holes.setdefault(hole.session, []).append(hole)
    rows = statements.sessions(staging)
    for done, row in enumerate(rows):
        progress("sessions", done, len(rows))
        mark = mark_of(places, row.id)
        missing = [hole for hole in holes.get(row.id, []) if hole.epoch == row.epoch]
        beyond = staging.execute(
            "SELECT count(*) FROM events WHERE session = ? AND epoch = ? AND seq > ?", (row.id, row.epoch, row.seq)
        ).get
        if missing or beyond or is_behind(row, mark):
            with staging:
                _Session(staging, places, row, mark, missing, settled).settle(now, rng)
    return settled


def mark_of(places: Places, session: SessionId) -> Mark | None:
    """The session's mark, if it does not tell of what happened since the rescue began."""
    folder = places.sessions / session
    try:
        if places.begun_ns and (folder / "mark").stat().st_mtime_ns >= places.begun_ns:
            return None
    except OSError:
        return None
    return read_mark(folder)


class _Session:
    """One session that begins a new epoch."""

    def __init__(
        self,
        staging: apsw.Connection,
        places: Places,
        row: SessionRow,
        mark: Mark | None,
        holes: list[gaps.Hole],
        settled: Settled,
    ) -> None:
        self._staging, self._row, self._mark, self._settled = staging, row, mark, settled
        self._files = SessionFiles(places.sessions / row.id)
        self._holes = sorted(holes, key=lambda hole: hole.first)
        self._rev = checked.next_rev(staging)
        self._epoch = next_epoch(row, mark)
        self._now = ""

    def settle(self, now: Instant, rng: Random) -> None:
        """Carry the events, decide, write."""
        row, staging = self._row, self._staging
        self._now = now.iso
        last = row.seq
        if not self._comes_again():
            last = max(
                row.seq,
                staging.execute("SELECT max(seq) FROM events WHERE session = ? AND epoch = ?", (row.id, row.epoch)).get
                or 0,
            )
            row = msgspec.structs.replace(row, seq=last)
        carried = self._carry(last)
        missing = sum(hole.count for hole in self._holes)
        decision = settle(
            Left(
                row,
                self._mark,
                statements.open_messages(staging, row.id),
                statements.open_permissions(staging, row.id),
                carried,
                missing,
            ),
            now=now,
            rng=rng,
        )
        self._write(decision.events)
        for changed in decision.rows:
            self._put(changed)
        final = values.of_session(to_row(decision.session), self._rev)
        staging.execute(_PUT["sessions"], checked.sealed("sessions", final))
        staging.execute("DELETE FROM events WHERE session = ? AND epoch = ?", (row.id, self._row.epoch))
        self._settled.sessions += 1
        if missing:
            spans = ", ".join(f"{hole.first}-{hole.last}" for hole in self._holes[:10])
            self._settled.missing.append(f"Session {row.id} lacks {missing} events (of epoch {row.epoch}: {spans}).")

    def _comes_again(self) -> bool:
        """Whether events behind the row's are made anew from the journal, which is read on from the row's offset."""
        row = self._row
        return row.run > 0 and self._files.end(row.run) > row.offset

    def _carry(self, last: int) -> int:
        """Copy the events up to `last` into the new epoch, with a gap in each hole. Returns how many these are."""
        number = 0
        holes = iter(self._holes)
        hole = next(holes, None)
        for row in self._stored(last):
            batch: list[EventRow] = []
            while hole is not None and hole.first < row.seq:
                number += 1
                batch.append(self._gap(hole, number))
                hole = next(holes, None)
            number += 1
            batch.append(self._renumbered(row, number))
            self._insert(batch)
        while hole is not None:
            number += 1
            self._insert([self._gap(hole, number)])
            hole = next(holes, None)
        return number

    def _stored(self, last: int) -> Iterator[EventRow]:
        session, epoch, after = self._row.id, self._row.epoch, 0
        while rows := list(checked.read(self._staging, "events", _EVENTS, (session, epoch, after, _BATCH))):
            for row in rows:
                if row[2] > last:
                    return
                yield EventRow(SessionId(row[0]), row[1], row[2], row[3], row[4], row[5])
            after = rows[-1][2]

    def _renumbered(self, row: EventRow, number: int) -> EventRow:
        body = _encode(_decode(row.body) | {"epoch": self._epoch, "seq": number})
        return EventRow(row.session, self._epoch, number, row.kind, row.time, body)

    def _gap(self, hole: gaps.Hole, number: int) -> EventRow:
        gap = Gap(
            epoch=self._epoch, seq=number, time=self._now, unit="events", first=hole.first, last=hole.last, cause=CAUSE
        )
        return self._row_of(gap)

    def _row_of(self, event: Event) -> EventRow:
        kind = str(type(event).__struct_config__.tag)
        return EventRow(self._row.id, event.epoch, event.seq, kind, event.time, _encode(event))

    def _write(self, events: tuple[Event, ...]) -> None:
        self._insert([self._row_of(event) for event in events])

    def _insert(self, rows: list[EventRow]) -> None:
        sealed = [checked.sealed("events", values.of_event(row, self._rev)) for row in rows]
        self._staging.executemany(checked.INSERT["events"], sealed)

    def _put(self, row: Message | Permission) -> None:
        if isinstance(row, Message):
            self._staging.execute(_PUT["messages"], checked.sealed("messages", values.of_message(row, self._rev)))
            return
        self._staging.execute(_PUT["permissions"], checked.sealed("permissions", values.of_permission(row, self._rev)))
        if row.state is not PermissionState.PENDING:
            decisions.append(self._staging, row, self._rev)
