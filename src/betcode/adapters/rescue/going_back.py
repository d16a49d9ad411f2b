"""Puts a backup in the place of the database because a person wants it; what was there is kept under other names.

Without more, the next start brings back what was acknowledged since, from the intake log, newer backups and journals.
`exactly` puts these aside as well. Sessions that had gone on then begin a new epoch: clients have seen other events
under the numbers that follow (INV-2). A kill at any step leaves a database, or none and a backup, from which a start
goes on.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import apsw
import msgspec

from betcode.adapters.durable import sync
from betcode.adapters.marks import read_mark
from betcode.adapters.rescue.places import Places
from betcode.adapters.rescue.put_back import SUFFIXES
from betcode.adapters.sqlite import checked, decisions, schema, statements, values
from betcode.adapters.sqlite.backup import backups_of, verify
from betcode.adapters.sqlite.connection import close_quietly
from betcode.core.instant import Instant, iso
from betcode.core.life import to_row
from betcode.core.rescue.going_back import went_back
from betcode.model.errors import BetcodeError
from betcode.model.events import Event
from betcode.model.ids import SessionId
from betcode.model.rows import EventRow, Message, Permission, SessionRow
from betcode.model.states import PermissionState

NOTE = "restored"
"""In the data directory until the next start: that a person wanted the older database."""
_BATCH = 1_000
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True, slots=True)
class WentBack:
    """What was done."""

    rows: int
    """Of the backup, each verified."""
    kept: tuple[Path, ...]
    """Where what was there is now."""
    renumbered: tuple[SessionId, ...] = ()
    """Sessions that had gone on since the backup, and begin a new epoch."""


def go_back(places: Places, backup: Path, *, exactly: bool, now: Instant) -> WentBack:
    """Do it. The caller holds the lock of the data directory, and with `exactly` no claude runs. Blocks.

    Raises:
        StoreError: the backup is damaged, or no database of BetCode's.
        BetcodeError: `store.newer`; `request.file` for a database in use.
        apsw.Error, OSError: the disk failed; what was there is there, or under the name that it was to get.
    """
    log = backup.with_name(backup.name + "-wal")
    if log.exists() and log.stat().st_size:
        raise BetcodeError(
            "request.file",
            f"{str(backup)!r} has a write-ahead log beside it: it is not a backup but a database in use",
            hint="Name a file in the folder `backups`: betcode db stats",
        )
    rows = verify(backup)
    stamp = _unused(places, iso(now.unix_s)[:19].replace("-", "").replace(":", "") + "Z")
    part = places.database.with_name(places.database.name + ".restore-part")
    part.unlink(missing_ok=True)
    try:
        shutil.copyfile(backup, part)
        part.chmod(0o600)
        renumbered = _begin_anew(places, part, backup, now) if exactly else ()
        sync(part)
        kept = tuple(_put_aside(places, backup, stamp, exactly=exactly))
        if not exactly:
            _write_note(places, backup, now)
        os.rename(part, places.database)
        sync(places.data)
    finally:
        part.unlink(missing_ok=True)
    return WentBack(rows, kept, renumbered)


def take_note(data: Path) -> str:
    """The name of the backup that a person has put in the place of the database since the last start, if so."""
    try:
        return str(_decode((data / NOTE).read_bytes())["backup"])
    except (OSError, msgspec.DecodeError, KeyError):
        return ""


def forget_note(data: Path) -> None:
    """It was obeyed."""
    with contextlib.suppress(OSError):
        (data / NOTE).unlink()


def _write_note(places: Places, backup: Path, now: Instant) -> None:
    note = places.data / NOTE
    note.touch(mode=0o600)
    note.write_bytes(_encode({"backup": backup.name, "at": now.iso}))
    sync(note)


def _unused(places: Places, stamp: str) -> str:
    number, unused = 1, stamp
    while any(places.data.glob(f"*.replaced.{unused}*")):
        number += 1
        unused = f"{stamp}-{number}"
    return unused


def _put_aside(places: Places, backup: Path, stamp: str, *, exactly: bool) -> Iterator[Path]:
    if exactly:
        for folder in (places.intake, places.sessions):
            yield from _aside(folder, folder.with_name(f"{folder.name}.replaced.{stamp}"))
        newer = [one for one in backups_of(places.database) if (places.backups / one.name) != backup]
        since = [one for one in newer if one.name > backup.name] if backup.parent == places.backups else newer
        if since:
            folder = places.data / f"backups.replaced.{stamp}"
            folder.mkdir(mode=0o700)
            for one in since:
                (places.backups / one.name).rename(folder / one.name)
            yield folder
    name = places.database.name
    for suffix in SUFFIXES:
        old = places.database.with_name(name + suffix)
        yield from _aside(old, places.database.with_name(f"{name}.replaced.{stamp}{suffix}"))


def _aside(old: Path, new: Path) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError):
        old.rename(new)
        yield new


# --- a new epoch ----------------------------------------------------------------------------------------------------


def _begin_anew(places: Places, part: Path, backup: Path, now: Instant) -> tuple[SessionId, ...]:
    """Give a new epoch to the sessions that had gone on, or that had something open. Raises apsw.Error."""
    reached = _positions(places)
    made = now.iso
    for one in backups_of(places.database):
        if one.name == backup.name:
            made = iso(one.at_unix_s)
    connection = apsw.Connection(str(part))
    try:
        for pragma, value in (("journal_mode", "off"), ("synchronous", 0)):
            connection.pragma(pragma, value)
        schema.migrate(connection)
        begun = []
        for row in statements.sessions(connection):
            mark = read_mark(places.sessions / row.id)
            came = max((mark.epoch, mark.seq) if mark is not None else (0, 0), reached.get(row.id, (0, 0)))
            opened = statements.open_messages(connection, row.id), statements.open_permissions(connection, row.id)
            if reached and came <= (row.epoch, row.seq) and not any(opened) and row.life.get("process") in (None, ""):
                continue
            with connection:
                _Session(connection, row).renumber(max(came[0], row.epoch) + 1, opened, made, now)
            begun.append(row.id)
        return tuple(begun)
    finally:
        connection.close()


def _positions(places: Places) -> dict[SessionId, tuple[int, int]]:
    """How far the sessions have come in the database that is there; empty when it cannot be read."""
    try:
        connection = apsw.Connection(str(places.database), apsw.SQLITE_OPEN_READONLY)
    except apsw.Error:
        return {}
    try:
        return dict(statements.positions(connection))
    except (apsw.Error, BetcodeError):
        return {}
    finally:
        close_quietly(connection)


class _Session:
    """One that begins a new epoch."""

    def __init__(self, connection: apsw.Connection, row: SessionRow) -> None:
        self._connection, self._row = connection, row
        self._rev = checked.next_rev(connection)

    def renumber(self, epoch: int, opened: tuple[list[Message], list[Permission]], made: str, now: Instant) -> None:
        """Its events get the new epoch and keep their numbers; then it is told what happened."""
        row, after = self._row, 0
        where = "WHERE session = ? AND epoch = ? AND seq > ? ORDER BY seq LIMIT ?"
        while found := list(checked.read(self._connection, "events", where, (row.id, row.epoch, after, _BATCH))):
            bodies = [_encode(_decode(event[5]) | {"epoch": epoch}) for event in found]
            self._insert(
                [EventRow(row.id, epoch, e[2], e[3], e[4], body) for e, body in zip(found, bodies, strict=True)]
            )
            after = found[-1][2]
        self._connection.execute("DELETE FROM events WHERE session = ? AND epoch = ?", (row.id, row.epoch))
        decision = went_back(row, opened, epoch=epoch, made=made, now=now, rng=Random())
        self._insert([self._row_of(event) for event in decision.events])
        for changed in decision.rows:
            self._put(changed)
        self._seal("sessions", values.of_session(to_row(decision.session), self._rev))

    def _row_of(self, event: Event) -> EventRow:
        kind = str(type(event).__struct_config__.tag)
        return EventRow(self._row.id, event.epoch, event.seq, kind, event.time, _encode(event))

    def _insert(self, rows: list[EventRow]) -> None:
        sealed = [checked.sealed("events", values.of_event(row, self._rev)) for row in rows]
        self._connection.executemany(checked.INSERT["events"], sealed)

    def _put(self, row: Message | Permission) -> None:
        if isinstance(row, Message):
            self._seal("messages", values.of_message(row, self._rev))
            return
        self._seal("permissions", values.of_permission(row, self._rev))
        if row.state is not PermissionState.PENDING:
            decisions.append(self._connection, row, self._rev)

    def _seal(self, table: str, covered: values.Row) -> None:
        self._connection.execute(checked.replacing(table), checked.sealed(table, covered))
