"""Which table a record found somewhere is a row of, and whether it is whole: its checksum says both (SQ-4)."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

import apsw

from betcode.adapters.sqlite.tables import TABLES, Table, Value, row_crc

_KINDS: Final[dict[str, tuple[type, ...]]] = {"INTEGER": (int,), "REAL": (float, int), "TEXT": (str,), "BLOB": (bytes,)}


@dataclass(frozen=True, slots=True)
class Damaged:
    """A row of which something is left."""

    table: str
    session: str
    """Empty if the table has none."""
    key: tuple[Value, ...]
    """As far as it can be read: the damage may be in the key itself."""


class Shape:
    """A table with what is worked out once of it."""

    def __init__(self, table: Table, types: list[tuple[type, ...]]) -> None:
        self.table, self.name, self.rowid = table, table.name, bool(table.rowid)
        self.crc = table.columns.index("crc")
        self.rev = table.columns.index("rev")
        self.covered: Any = itemgetter(*[table.columns.index(name) for name in table.covered])
        self.reals = tuple(table.columns.index(name) for name in table.reals)
        self._key: Any = itemgetter(*[table.columns.index(name) for name in table.key])
        self._session = table.columns.index("session") if "session" in table.columns else -1
        self._types = types

    def fits(self, values: list[Value]) -> bool:
        """Whether each value is of its column's type: these tables are strict."""
        return all(isinstance(value, kinds) for value, kinds in zip(values, self._types, strict=True))

    def damaged(self, values: list[Value]) -> Damaged:
        """What can be said of a row that is not whole."""
        key = self._key(values)
        session = values[self._session] if self._session >= 0 else values[1] if self.name == "sessions" else ""
        return Damaged(self.name, str(session), key if isinstance(key, tuple) else (key,))


class Sieve:
    """Judges records."""

    def __init__(self, staging: apsw.Connection) -> None:
        """Learn the columns' types from a database that has the tables. Raises apsw.Error."""
        self._trees: dict[bool, dict[int, list[Shape]]] = {False: {}, True: {}}
        for table in TABLES:
            types = []
            for _, name, kind, required, _, primary in staging.execute(f'PRAGMA table_info("{table.name}")'):
                null = name == table.rowid or not (required or primary)
                types.append((*_KINDS[kind], type(None)) if null else _KINDS[kind])
            self._trees[table.without_rowid].setdefault(len(types), []).append(Shape(table, types))

    def whole(self, values: list[Value], rowid: int | None, *, index: bool) -> Shape | None:
        """The table of which this is a whole row; None if it is no row or damaged. Completes `values` in place.

        Args:
            values: of one record.
            rowid: of its cell.
            index: it was found in an index tree.
        """
        for shape in self._trees[index].get(len(values), ()):
            for at in shape.reals:
                if isinstance(values[at], int):
                    values[at] = float(values[at])  # type: ignore[arg-type] # how SQLite stores whole numbers
            try:
                if row_crc(shape.name, shape.covered(values)) != values[shape.crc]:
                    continue
            except (OverflowError, UnicodeEncodeError):
                continue
            if not values[shape.rev]:
                continue
            if shape.rowid:
                values[0] = rowid
            return shape
        return None

    def likely(self, values: list[Value], *, index: bool) -> Shape | None:
        """The table of which this is a row, going by types alone."""
        shapes = self._trees[index].get(len(values), ())
        return next((shape for shape in shapes if shape.fits(values)), None)
