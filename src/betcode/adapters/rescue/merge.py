"""All rows that any source still holds, brought together in the staging database (SQ-4, INV-6).

Each row carries the revision of the transaction that wrote it, so of two versions the newer one is known wherever they
were found: in a backup, in a page of the damaged file, in the intake log. What was deleted stays deleted.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from betcode.adapters.rescue import gaps
from betcode.adapters.rescue.from_intake import merge_intake
from betcode.adapters.rescue.places import Places
from betcode.adapters.rescue.salvage import Progress, is_there, salvage
from betcode.adapters.rescue.sieve import Damaged
from betcode.adapters.rescue.staging import keep_newer
from betcode.adapters.sqlite import checked
from betcode.adapters.sqlite.connection import check_header, close_quietly, quick_check
from betcode.adapters.sqlite.errors import StoreError
from betcode.adapters.sqlite.tables import TABLES, Table, row_crc
from betcode.adapters.sqlite.text import text_is_text

_BATCH: int = 2_000
"""Rows read at once: a few MB."""
_TOLD = frozenset({"sessions", "messages", "permissions", "quarantine"})
OWN = frozenset({"schema_version", "oldest_compatible", checked.REV})
"""Rows of `meta` that every database has of its own."""


@dataclass(frozen=True, slots=True)
class Given:
    """What one source gave."""

    name: str
    detail: str
    rows: int
    """That no source before it had in a version as new."""


@dataclass(slots=True)
class Merged:
    """What came together."""

    given: list[Given] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """Sources that are damaged themselves, a sentence each."""
    damaged: tuple[Damaged, ...] = ()
    """Rows of the damaged database that could be named and not be read."""
    backup: Path | None = None
    """The backup that gave rows."""

    def still_lost(self, staging: apsw.Connection) -> list[str]:
        """Those that no other source had, a sentence a table. Events are told of by number elsewhere."""
        lost = [row for row in self.damaged if row.table in _TOLD and not is_there(staging, row)]
        tables = Counter(row.table for row in lost)
        return [
            f"{count} rows of {table} are damaged, and no other source has them." for table, count in tables.items()
        ]


def merge(places: Places, staging: apsw.Connection, progress: Progress) -> Merged:
    """Fill the empty `staging`. Blocks.

    Raises:
        apsw.Error: the new database cannot be written.
        OSError: a file cannot be read.
    """
    merged = Merged()
    _backups(places, staging, merged, progress)
    _damaged(places, staging, merged, progress)
    before = _changes(staging)
    with staging:
        told = merge_intake(places.intake, staging, before_segment=places.intake_end, progress=progress)
        merged.problems += told.problems
        merged.given.append(Given("intake log", f"{told.records} records", _changes(staging) - before))
        checked.raise_rev(staging, told.newest_rev)
        gaps.forget_deleted(staging)
    return merged


def _changes(connection: apsw.Connection) -> int:
    return int(connection.total_changes())


def _backups(places: Places, staging: apsw.Connection, merged: Merged, progress: Progress) -> None:
    """The newest good one. Those that are newer and damaged are searched through as the damaged database is."""
    for path in sorted(places.backups.glob("*.db"), key=_when, reverse=True) if places.backups.is_dir() else []:
        before = _changes(staging)
        whole = True
        try:
            with staging:
                _copy(path, staging, progress)
        except (apsw.SQLError, apsw.CorruptError, apsw.NotADBError, apsw.CantOpenError, StoreError, OSError) as error:
            whole = False
            merged.problems.append(f"The backup {path.name} could not be used whole: {error}.")
            with contextlib.suppress(OSError):
                salvage(path, staging, progress=progress)
        if (rows := _changes(staging) - before) > 0:
            merged.backup = merged.backup or path
            merged.given.append(Given("backup", path.name, rows))
        if whole:
            return


def _when(path: Path) -> str:
    parts = path.stem.split("-")
    return parts[1] if len(parts) > 1 else ""


def _damaged(places: Places, staging: apsw.Connection, merged: Merged, progress: Progress) -> None:
    before = _changes(staging)
    salvaged = salvage(places.database, staging, progress=progress)
    rows = _changes(staging) - before
    merged.damaged = salvaged.lost
    merged.given.append(Given("damaged database", places.database.name, rows))
    if salvaged.unsealed:
        merged.problems.append(f"{salvaged.unsealed} rows of an older version of BetCode have no checksum.")
    if salvaged.unreadable_bytes:
        merged.problems.append(f"The disk could not read {salvaged.unreadable_bytes} bytes of the database.")


def _copy(path: Path, staging: apsw.Connection, progress: Progress) -> None:
    """All rows of a whole database of ours. Raises StoreError at the first damaged one, and apsw.Error."""
    check_header(path)
    source = apsw.Connection(f"file:{path}?immutable=1", apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    try:
        quick_check(source)
        tables = [table for table in TABLES if source.table_exists(None, table.name)]
        for done, table in enumerate(tables):
            progress("backup", done, len(tables))
            with text_is_text():
                for rows in _batches(source, table):
                    keep_newer(staging, table, rows)
        rev = source.execute("SELECT value FROM meta WHERE name = ?", (checked.REV,)).get
        checked.raise_rev(staging, int(rev or 0))
    finally:
        close_quietly(source)


def _batches(source: apsw.Connection, table: Table) -> Iterator[list[Sequence[Any]]]:
    """The rows as `keep_newer` takes them. Raises StoreError."""
    cursor = source.execute(f'SELECT {checked.names(table.columns)} FROM "{table.name}"')  # noqa: S608 - our own names
    covered = [table.columns.index(name) for name in table.covered]
    crc = table.columns.index("crc")
    batch: list[Sequence[Any]] = []
    for row in cursor:
        if row_crc(table.name, [row[at] for at in covered]) != row[crc]:
            raise StoreError(f"a row of {table.name} is damaged", hint="Another backup is used.", error_type="corrupt")
        if table.name == "meta" and row[0] in OWN:
            continue
        batch.append(row)
        if len(batch) >= _BATCH:
            yield batch
            batch = []
    yield batch
