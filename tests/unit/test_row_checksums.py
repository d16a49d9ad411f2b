"""Every row of every table has a checksum and a rising revision, and a row that is not what was written is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zlib import crc32

import apsw
import pytest
from msgspec.structs import replace as change

from betcode.adapters.sqlite import deletion, odd_lines, row_check, schema, statements
from betcode.adapters.sqlite.errors import StoreError
from betcode.adapters.sqlite.schema import MIGRATIONS
from betcode.adapters.sqlite.tables import TABLES
from betcode.model.ids import PermissionId, SessionId
from betcode.model.rows import Deletion, Drift, Quarantined, Transaction
from betcode.model.states import Delivery, PermissionState
from betcode.testing.sample_rows import creation, message_row, permission_row, session_row, step

A, B = SessionId("aaaaaaaaaa"), SessionId("bbbbbbbbbb")
T = "2026-11-26T10:00:00.000Z"


@pytest.fixture
def database() -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    connection.pragma("foreign_keys", 1)
    schema.migrate(connection)
    return connection


def put(connection: apsw.Connection, *transactions: Transaction) -> None:
    for transaction in transactions:
        with connection:
            statements.apply(connection, transaction)


def odd(session: SessionId) -> dict[str, Any]:
    line = Quarantined(session, 1, 7, 5, T, "invalid_json", "no", b"\xff{\0")
    return {"quarantine": (line,), "drift": (Drift("2.1", "field", "new", 2, T, T, session, "{}"),)}


def settled(name: str, **changes: Any) -> Any:
    return change(permission_row(A, name), state=PermissionState.ALLOWED, by="me", settled_at=T, **changes)


def fill(connection: apsw.Connection) -> None:
    """Rows in each table, changed in each way in which rows change."""
    put(connection, creation(A), creation(B), step(A, 2, events=2))
    put(connection, change(step(A, 3, events=1), messages=(message_row(A, "m"),), **odd(A)))
    put(connection, change(step(A, 4, events=1), permissions=(permission_row(A, "p"),), **odd(A)))
    put(connection, change(step(A, 5, events=1), permissions=(settled("p", delivery=Delivery.SENDING),)))
    put(connection, change(step(A, 6, events=1), permissions=(settled("p", delivery=Delivery.DELIVERED),)))
    put(connection, change(step(B, 2, events=2), messages=(message_row(B, "n"),), **odd(B)))
    put(connection, Transaction(session_row(B), deletion=Deletion(T)))


def bad(connection: apsw.Connection) -> list[str]:
    return [f"{found.table} {key}" for found in row_check.steps(connection, rows=2) for key in found.bad]


@pytest.mark.req("SQ-1")
def test_whatever_changed_a_row_its_checksum_is_right_and_its_revision_is_that_of_the_change(
    database: apsw.Connection,
) -> None:
    fill(database)
    assert bad(database) == []
    counts = {t.name: database.execute(f"SELECT count(*) FROM {t.name}").get for t in TABLES}
    assert all(counts.values()), counts
    assert sum(found.rows for found in row_check.steps(database, rows=3)) == sum(counts.values())
    newest = int(database.execute("SELECT value FROM meta WHERE name = 'rev'").get)
    assert database.execute("SELECT max(rev) FROM tombstones").get == newest
    put(database, step(A, 7, events=1))
    assert database.execute("SELECT rev FROM sessions WHERE id = ?", (A,)).get == newest + 1
    assert database.execute("SELECT rev FROM events WHERE session = ? AND seq = 7", (A,)).get == newest + 1


READS: dict[str, Callable[[apsw.Connection], object]] = {
    "sessions": lambda c: statements.session(c, A),
    "events": lambda c: statements.events(c, A, epoch=1, after=0, limit=100),
    "messages": lambda c: statements.open_messages(c, A),
    "permissions": lambda c: statements.permission(c, PermissionId("p")),
    "tombstones": lambda c: deletion.tombstone(c, B),
    "quarantine": lambda c: odd_lines.quarantine(c, A, ""),
    "drift": odd_lines.drift,
}


@pytest.mark.req("SQ-1")
@pytest.mark.parametrize("table", [t for t in TABLES if t.name in READS], ids=lambda t: t.name)
def test_a_row_of_which_any_column_was_changed_behind_our_back_is_refused(
    database: apsw.Connection, table: Any
) -> None:
    fill(database)
    for column in (name for name in table.columns if name not in (*table.key, table.rowid, "session")):
        with database:
            kept = database.execute(f'SELECT "{column}" FROM {table.name} LIMIT 1').get
            database.execute("SAVEPOINT before")
            other = kept + 1 if isinstance(kept, int | float) else b"!" if isinstance(kept, bytes) else "!"
            if column not in ("state", "epoch"):  # those choose which rows are read
                database.execute(f'UPDATE {table.name} SET "{column}" = ?', (other,))
                with pytest.raises(StoreError) as raised:
                    READS[table.name](database)
                assert raised.value.error_type == "corrupt", column
                assert bad(database), column
            database.execute("ROLLBACK TO before")
    assert READS[table.name](database)


@pytest.mark.req("SQ-1")
def test_a_decision_is_appended_once_and_neither_changed_nor_contradicted(database: apsw.Connection) -> None:
    fill(database)
    assert database.execute("SELECT permission, state FROM decisions").fetchall() == [("p", "ALLOWED")]
    refused = change(settled("p"), state=PermissionState.DENIED)
    with pytest.raises(StoreError, match="decided already"):
        put(database, change(step(A, 7, events=1), permissions=(refused,)))
    with pytest.raises(apsw.ConstraintError, match="final"):
        database.execute("UPDATE decisions SET state = 'DENIED'")
    put(database, Transaction(session_row(A), deletion=Deletion(T)))
    assert database.execute("SELECT count(*) FROM decisions").get == 0


@pytest.mark.req("SQ-1", "SQ-8")
def test_rows_of_an_older_database_get_their_checksums_and_a_damaged_event_stays_damaged() -> None:
    old = apsw.Connection(":memory:")
    schema.migrate(old, MIGRATIONS[:4])
    new = apsw.Connection(":memory:")
    schema.migrate(new)
    fill(new)
    for table in TABLES:
        columns = [str(row[1]) for row in old.execute(f"PRAGMA table_info({table.name})")]
        some = ", ".join(f'"{name}"' for name in columns)
        for row in new.execute(f"SELECT {some} FROM {table.name}") if columns and table.name != "meta" else ():
            values = dict(zip(columns, row, strict=True))
            if table.name == "events":
                values["crc"] = crc32(values["body"])
            places = ", ".join("?" * len(row))
            old.execute(f"INSERT INTO {table.name} ({some}) VALUES ({places})", tuple(values.values()))
    old.execute("UPDATE events SET crc = crc + 1 WHERE session = ? AND seq = 2", (A,))
    schema.migrate(old)
    assert bad(old) == [f"events {A} 1 2"]
    assert old.execute("SELECT name, value FROM meta ORDER BY name").fetchall() == [
        ("oldest_compatible", "5"),
        ("rev", "3"),
        ("schema_version", "6"),
    ]
    put(old, step(A, 7, events=1))
    assert old.execute("SELECT rev FROM sessions WHERE id = ?", (A,)).get == 4
