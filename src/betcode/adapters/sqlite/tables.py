"""What a row of each table is made of, and its checksum: shared by whoever writes rows and whoever salvages them.

Every row has a `rev`, a number that rises with every transaction, and a `crc` over the table's name and all its other
columns. So a row that is found anywhere, in a freed page or an old log, says by itself whether it is whole, to which
table it belongs, and which of two versions is newer (SQ-1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from zlib import crc32

import msgspec

Value = None | int | float | str | bytes
"""What SQLite keeps in a column."""

_encode = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True)
class Table:
    """A table as its rows are laid out in the file."""

    name: str
    columns: tuple[str, ...]
    """All of them, in the order in which a record holds them."""
    key: tuple[str, ...]
    """What makes a row the same row in another version."""
    rowid: str = ""
    """The column that is the rowid: a record holds NULL in its place. It is not part of the checksum."""
    reals: frozenset[str] = field(default_factory=frozenset)
    """Columns whose whole numbers are stored as integers and read as floats."""
    without_rowid: bool = False
    """Kept in an index tree, so its records are in pages of another kind."""

    @property
    def covered(self) -> tuple[str, ...]:
        """The columns that the checksum is over, in the order of the record."""
        return tuple(name for name in self.columns if name not in ("crc", self.rowid))


def row_crc(table: str, covered: Sequence[Value]) -> int:
    """The checksum of a row, 0 to 2**32 - 1.

    Args:
        table: its name.
        covered: the values of `Table.covered`, in that order, as SQLite gives them back: no bool, a float for a real.
    """
    return crc32(_encode((table, *covered)))


TABLES: Final = (
    Table("meta", ("name", "value", "rev", "crc"), ("name",)),
    Table(
        "sessions",
        (
            *("position", "id", "claude_session_id", "directory", "name", "created_at", "options", "state", "reason"),
            *("epoch", "seq", "run", "offset", "checkpoint", "life", "rev", "crc"),
        ),
        ("id",),
        rowid="position",
    ),
    Table(
        "events",
        ("session", "epoch", "seq", "kind", "time", "crc", "body", "rev"),
        ("session", "epoch", "seq"),
    ),
    Table(
        "messages",
        (
            *("position", "id", "session", "client", "state", "reason", "run", "steer", "accepted_at", "text"),
            *("attempt", "told", "rev", "crc"),
        ),
        ("id",),
        rowid="position",
    ),
    Table(
        "permissions",
        (
            *("position", "id", "session", "run", "request_id", "tool", "input", "state", "asked_at_unix_s"),
            *("deadline_unix_s", "tool_use_id", "description", "agent_id", "reason", "delivery", "by", "message"),
            *("updated_input", "for_session", "interrupt", "settled_at", "rev", "crc"),
        ),
        ("id",),
        rowid="position",
        reals=frozenset({"asked_at_unix_s", "deadline_unix_s"}),
    ),
    Table(
        "decisions",
        (
            *("position", "permission", "session", "state", "by", "message", "updated_input", "for_session"),
            *("interrupt", "settled_at", "rev", "crc"),
        ),
        ("permission",),
        rowid="position",
    ),
    Table(
        "tombstones",
        ("key", "kind", "session", "state", "deleted_at", "rev", "crc"),
        ("key",),
        without_rowid=True,
    ),
    Table(
        "quarantine",
        ("session", "run", "offset", "size", "time", "error_type", "detail", "copy", "rev", "crc"),
        ("session", "run", "offset"),
    ),
    Table(
        "drift",
        (*("version", "what", "name", "count", "first_seen", "last_seen", "session", "example", "rev", "crc"),),
        ("version", "what", "name"),
        without_rowid=True,
    ),
)
"""All tables of schema 5, those first that others refer to."""

TABLE: Final = {table.name: table for table in TABLES}
"""By name."""
