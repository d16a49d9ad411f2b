"""Rows with their checksums: written so, and refused when what is read is not what was written (SQ-1).

Plain functions on a connection, in the transaction of whoever calls. They raise apsw's errors as they come, and
StoreError `corrupt` for a row that is damaged, which SQLite itself cannot see.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import apsw

from betcode.adapters.sqlite.errors import RESCUE_HINT, StoreError
from betcode.adapters.sqlite.tables import TABLE, Table, Value, row_crc

REV: Final = "rev"
"""The row of `meta` that counts transactions."""


def names(columns: Iterable[str]) -> str:
    """Columns as SQL text."""
    return ", ".join(f'"{name}"' for name in columns)


def _insert(table: Table) -> str:
    places = ", ".join("?" * (len(table.covered) + 1))
    return f'INSERT INTO "{table.name}" ({names((*table.covered, "crc"))}) VALUES ({places})'  # noqa: S608 - our names


INSERT: Final = {name: _insert(table) for name, table in TABLE.items()}
"""`INSERT INTO ... VALUES (...)` of the covered columns in their order, then the checksum; for `sealed`."""
SELECT: Final = {name: f'SELECT {names((*table.covered, "crc"))} FROM "{name}"' for name, table in TABLE.items()}  # noqa: S608 - our names
"""`SELECT ... FROM ...` of the same columns; for `read`."""


def replacing(table: str, *, keeps: Sequence[str] = ()) -> str:
    """`INSERT ... ON CONFLICT (key) DO UPDATE SET` all that is neither in the key nor in `keeps`."""
    spec = TABLE[table]
    changes = [name for name in (*spec.covered, "crc") if name not in (*spec.key, *keeps)]
    setting = ", ".join(f'"{name}" = excluded."{name}"' for name in changes)
    return f"{INSERT[table]} ON CONFLICT ({names(spec.key)}) DO UPDATE SET {setting}"


def sealed(table: str, covered: Sequence[Value]) -> tuple[Value, ...]:
    """A row's covered values with their checksum behind them."""
    return (*covered, row_crc(table, covered))


def opened(table: str, row: Sequence[Any]) -> Sequence[Any]:
    """The covered values of a row that `SELECT` gave. Raises StoreError when its checksum is another."""
    covered = row[:-1]
    if row_crc(table, covered) != row[-1]:
        spec = TABLE[table]
        key = ", ".join(str(covered[spec.covered.index(name)])[:80] for name in spec.key)
        raise StoreError(f"the row {key} of {table} is damaged", hint=RESCUE_HINT, error_type="corrupt")
    return covered


def read(
    connection: apsw.Connection, table: str, where: str = "", bindings: Sequence[Value] = ()
) -> Iterator[Sequence[Any]]:
    """Rows of a table, each checked, as covered values. `where` is the rest of the statement."""
    for row in connection.execute(f"{SELECT[table]} {where}", bindings):
        yield opened(table, row)


_NEXT = replacing("meta")


def next_rev(connection: apsw.Connection) -> int:
    """The number of this transaction, higher than that of every earlier one."""
    rev = int(connection.execute("SELECT value FROM meta WHERE name = ?", (REV,)).get or 0) + 1
    put_meta(connection, REV, str(rev), rev)
    return rev


def raise_rev(connection: apsw.Connection, least: int) -> None:
    """Have the next transaction's number be higher than `least`: a later version of a row must not seem the older."""
    if int(connection.execute("SELECT value FROM meta WHERE name = ?", (REV,)).get or 0) < least:
        put_meta(connection, REV, str(least), least)


def put_meta(connection: apsw.Connection, name: str, value: str, rev: int) -> None:
    """Replace a row of `meta`."""
    connection.execute(_NEXT, sealed("meta", (name, value, rev)))
