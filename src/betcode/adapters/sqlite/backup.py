"""Backups of the database: whole, in one step, verified, and only then under their names (SQ-7).

One step copies what is committed at its beginning and blocks no writer; in several steps each commit of another
connection would begin the copy anew, and it might never end (measured).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from calendar import timegm
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import apsw

from betcode.adapters.durable import sync
from betcode.adapters.sqlite import checked, row_check
from betcode.adapters.sqlite.connection import close_quietly
from betcode.adapters.sqlite.errors import StoreError
from betcode.adapters.sqlite.schema import MIGRATIONS
from betcode.core.upkeep import Backup, fits, to_remove
from betcode.model import limits, upkeep_limits
from betcode.model.errors import BetcodeError

_NAME: Final = "daemon-{stamp}-{reason}.db"
_PART: Final = ".part"
_STAMP: Final = "%Y%m%dT%H%M%SZ"
SEALED_SINCE: Final = 5
"""The schema since which each row has a checksum."""
_HINT: Final = "Look at the disk that holds it (`dmesg`, `smartctl`)."
_OPS: Final = 10_000
"""Instructions of SQLite between looks at whether to go on: some milliseconds."""

Stop = Callable[[float], bool]
"""Asked often, with the seconds that may be rested; True when the work is to be given up."""


def go_on(_seconds: float) -> bool:
    """Never rest, never give up."""
    return False


@dataclass(frozen=True, slots=True)
class Made:
    """A backup that was made and verified."""

    path: Path
    rows: int
    size: int


def folder_of(database: Path) -> Path:
    """Where the backups of this database are."""
    return database.parent / "backups"


def backups_of(database: Path) -> list[Backup]:
    """Those that are there, oldest first. Raises OSError."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for path in folder_of(database).glob("daemon-*-*.db"):
            parts = path.stem.split("-")
            with contextlib.suppress(ValueError, FileNotFoundError):
                at = timegm(time.strptime(parts[1], _STAMP))
                found.append(Backup(path.name, float(at), parts[2], path.stat().st_size))
    return sorted(found, key=lambda backup: (backup.at_unix_s, backup.name))


