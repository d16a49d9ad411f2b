"""Backups of the database: whole, in one step, verified, and only then under their names (SQ-7).

One step copies what is committed at its beginning and blocks no writer; in several steps each commit of another
connection would begin the copy anew, and it might never end (measured).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from calendar import timegm
from pathlib import Path
from typing import Final
from urllib.parse import quote

import apsw

from betcode.adapters.durable import sync
from betcode.adapters.sqlite import checked, row_check
from betcode.adapters.sqlite.connection import close_quietly
from betcode.adapters.sqlite.errors import StoreError
from betcode.core.upkeep import Backup, fits, to_remove

_NAME: Final = "daemon-{stamp}-{reason}.db"
_STAMP: Final = "%Y%m%dT%H%M%SZ"
SEALED_SINCE: Final = 5
"""The schema since which each row has a checksum."""
_HINT: Final = "Look at the disk that holds the data directory; the next attempt is made by itself."


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


def make_backup(database: Path, reason: str, now_unix_s: float, *, alone: bool = False) -> Path:
    """Make one, and let those go that are too old or too many. Blocks: some seconds for a GB.

    Args:
        database: in use by a daemon, or by nobody.
        reason: `auto`, `manual` or `migration`.
        now_unix_s: the wall clock; part of the name.
        alone: nobody uses it, and the caller holds the lock of its directory.

    Raises:
        StoreError: the database or the copy of it is damaged; or it does not fit.
        apsw.Error, OSError: the disk failed.
    """
    folder = folder_of(database)
    folder.mkdir(mode=0o700, exist_ok=True)
    thin(database, now_unix_s)
    others = sum(backup.size for backup in backups_of(database))
    size = sum(_size(database, suffix) for suffix in ("", "-wal"))
    if not fits(size, others, shutil.disk_usage(folder).free + others):
        raise StoreError(
            f"a backup of {size} bytes does not fit on the disk", hint="Make room on the disk.", error_type="full"
        )
    part = folder / ".part"
    with contextlib.suppress(FileNotFoundError):
        part.unlink()
    try:
        _copy(database, part, alone=alone)
        verify(part)
        sync(part)
        target = _unused(folder, reason, now_unix_s)
        part.rename(target)
        sync(folder)
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
    thin(database, now_unix_s)
    return target


def thin(database: Path, now_unix_s: float) -> None:
    """Remove those that are too old or too many. Raises OSError."""
    found = backups_of(database)
    if not found:
        return
    folder = folder_of(database)
    space = shutil.disk_usage(folder).free + sum(backup.size for backup in found)
    for backup in to_remove(found, now_unix_s, space):
        (folder / backup.name).unlink(missing_ok=True)


def verify(path: Path) -> int:
    """Look at all of a backup: its structure, and each row's checksum. Returns the number of rows.

    Raises:
        StoreError: `corrupt`.
        apsw.Error: damage shows in this way too.
    """
    connection = open_closed(path)
    try:
        found = connection.execute("PRAGMA integrity_check(1)").get
        if found != "ok":
            raise StoreError(f"the backup is damaged: {found}", hint=_HINT, error_type="corrupt")
        rows = 0
        if int(connection.execute("PRAGMA user_version").get) < SEALED_SINCE:
            return rows  # its rows have no checksums yet
        for step in row_check.steps(connection):
            rows += step.rows
            if step.bad:
                raise StoreError(
                    f"the row {step.bad[0]} of {step.table} is damaged in it", hint=_HINT, error_type="corrupt"
                )
        return rows
    finally:
        close_quietly(connection)


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
        source.set_busy_timeout(5_000)
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
