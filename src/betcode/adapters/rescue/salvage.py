"""Gets rows out of a damaged database without SQLite: each page of the file and of its log, each row by its checksum.

Nothing is believed that the damage may have changed: not the header, not the tree, not the order. A row that is whole
says so itself; of several versions the newest one stays (SQ-4).
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw

from betcode.adapters.rescue import staging
from betcode.adapters.rescue.pages import DamagedDatabase
from betcode.adapters.rescue.sieve import Damaged, Shape, Sieve
from betcode.adapters.sqlite import checked
from betcode.adapters.sqlite.tables import TABLES, Value
from betcode.wire.sqlite_pages import cells as page_cells
from betcode.wire.sqlite_pages.cells import Cell
from betcode.wire.sqlite_pages.debris import former_cells, free_parts, header_pattern
from betcode.wire.sqlite_pages.overflow import whole
from betcode.wire.sqlite_pages.records import decode

Progress = Callable[[str, int, int], None]
"""Told (phase, done, of), some times a second at most a thousand times in all."""

BATCH_BYTES: Final = 4 * 1024 * 1024
"""Rows are put into the new database when there are this many bytes of them."""
DAMAGED_REMEMBERED: Final = 10_000
"""Damaged rows whose keys are remembered; more are only counted."""
SEEN_MAX: Final = 400_000
"""Rows of the log that are remembered, so that the next copy of their page costs little: some 50 MB."""
SAMPLE_BYTES: Final = 4 * 1024 * 1024
"""How much is read to find the size of the pages."""
OWN_FACTS: Final = frozenset({"schema_version", "oldest_compatible", checked.REV})
"""Rows of `meta` that every database has of its own: not taken, but the revision goes on from the highest found."""
_EVENT_HEADER: Final = header_pattern("tiittibi")


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What was found."""

    rows: dict[str, int]
    """Whole rows by table, each once, in its newest version."""
    damaged: dict[str, int]
    """Rows that are damaged, with no whole version elsewhere, by table; `?` where the table is not known."""
    lost: tuple[Damaged, ...]
    """Those of them that can be named."""
    unsealed: int
    """Rows of an older schema, which have no checksum: not taken."""
    pages: int
    """Of the database file."""
    pages_damaged: int
    """Pages of rows, in both files, that contradict themselves; those that are overwritten altogether are not known."""
    frames: int
    """Pages in the log."""
    stale_frames: int
    """Frames of the log that were left over from before it was begun anew."""
    page_size: int
    """Bytes."""
    unreadable_bytes: int
    """What the disk did not give."""
    newest_rev: int
    """The highest `rev` among the rows; 0 if there are none."""
    sentences: tuple[str, ...]
    """The same for people."""


def salvage(source: Path, into: apsw.Connection, *, progress: Progress = lambda phase, done, of: None) -> Salvaged:
    """Put every whole row of `source`, and of the `-wal` beside it, into a new database.

    Args:
        source: may be missing or empty when its log is there. It is only read.
        into: from `staging.open_staging`; what is in it already counts as a row of its own.
        progress: is told how far it is.

    Raises:
        OSError: the files cannot be opened.
        apsw.Error: the new database cannot be written.
    """
    into.pragma("cache_size", -32_768)
    sieve = Sieve(into)
    with DamagedDatabase(source) as database:
        database.use(_page_size(database, sieve))
        scan = _Scan(database, sieve, into)
        with into:
            scan.log(progress)
            scan.file(progress)
            scan.flush()
            result = scan.result()
    return result


def _page_size(database: DamagedDatabase, sieve: Sieve) -> int:
    """The size with which most rows of a sample are whole; between equals, the one that a header names."""
    likely = database.likely_page_sizes()
    best, most = likely[0], 0
    for size in likely:
        database.use(size)
        scan = _Scan(database, sieve, None)
        scan.sample()
        if scan.found > most:
            best, most = size, scan.found
    return best