def make_backup(database: Path, reason: str, now_unix_s: float, *, alone: bool = False, stop: Stop = go_on) -> Made:
    """Make one, and let those go that are too old or too many. Blocks: some seconds for a GB.

    Args:
        database: in use by a daemon, or by nobody.
        reason: `auto`, `manual` or `migration`.
        now_unix_s: the wall clock; part of the name.
        alone: nobody uses it, and the caller holds the lock of its directory.
        stop: asked while it is verified.

    Raises:
        StoreError: the database or the copy of it is damaged; or it does not fit.
        apsw.Error, OSError: the disk failed; InterruptError: `stop` said so.
    """
    folder = folder_of(database)
    folder.mkdir(mode=0o700, exist_ok=True)
    with _one_at_a_time(folder):
        thin(database, now_unix_s)
        _refuse_too_large(database, folder, wanted=reason != "auto")
        part = folder / _PART
        part.unlink(missing_ok=True)
        try:
            _copy(database, part, alone=alone)
            rows = verify(part, stop)
            sync(part)
            target = _unused(folder, reason, now_unix_s)
            part.rename(target)
            sync(folder)
        finally:
            part.unlink(missing_ok=True)
        thin(database, now_unix_s, target.name)
        return Made(target, rows, target.stat().st_size)


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """A person may want one while the daemon makes one. Raises StoreError `busy`; OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise StoreError("another backup is just being made", hint="Wait for it.", error_type="busy") from error
    finally:
        os.close(descriptor)


def _refuse_too_large(database: Path, folder: Path, *, wanted: bool) -> None:
    others = sum(backup.size for backup in backups_of(database))
    size = sum(_size(database, suffix) for suffix in ("", "-wal"))
    free = shutil.disk_usage(folder).free
    if not fits(size, others, free + others, wanted=wanted):
        raise StoreError(
            f"a backup of {size:,} bytes would take too much of the disk, which has {free:,} bytes free",
            hint="Make room on the disk.",
            error_type="full",
        )


def thin(database: Path, now_unix_s: float, just_made: str = "") -> None:
    """Remove those that are too old or too many, but never `just_made`. Raises OSError."""
    found = backups_of(database)
    if not found:
        return
    folder = folder_of(database)
    space = shutil.disk_usage(folder).free + sum(backup.size for backup in found)
    for backup in to_remove(found, now_unix_s, space, just_made):
        (folder / backup.name).unlink(missing_ok=True)


def verify(path: Path, stop: Stop = go_on) -> int:
    """Look at all of a backup: its structure, and each row's checksum. Returns the number of rows with a checksum.

    Raises:
        StoreError: `corrupt`; `notadb` for a file that is no database of BetCode's.
        BetcodeError: `store.newer`.
        apsw.Error: damage shows in this way too; InterruptError: `stop` said so.
    """
    connection = open_closed(path)
    try:
        connection.set_progress_handler(lambda: stop(0.0), _OPS)
        schema = _schema_of(connection, path)
        found = connection.execute("PRAGMA integrity_check(1)").get
        if found != "ok":
            raise StoreError(f"the backup is damaged: {found}", hint=_HINT, error_type="corrupt")
        return count_sealed(connection, stop) if schema >= SEALED_SINCE else 0
    finally:
        close_quietly(connection)


def count_sealed(connection: apsw.Connection, stop: Stop = go_on) -> int:
    """How many rows there are, each with the right checksum. Raises as `verify` does."""
    rows = 0
    for step in row_check.steps(connection):
        rows += step.rows
        if step.bad:
            raise StoreError(f"the row {step.bad[0]} of {step.table} is damaged", hint=_HINT, error_type="corrupt")
        if stop(upkeep_limits.REST_S):
            raise apsw.InterruptError("given up")
    return rows


def _schema_of(connection: apsw.Connection, path: Path) -> int:
    """Raises as `verify` does."""
    schema, newest = int(connection.execute("PRAGMA user_version").get), MIGRATIONS[-1].version
    if not schema or not connection.table_exists(None, "meta"):
        raise StoreError(f"{str(path)!r} is no database of BetCode's", hint="Name a backup.", error_type="notadb")
    if schema > newest:
        raise BetcodeError(
            "store.newer",
            f"{str(path)!r} has schema {schema}; this program knows schemas up to {newest}",
            hint="Install the newer BetCode again. Nothing was changed.",
        )
    return schema


def open_closed(path: Path) -> apsw.Connection:
    """A connection to a database that nobody changes; nothing is made beside it. Raises apsw.Error."""
    uri = f"file:{quote(os.fsencode(path))}?mode=ro&immutable=1"
    return apsw.Connection(uri, apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)


def rev_of(path: Path) -> int:
    """The revision of the newest transaction in a backup. Raises apsw.Error."""
    connection = open_closed(path)
    try:
        return int(connection.execute("SELECT value FROM meta WHERE name = ?", (checked.REV,)).get or 0)
    finally:
        close_quietly(connection)


def _copy(database: Path, part: Path, *, alone: bool) -> None:
    os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))  # SQLite would make it readable for all
    mode = apsw.SQLITE_OPEN_READWRITE if alone else apsw.SQLITE_OPEN_READONLY  # its index may have to be made anew
    source = apsw.Connection(str(database), mode)
    try:
        source.set_busy_timeout(limits.BUSY_TIMEOUT_MS)
        target = apsw.Connection(str(part))
        try:
            with target.backup("main", source, "main") as copy:
                copy.step()
            target.pragma("journal_mode", "delete")  # a backup is one file
        finally:
            target.close()
    finally:
        close_quietly(source)


def _unused(folder: Path, reason: str, now_unix_s: float) -> Path:
    at = now_unix_s
    while True:
        target = folder / _NAME.format(stamp=time.strftime(_STAMP, time.gmtime(at)), reason=reason)
        if not target.exists():
            return target
        at += 1.0


def _size(database: Path, suffix: str) -> int:
    try:
        return database.with_name(database.name + suffix).stat().st_size
    except FileNotFoundError:
        return 0
