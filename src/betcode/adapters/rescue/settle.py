"""Gives sessions that a rescue could not get back whole a new epoch with all that is left of them (INV-2, INV-6).

Sessions of which everything is there are not touched: their numbering stays. `core.rescue.settling` decides; here rows
are read and written, in batches, since a session may have a million events.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import merge
from random import Random
from typing import Any, cast

import apsw
import msgspec

from betcode.adapters.rescue import gaps
from betcode.adapters.rescue.places import Places, mark_of
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
        self._missing = 0

    def settle(self, now: Instant, rng: Random) -> None:
        """Carry the events, decide, write."""
        staging = self._staging
        self._now = now.iso
        row = self._extended()
        last = row.seq
        carried = self._carry(last)
        missing = self._missing
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
        if is_behind(row, self._mark):
            self._settled.missing.append(
                f"Session {row.id} had come further: what claude printed then is read again from its journal, but what"
                " else was shown after that is lost."
            )
        if missing:
            spans = ", ".join(f"{hole.first}-{hole.last}" for hole in self._holes[:10])
            self._settled.missing.append(f"Session {row.id} lacks {missing} events (of epoch {row.epoch}: {spans}).")

    def _extended(self) -> SessionRow:
        """The row, with events that are newer than it, unless its journal is read on from the row and makes them anew.

        If they reach as far as the mark, the mark tells how far the output was read with them.
        """
        row, mark = self._row, self._mark
        query = "SELECT max(seq) FROM events WHERE session = ? AND epoch = ?"
        top = max(row.seq, self._staging.execute(query, (row.id, row.epoch)).get or 0)
        if mark is not None and is_behind(row, mark) and mark.run > row.run:
            if mark.epoch > row.epoch or top < mark.seq:
                return msgspec.structs.replace(row, seq=top)
            life = {**row.life, "process": "ready"}
            life.pop("turn", None)
            position = {"run": mark.run, "offset": mark.offset, "checkpoint": mark.offset}
            return msgspec.structs.replace(row, seq=mark.seq, life=life, **position)
        comes_again = row.run > 0 and self._files.end(row.run) > row.offset
        return row if comes_again else msgspec.structs.replace(row, seq=top)

    def _carry(self, last: int) -> int:
        """Copy the events up to `last` into the new epoch, with what the journals gave back and gaps for the rest.

        Returns how many these are.
        """
        stored = ((row.seq, 0, row) for row in self._stored(last))
        found = ((after, 1, row) for after, row in self._extras())
        holes = ((hole.last, 2, gap) for hole in self._holes if (gap := self._gap(hole)) is not None)
        number = 0
        batch: list[EventRow] = []
        for _, _, row in merge(stored, found, holes, key=lambda placed: placed[:2]):
            number += 1
            batch.append(self._renumbered(row, number))
            if len(batch) >= _BATCH:
                self._insert(batch)
                batch = []
        self._insert(batch)
        return number

    def _extras(self) -> Iterator[tuple[int, EventRow]]:
        """What the journals gave back without a number of its own, and after which number it goes."""
        query = "SELECT after, kind, time, body FROM temp.extras WHERE session = ? ORDER BY after, rowid"
        for row in self._staging.execute(query, (self._row.id,)).fetchall():
            after, kind, time, body = cast("tuple[int, str, str, bytes]", row)
            yield after, EventRow(self._row.id, 0, 0, kind, time, body)

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

    def _gap(self, hole: gaps.Hole) -> EventRow | None:
        """For the end of a hole, if the journals did not give back all of it."""
        query = "SELECT count(*) FROM temp.extras WHERE session = ? AND after BETWEEN ? AND ?"
        missing = hole.count - int(self._staging.execute(query, (self._row.id, hole.first - 1, hole.last)).get)
        if missing <= 0:
            return None
        self._missing += missing
        cause = f"{missing} of them: {CAUSE}" if missing < hole.count else CAUSE
        return self._row_of(Gap(time=self._now, unit="events", first=hole.first, last=hole.last, cause=cause))

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
