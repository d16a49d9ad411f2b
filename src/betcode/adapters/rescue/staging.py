"""The database that a rescue builds beside the damaged one: the production tables, without a thought for durability.

It is thrown away and built anew when anything interrupts the rescue; only `finish` makes a database of it that may be
used. Rows keep the `rev` and the checksum that they were written with.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import apsw

from betcode.adapters.sqlite import schema
from betcode.adapters.sqlite.tables import Table, Value


def open_staging(path: Path) -> apsw.Connection:
    """A new, empty database at `path`; what was there is removed. Raises apsw.Error, OSError."""
    for name in (path, path.with_name(path.name + "-journal"), path.with_name(path.name + "-wal")):
        with contextlib.suppress(FileNotFoundError):
            name.unlink()
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))  # SQLite would make it readable for all
    connection = apsw.Connection(str(path))
    for pragma, value in (("journal_mode", "off"), ("synchronous", 0), ("foreign_keys", 0)):
        connection.pragma(pragma, value)
    schema.migrate(connection)
    return connection


def keep_newer(connection: apsw.Connection, table: Table, rows: Iterable[Sequence[Value]]) -> int:
    """Put rows in; of two with the same key the one with the higher `rev` stays. Returns how many went in.

    `rows` have all of `table.columns`, in their order. Their checksums are the caller's business.
    """
    before = connection.total_changes()
    connection.executemany(_UPSERT[table.name] if table.name in _UPSERT else _upsert(table), rows)
    return connection.total_changes() - before


_UPSERT: dict[str, str] = {}


def _upsert(table: Table) -> str:
    """Made once a table. A rowid gives the order of the rows; one that another row has already is chosen anew."""
    names = [f'"{name}"' for name in table.columns]
    key = ", ".join(f'"{name}"' for name in table.key)
    places = [f"?{number}" for number in range(1, len(names) + 1)]
    if table.rowid:
        at = table.columns.index(table.rowid)
        taken = f'SELECT 1 FROM "{table.name}" WHERE "{table.rowid}" = {places[at]}'  # noqa: S608 - our own names
        places[at] = f"iif(EXISTS ({taken}), NULL, {places[at]})"
    changes = ", ".join(f'"{name}" = excluded."{name}"' for name in table.columns if name != table.rowid)
    sql = (
        f'INSERT INTO "{table.name}" ({", ".join(names)}) VALUES ({", ".join(places)})'  # noqa: S608 - our own names
        f" ON CONFLICT ({key}) DO UPDATE SET {changes} WHERE excluded.rev > rev"
    )
    _UPSERT[table.name] = sql
    return sql
