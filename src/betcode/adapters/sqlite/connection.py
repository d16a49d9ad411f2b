"""Opening the database file: looked at first, created private, every pragma read back (SQ-1)."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import apsw

from betcode.adapters.sqlite.errors import RESCUE_HINT, StoreError
from betcode.model import limits

Connect = Callable[[str, int], apsw.Connection]
"""Opens a connection given a path and `SQLITE_OPEN_*` flags; tests pass one whose disk fails on demand."""

_MAGIC: Final = b"SQLite format 3\0"
_WRITE: Final = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
_READ: Final = apsw.SQLITE_OPEN_READONLY


def plain_connect(path: str, flags: int) -> apsw.Connection:
    """The connection of production. Raises apsw.Error."""
    return apsw.Connection(path, flags)


def open_writer(path: Path, connect: Connect = plain_connect) -> apsw.Connection:
    """The one writing connection: WAL, durable at each commit. The file is made if it is missing.

    Raises:
        StoreError: the file is damaged, or a pragma did not take.
        apsw.Error, OSError: it cannot be opened.
    """
    check_header(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)  # before SQLite, which would make it readable for all
    try:
        os.fchmod(descriptor, 0o600)  # -wal and -shm take the mode of the database
    finally:
        os.close(descriptor)
    pragmas: dict[str, int | str] = {
        "busy_timeout": limits.BUSY_TIMEOUT_MS,  # first: the next ones need the lock
        "synchronous": 2,  # FULL: a commit returns when it is on the disk
        "journal_mode": "wal",
        "foreign_keys": 1,
        "secure_delete": 1,  # what was deleted must not be found again by a salvage
    }
    if sys.platform == "darwin":
        pragmas |= {"fullfsync": 1, "checkpoint_fullfsync": 1}  # a plain fsync leaves it in the drive's cache there
    return _opened(connect(str(path), _WRITE), pragmas)


def open_reader(path: Path, connect: Connect = plain_connect) -> apsw.Connection:
    """A connection that cannot write. Raises as `open_writer` does."""
    return _opened(connect(str(path), _READ), {"busy_timeout": limits.BUSY_TIMEOUT_MS, "query_only": 1})


def check_header(path: Path) -> None:
    """Look at the first bytes: SQLite takes an empty file beside a full log for a new database, and says "ok".

    Raises:
        StoreError: `notadb`.
        OSError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            header = file.read(len(_MAGIC))
    except FileNotFoundError:
        header = b""
    wal = path.with_name(path.name + "-wal")
    if not header and wal.exists() and wal.stat().st_size:
        raise StoreError(
            "the database file is missing or empty, but its write-ahead log is not",
            hint=RESCUE_HINT,
            error_type="notadb",
        )
    if header and header != _MAGIC:
        raise StoreError("the database file does not begin like a database", hint=RESCUE_HINT, error_type="notadb")


def close_quietly(connection: apsw.Connection) -> None:
    """Close after an error, which a second one would hide. The connection is closed in any case."""
    with contextlib.suppress(apsw.Error):
        connection.close()


def quick_check(connection: apsw.Connection) -> None:
    """SQLite's own check of the whole file, about a second per GB.

    Raises:
        StoreError: `corrupt`, with the first finding.
        apsw.Error: damage shows in this way too.
    """
    found = connection.execute("PRAGMA quick_check(1)").get
    if found != "ok":
        raise StoreError(f"the database is damaged: {found}", hint=RESCUE_HINT, error_type="corrupt")


def foreign_key_check(connection: apsw.Connection) -> None:
    """Whether each row's session is there (SQ-2). Raises StoreError `corrupt`; apsw.Error."""
    table = connection.execute('SELECT "table" FROM pragma_foreign_key_check LIMIT 1').get
    if table is not None:
        raise StoreError(
            f"the database is damaged: a row of {table} belongs to no session", hint=RESCUE_HINT, error_type="corrupt"
        )


def _opened(connection: apsw.Connection, pragmas: dict[str, int | str]) -> apsw.Connection:
    try:
        for name, wanted in pragmas.items():
            connection.pragma(name, wanted)
            found = connection.pragma(name)
            if found != wanted:
                raise StoreError(
                    f"the database keeps {name} = {found!r}, not {wanted!r}",
                    hint="Is the data directory on a network file system? Move it to a local disk.",
                    error_type="other",
                )
    except (apsw.Error, StoreError):
        close_quietly(connection)
        raise
    return connection
