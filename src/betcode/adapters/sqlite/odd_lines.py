"""Lines that could not be read, and what is new in claude's output: what is kept of both, and how it is bounded.

As `statements`: plain functions on a connection, in the transaction of whoever calls.
"""

from __future__ import annotations

from typing import Any

import apsw

from betcode.model import limits
from betcode.model.ids import SessionId
from betcode.model.rows import Drift, Quarantined, Transaction

_KEEP_LINE = """
INSERT INTO quarantine (session, run, "offset", size, time, error_type, detail, copy) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (session, run, "offset") DO NOTHING"""
_DROP_OLDEST = """
DELETE FROM quarantine WHERE rowid IN (
    SELECT rowid FROM quarantine WHERE session = ? ORDER BY run DESC, "offset" DESC LIMIT -1 OFFSET ?)"""
_DROP_OLD = "DELETE FROM quarantine WHERE time < strftime('%Y-%m-%dT%H:%M:%fZ', ?, ?)"
_SELECT_LINE = 'SELECT session, run, "offset", size, time, error_type, detail, copy FROM quarantine WHERE session = ?'
_COUNT = """
INSERT INTO drift (version, what, name, count, first_seen, last_seen, session, example) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (version, what, name) DO UPDATE SET count = count + excluded.count, last_seen = excluded.last_seen,
    session = iif(session = '', excluded.session, session), example = iif(session = '', excluded.example, example)"""
_DROP_OLD_NAMES = """
DELETE FROM drift WHERE (version, what, name) IN (
    SELECT version, what, name FROM drift ORDER BY last_seen DESC LIMIT -1 OFFSET ?)"""


def put(connection: apsw.Connection, transaction: Transaction) -> None:
    """Keep what a transaction brings, and let go of what is too old or too much. Raises apsw.Error."""
    lines, drift = transaction.quarantine, transaction.drift
    if lines:
        rows = [(q.session, q.run, q.offset, q.size, q.time, q.error_type, q.detail, q.copy) for q in lines]
        connection.executemany(_KEEP_LINE, rows)
        connection.execute(_DROP_OLDEST, (transaction.session.id, limits.QUARANTINED_MAX))
        connection.execute(_DROP_OLD, (lines[-1].time, f"-{limits.QUARANTINE_DAYS} days"))
    if drift:
        counts = [(d.version, d.what, d.name, d.count, d.first_seen, d.last_seen, d.session, d.example) for d in drift]
        connection.executemany(_COUNT, counts)
        if connection.execute("SELECT count(*) FROM drift").get > limits.DRIFT_MAX:
            connection.execute(_DROP_OLD_NAMES, (limits.DRIFT_MAX,))


def forget(connection: apsw.Connection, session: SessionId) -> None:
    """The session is deleted: nothing of what it said is left. That something was seen, is."""
    connection.execute("DELETE FROM quarantine WHERE session = ?", (session,))
    connection.execute("UPDATE drift SET session = '', example = '' WHERE session = ?", (session,))


def quarantine(connection: apsw.Connection, session: SessionId, since: str) -> list[Quarantined]:
    """The lines of a session that were kept since a time, in the order in which they were printed."""
    query = f'{_SELECT_LINE} AND time >= ? ORDER BY run, "offset"'
    return [_line(row) for row in connection.execute(query, (session, since))]


def quarantined(connection: apsw.Connection, session: SessionId, run: int, offset: int) -> Quarantined | None:
    """One of them."""
    found = connection.execute(f'{_SELECT_LINE} AND run = ? AND "offset" = ?', (session, run, offset)).fetchone()
    return None if found is None else _line(found)


def drift(connection: apsw.Connection) -> list[Drift]:
    """All that was new in the output of any claude, by its version."""
    query = "SELECT version, what, name, count, first_seen, last_seen, session, example FROM drift"
    rows: list[Any] = connection.execute(f"{query} ORDER BY version, what, name").fetchall()
    return [Drift(*row) for row in rows]


def _line(row: tuple[Any, ...]) -> Quarantined:
    return Quarantined(SessionId(row[0]), *row[1:])
