"""The tables, as numbered migrations: each runs in one transaction, forward only (SQ-8).

To change the schema append a `Migration`; never edit one that was released. `oldest_compatible` is the oldest schema
number whose program could still work with the result; it goes into `meta` for whoever meets a database that is newer
than itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import apsw

from betcode.adapters.sqlite import checked
from betcode.adapters.sqlite.errors import StoreError
from betcode.adapters.sqlite.tables import TABLES, row_crc
from betcode.model.errors import BetcodeError

MESSAGE_IS_OPEN = "state NOT IN ('cancelled', 'completed', 'failed', 'unknown')"
"""Messages without an outcome. A query repeats these very words to be served by the partial index."""
PERMISSION_IS_OPEN = "(state = 'PENDING' OR delivery = 'sending')"
"""Questions that wait for an answer, or whose answer is on its way."""

_INITIAL = f"""
CREATE TABLE meta (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT;

CREATE TABLE sessions (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    claude_session_id TEXT NOT NULL,
    directory TEXT NOT NULL,
    name TEXT NOT NULL,
    created_at TEXT NOT NULL,
    options TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    run INTEGER NOT NULL,
    "offset" INTEGER NOT NULL,
    checkpoint INTEGER NOT NULL,
    life TEXT NOT NULL
) STRICT;

CREATE TABLE events (
    session TEXT NOT NULL REFERENCES sessions (id),
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    time TEXT NOT NULL,
    crc INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX events_by_position ON events (session, epoch, seq);

CREATE TABLE messages (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    session TEXT NOT NULL REFERENCES sessions (id),
    client TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    run INTEGER NOT NULL,
    steer INTEGER NOT NULL,
    accepted_at TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
CREATE INDEX messages_open ON messages (session, position) WHERE {MESSAGE_IS_OPEN};

CREATE TABLE permissions (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    session TEXT NOT NULL REFERENCES sessions (id),
    run INTEGER NOT NULL,
    request_id TEXT NOT NULL,
    tool TEXT NOT NULL,
    input TEXT NOT NULL,
    state TEXT NOT NULL,
    asked_at_unix_s REAL NOT NULL,
    deadline_unix_s REAL NOT NULL,
    tool_use_id TEXT NOT NULL,
    description TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    delivery TEXT NOT NULL,
    "by" TEXT NOT NULL,
    message TEXT NOT NULL,
    updated_input TEXT,
    for_session INTEGER NOT NULL,
    interrupt INTEGER NOT NULL,
    settled_at TEXT NOT NULL
) STRICT;
CREATE INDEX permissions_open ON permissions (session, position) WHERE {PERMISSION_IS_OPEN};
"""


_TOMBSTONES = """
CREATE TABLE tombstones (
    key TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    session TEXT NOT NULL,
    state TEXT NOT NULL,
    deleted_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tombstones_by_time ON tombstones (deleted_at);
CREATE INDEX messages_by_session ON messages (session);
CREATE INDEX permissions_by_session ON permissions (session);
"""
"""A program that does not know them would show a deleted session, and run its messages anew."""


_ATTEMPTS = """
ALTER TABLE messages ADD COLUMN attempt INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN told TEXT NOT NULL DEFAULT '';
"""
"""A program that does not know them would send a message again whose turn had used tools."""


_ODD_LINES = """
CREATE TABLE quarantine (
    session TEXT NOT NULL REFERENCES sessions (id),
    run INTEGER NOT NULL,
    "offset" INTEGER NOT NULL,
    size INTEGER NOT NULL,
    time TEXT NOT NULL,
    error_type TEXT NOT NULL,
    detail TEXT NOT NULL,
    copy BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX quarantine_by_position ON quarantine (session, run, "offset");
CREATE INDEX quarantine_by_time ON quarantine (time);

CREATE TABLE drift (
    version TEXT NOT NULL,
    what TEXT NOT NULL,
    name TEXT NOT NULL,
    count INTEGER NOT NULL,
    first_seen TEXT NOT NULL,
    last_seen TEXT NOT NULL,
    session TEXT NOT NULL,
    example TEXT NOT NULL,
    PRIMARY KEY (version, what, name)
) STRICT, WITHOUT ROWID;
"""
"""A program that does not know them could not delete a session that has lines in quarantine."""

_CHECKSUMS = """
ALTER TABLE meta ADD COLUMN rev INTEGER NOT NULL DEFAULT 0;
ALTER TABLE meta ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN rev INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN rev INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN rev INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;
ALTER TABLE permissions ADD COLUMN rev INTEGER NOT NULL DEFAULT 0;
ALTER TABLE permissions ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tombstones ADD COLUMN rev INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tombstones ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;
ALTER TABLE quarantine ADD COLUMN rev INTEGER NOT NULL DEFAULT 0;
ALTER TABLE quarantine ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;
ALTER TABLE drift ADD COLUMN rev INTEGER NOT NULL DEFAULT 0;
ALTER TABLE drift ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;

CREATE TABLE decisions (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    permission TEXT NOT NULL UNIQUE,
    session TEXT NOT NULL REFERENCES sessions (id),
    state TEXT NOT NULL,
    "by" TEXT NOT NULL,
    message TEXT NOT NULL,
    updated_input TEXT,
    for_session INTEGER NOT NULL,
    interrupt INTEGER NOT NULL,
    settled_at TEXT NOT NULL,
    rev INTEGER NOT NULL,
    crc INTEGER NOT NULL
) STRICT;
CREATE INDEX decisions_by_session ON decisions (session);
CREATE TRIGGER decisions_are_final BEFORE UPDATE ON decisions BEGIN SELECT RAISE(ABORT, 'a decision is final'); END;
"""
"""A program that does not know them would leave rows behind whose checksums are wrong."""


_TURNS = """
CREATE INDEX events_of_turns ON events (session, epoch, seq, time) WHERE kind = 'turn_ended';
"""
"""Usage is read from the turns alone, not from a million events. An older program keeps the index and needs it not."""


def _crc32(*bodies: Any) -> int:
    return crc32(bodies[0])


def seal_all(connection: apsw.Connection) -> None:
    """Give the rows that are there their first revision and their checksum. A damaged event keeps a wrong one."""
    connection.create_scalar_function("row_crc", lambda table, *covered: row_crc(table, covered))
    connection.create_scalar_function("crc32", _crc32, 1)
    try:
        for table in TABLES:
            crc = f"row_crc('{table.name}', {checked.names(table.covered)})"
            if table.name == "events":
                crc = f"iif(crc32(body) = crc, {crc}, crc)"
            connection.execute(f"UPDATE {table.name} SET rev = 1")  # noqa: S608 - our own names
            connection.execute(f"UPDATE {table.name} SET crc = {crc}")  # noqa: S608 - our own names
    finally:
        connection.create_scalar_function("row_crc", None)
        connection.create_scalar_function("crc32", None, 1)
    checked.put_meta(connection, checked.REV, "1", 1)


@dataclass(frozen=True, slots=True)
class Migration:
    """One step from `version - 1` to `version`."""

    version: int
    oldest_compatible: int
    sql: str
    then: Callable[[apsw.Connection], None] = lambda connection: None
    """What SQL alone cannot do, in the same transaction."""


MIGRATIONS = (
    Migration(1, 1, _INITIAL),
    Migration(2, 2, _TOMBSTONES),
    Migration(3, 3, _ATTEMPTS),
    Migration(4, 4, _ODD_LINES),
    Migration(5, 5, _CHECKSUMS, seal_all),
    Migration(6, 5, _TURNS),
)
"""All steps, in order, from 1 without a hole."""


def migrate(connection: apsw.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring the database to the newest schema, one transaction a step; a step that fails leaves the one before.

    Raises:
        BetcodeError: `store.newer`.
        StoreError: the file is some other program's database.
        apsw.Error: a step failed.
    """
    newest = migrations[-1].version
    _refuse_foreign(connection, newest)
    for migration in migrations:
        if migration.version <= _version(connection):
            continue
        with connection:  # a transaction; user_version is part of it
            connection.execute(migration.sql)
            migration.then(connection)
            facts = {"schema_version": str(migration.version), "oldest_compatible": str(migration.oldest_compatible)}
            _put_meta(connection, facts)
            connection.execute(f"PRAGMA user_version = {migration.version}")


def _put_meta(connection: apsw.Connection, facts: dict[str, str]) -> None:
    if connection.execute("SELECT 1 FROM pragma_table_info('meta') WHERE name = 'crc'").get:
        rev = checked.next_rev(connection)
        for name, value in facts.items():
            checked.put_meta(connection, name, value, rev)
        return
    put = "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    connection.executemany(put, list(facts.items()))


def _refuse_foreign(connection: apsw.Connection, newest: int) -> None:
    """Refuse a database of a newer program or of another one. Raises as `migrate` does, and changes nothing."""
    version = _version(connection)
    if version > newest:
        needed = None
        if connection.table_exists(None, "meta"):
            needed = connection.execute("SELECT value FROM meta WHERE name = 'oldest_compatible'").get
        raise BetcodeError(
            "store.newer",
            f"the database has schema {version}; this program knows schemas up to {newest}",
            hint="Install the newer BetCode again. Nothing was changed."
            f" (A program that knows schema {needed or version} could open it.)",
        )
    if version == 0 and connection.execute("SELECT count(*) FROM sqlite_schema").get:
        raise StoreError(
            "the database file belongs to another program",
            hint="Move it away, or choose another data directory.",
            error_type="notadb",
        )


def _version(connection: apsw.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").get)
