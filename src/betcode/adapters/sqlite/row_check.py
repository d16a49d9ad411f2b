"""Looks at the checksum of every row, which no check of SQLite's own does, a bounded number at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import apsw

from betcode.adapters.sqlite.checked import names
from betcode.adapters.sqlite.tables import TABLES, Table, Value, row_crc
from betcode.adapters.sqlite.text import text_is_text

STEP_ROWS: Final = 500
"""Rows of one step: some milliseconds, between which others may work."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the walk through a table."""

    table: str
    rows: int
    bad: tuple[str, ...]
    """Keys of the rows whose checksum is wrong, as text."""
    last: tuple[Value, ...]
    """Where the next step goes on."""


def steps(connection: apsw.Connection, *, rows: int = STEP_ROWS) -> Iterator[Step]:
    """All tables from beginning to end. Between two steps no statement is open. Raises apsw.Error."""
    for table in TABLES:
        last: tuple[Value, ...] = ()
        while True:
            step = step_of(connection, table, last, rows=rows)
            if step.rows:
                yield step
            if step.rows < rows:
                break
            last = step.last


def step_of(connection: apsw.Connection, table: Table, after: tuple[Value, ...], *, rows: int = STEP_ROWS) -> Step:
    """The next rows of one table behind `after`, `()` for its beginning. Raises apsw.Error."""
    order = table.key if table.without_rowid else ("rowid",)
    columns = names(order) if table.without_rowid else "rowid"
    where = f"WHERE ({columns}) > ({', '.join('?' * len(order))})" if after else ""
    query = (
        f"SELECT {columns}, {names((*table.covered, 'crc'))} FROM {table.name}"  # noqa: S608 - our own names
        f" {where} ORDER BY {columns} LIMIT {rows}"
    )
    with text_is_text():
        found: Sequence[Sequence[Any]] = connection.execute(query, after).fetchall()
    width = len(order)
    bad = [row for row in found if row_crc(table.name, row[width:-1]) != row[-1]]
    at = [table.covered.index(name) for name in table.key]
    keys = tuple(" ".join(str(row[width + place])[:80] for place in at) for row in bad)
    return Step(table.name, len(found), keys, tuple(found[-1][:width]) if found else after)