class _Scan:
    """One pass over both files. Without a database to fill it only counts."""

    def __init__(self, database: DamagedDatabase, sieve: Sieve, into: apsw.Connection | None) -> None:
        self._database, self._sieve, self._into = database, sieve, into
        self.found = 0
        self._rows: dict[str, list[list[Value]]] = {table.name: [] for table in TABLES}
        self._waiting_bytes = 0
        self._newest_rev = 0
        self._unsealed = 0
        self._unreadable = 0
        self._pages_damaged = 0
        self._damaged: dict[Damaged, None] = {}
        self._damaged_more: Counter[str] = Counter()
        self._seen_cells: set[int] = set()
        self._seen_pages: set[int] = set()

    def sample(self) -> None:
        """Look at parts of both files."""
        database = self._database
        at_once = max(1, min(SAMPLE_BYTES // 16, database.file.size) // database.page_size)
        step = max(at_once, database.page_count // 16)
        for first in range(1, database.page_count + 1, step):
            for number, page in database.pages(first, min(first + at_once - 1, database.page_count)):
                self._page(page, number, None)
        last = min(database.frame_count, SAMPLE_BYTES // database.page_size) - 1
        for index, frame, page in database.frames(last):
            self._page(page, frame.number, index)

    def log(self, progress: Progress) -> None:
        """All frames, the newest first, so that a row's newest version is put in once and never replaced."""
        count = self._database.frame_count
        for done, (index, frame, page) in enumerate(self._database.frames()):
            if done % _step(count) == 0:
                progress("log", done, count)
            self._page(page, frame.number, index)
        self._seen_cells.clear()

    def file(self, progress: Progress) -> None:
        """All pages of the database file."""
        count = self._database.page_count
        for number, page in self._database.pages():
            if number % _step(count) == 0:
                progress("database", number, count)
            self._page(page, number, None)
        progress("database", count, count)

    def _page(self, page: bytes, number: int, index: int | None) -> None:
        """One page, of frame `index` of the log or of the file."""
        known = hash(page) if self._seen_pages or index is not None else None
        if known in self._seen_pages:
            return
        at = page_cells.FILE_HEADER_BYTES if number == 1 or page.startswith(page_cells.MAGIC) else 0
        found = page_cells.cells(page, at)
        if found is None:
            good = True
            self._former(page, 0, len(page), index)
        else:
            table = page[at] == page_cells.TABLE_LEAF
            unread = self._unreadable
            good = self._cells(page, found[0], index, table=table)
            if found[1]:
                good = False
                self._unreadable = unread  # of a page of which nothing is certain, records are not counted
                self._pages_damaged += 1
                self._former(page, 0, len(page), index)
            elif table:
                for start, end in free_parts(page, at):
                    self._former(page, start, end, index)
        if good and known is not None and index is not None and len(self._seen_pages) < SEEN_MAX:
            self._seen_pages.add(known)

    def _cells(self, page: bytes, cells: Iterable[Cell], index: int | None, *, table: bool) -> bool:
        """The rows of one page. Returns whether all of them were whole, or none of ours."""
        good, seen = True, self._seen_cells
        for cell in cells:
            rowid, size, start, local = cell
            if not table and page[start] < 8:
                continue  # of an index: rows of ours have more columns
            known = None
            if local < size:
                good &= self._long(page, cell, index, table=table)
                continue
            record = page[start : start + size]
            if index is not None:
                known = hash((rowid, record))
                if known in seen:
                    continue
            values = decode(record)
            if values is None:
                self._unreadable += 1
                good = False
            elif (shape := self._sieve.whole(values, rowid, index=not table)) is not None:
                self._keep(shape, values, size)
                if known is not None and len(seen) < SEEN_MAX:
                    seen.add(known)
            else:
                good &= not self._partly(values, index=not table)
        return good

    def _long(self, page: bytes, cell: Cell, index: int | None, *, table: bool) -> bool:
        """A row that goes on in other pages; which versions of these belong to it, its checksum says."""
        if cell.size <= self._database.file.size + self._database.wal.size:
            for view in self._database.views(index):
                record = whole(page, cell, view)
                values = None if record is None else decode(record)
                if values is not None and (shape := self._sieve.whole(values, cell.rowid, index=not table)) is not None:
                    self._keep(shape, values, cell.size)
                    return True
        values = decode(page[cell.start : cell.start + cell.local])
        if values is None:
            self._unreadable += 1
            return False
        return not self._partly(values, index=not table)

    def _former(self, page: bytes, start: int, end: int, index: int | None) -> None:
        """Events in what is no longer a row's place; only they, since this could be a part of another row's text.

        Whoever can make claude print something could otherwise hide a permission in it.
        """
        if self._into is None or page.count(0, start, end) == end - start:
            return
        for cell in former_cells(page, start, end, _EVENT_HEADER):
            if cell.size > self._database.file.size + self._database.wal.size:
                continue
            for view in self._database.views(index):
                record = whole(page, cell, view)
                values = None if record is None else decode(record)
                if values is not None and (shape := self._sieve.whole(values, None, index=False)) is not None:
                    self._keep(shape, values, cell.size)
                    break
                if cell.local == cell.size:
                    break

    def _keep(self, shape: Shape, values: list[Value], size: int) -> None:
        self.found += 1
        if self._into is None:
            return
        rev = values[shape.rev]
        if isinstance(rev, int) and rev > self._newest_rev:
            self._newest_rev = rev
        if shape.name == "meta" and values[0] in OWN_FACTS:
            return
        self._rows[shape.name].append(values)
        self._waiting_bytes += size + 200
        if self._waiting_bytes > BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Put the rows that wait into the database. Raises apsw.Error."""
        if self._into is None:
            return
        for table in TABLES:
            rows, self._rows[table.name] = self._rows[table.name], []
            try:
                staging.keep_newer(self._into, table, rows)
            except apsw.ConstraintError:
                for row in rows:
                    with contextlib.suppress(apsw.ConstraintError):  # a decision is final: the first version stays
                        staging.keep_newer(self._into, table, [row])
        self._waiting_bytes = 0

    def _partly(self, values: list[Value], *, index: bool) -> bool:
        """Note a damaged row. Returns whether it was one of ours."""
        shape = self._sieve.likely(values, index=index)
        if shape is None:
            return False
        if values[shape.rev] == 0:
            self._unsealed += shape.name != "meta"
        else:
            self._note(shape.damaged(values))
        return True

    def _note(self, damaged: Damaged) -> None:
        if len(self._damaged) < DAMAGED_REMEMBERED:
            self._damaged[damaged] = None
        else:
            self._damaged_more[damaged.table] += 1

    def result(self) -> Salvaged:
        """What came of it."""
        assert self._into is not None
        lost = tuple(row for row in self._damaged if not is_there(self._into, row))
        damaged = Counter(row.table for row in lost) + self._damaged_more + Counter({"?": self._unreadable})
        if self._newest_rev > int(self._into.execute("SELECT value FROM meta WHERE name = ?", (checked.REV,)).get):
            checked.put_meta(self._into, checked.REV, str(self._newest_rev), self._newest_rev)
        rows = count_rows(self._into)
        database = self._database
        unreadable = database.file.unreadable + database.wal.unreadable
        return Salvaged(
            rows=rows,
            damaged=dict(damaged),
            lost=lost,
            unsealed=self._unsealed,
            pages=database.page_count,
            pages_damaged=self._pages_damaged,
            frames=database.frame_count,
            stale_frames=database.frame_count - database.current_frames(),
            page_size=database.page_size,
            unreadable_bytes=unreadable,
            newest_rev=self._newest_rev,
            sentences=_sentences(sum(rows.values()), damaged, self._unsealed, unreadable),
        )


def count_rows(connection: apsw.Connection) -> dict[str, int]:
    """Rows by table, without those that every database has of its own. Raises apsw.Error."""
    rows = {
        table.name: int(connection.execute(f'SELECT count(*) FROM "{table.name}"').get)  # noqa: S608 - our own names
        for table in TABLES
    }
    return rows | {"meta": rows["meta"] - len(OWN_FACTS)}


def _step(count: int) -> int:
    return max(1, count // 1000)


def is_there(staging: apsw.Connection, row: Damaged) -> bool:
    """Whether the row came back from another place. Raises apsw.Error."""
    table = next(table for table in TABLES if table.name == row.table)
    where = " AND ".join(f'"{name}" = ?' for name in table.key)
    return staging.execute(f'SELECT 1 FROM "{table.name}" WHERE {where}', row.key).get is not None  # noqa: S608


def _sentences(rows: int, damaged: Counter[str], unsealed: int, unreadable: int) -> tuple[str, ...]:
    said = [f"{rows} rows are whole."]
    if known := {table: number for table, number in sorted(damaged.items()) if table != "?"}:
        said.append(
            "Damaged, and not taken: " + ", ".join(f"{number} of {table}" for table, number in known.items()) + "."
        )
    if damaged["?"]:
        said.append(f"{damaged['?']} more records are so damaged that nobody can say of which table they are.")
    if unsealed:
        said.append(f"{unsealed} rows are of an older version of BetCode, have no checksum and were not taken.")
    if unreadable:
        said.append(f"The disk could not read {unreadable} bytes.")
    return tuple(said)
