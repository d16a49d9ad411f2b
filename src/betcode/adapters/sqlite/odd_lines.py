"""Lines that could not be read, and what is new in claude's output: what is kept of both, and how it is bounded.

As `statements`: plain functions on a connection, in the transaction of whoever calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw

from betcode.adapters.sqlite.checked import INSERT, read, replacing, sealed
from betcode.model import limits
from betcode.model.ids import SessionId
from betcode.model.rows import Drift, Quarantined, Transaction

_KEEP_LINE = f'{INSERT["quarantine"]} ON CONFLICT (session, run, "offset") DO NOTHING'
_DROP_OLDEST = """
DELETE FROM quarantine WHERE rowid IN (
    SELECT rowid FROM quarantine WHERE session = ? ORDER BY run DESC, "offset" DESC LIMIT -1 OFFSET ?)"""
_DROP_OLD = "DELETE FROM quarantine WHERE time < strftime('%Y-%m-%dT%H:%M:%fZ', ?, ?)"
_COUNT = replacing("drift")
_ONE_NAME = "WHERE version = ? AND what = ? AND name = ?"
_DROP_OLD_NAMES = """
DELETE FROM drift WHERE (version, what, name) IN (
    SELECT version, what, name FROM drift ORDER BY last_seen DESC LIMIT -1 OFFSET ?)"""


def put(connection: apsw.Connection, transaction: Transaction, rev: int) -> None:
    """Keep what a transaction brings, and let go of what is too old or too much. Raises apsw.Error."""
    lines, drift = transaction.quarantine, transaction.drift
    if lines:
        rows = [(q.session, q.run, q.offset, q.size, q.time, q.error_type, q.detail, q.copy, rev) for q in lines]
        connection.executemany(_KEEP_LINE, [sealed("quarantine", row) for row in rows])
        connection.execute(_DROP_OLDEST, (transaction.session.id, limits.QUARANTINED_MAX))
        connection.execute(_DROP_OLD, (lines[-1].time, f"-{limits.QUARANTINE_DAYS} days"))
    if drift:
        for seen in drift:
            _count(connection, seen, rev)
        if connection.execute("SELECT count(*) FROM drift").get > limits.DRIFT_MAX:
            connection.execute(_DROP_OLD_NAMES, (limits.DRIFT_MAX,))


def _count(connection: apsw.Connection, new: Drift, rev: int) -> None:
    """Add to what was counted. The example stays that of the first session, unless that one is deleted."""
    count, first, session, example = new.count, new.first_seen, new.session, new.example
    for known in (Drift(*row[:-1]) for row in read(connection, "drift", _ONE_NAME, (new.version, new.what, new.name))):
        count, first = count + known.count, known.first_seen
        if known.session:
            session, example = known.session, known.example
    row = (new.version, new.what, new.name, count, first, new.last_seen, session, example, rev)
    connection.execute(_COUNT, sealed("drift", row))


def forget(connection: apsw.Connection, session: SessionId, rev: int) -> None:
    """The session is deleted: nothing of what it said is left. That something was seen, is."""
    connection.execute("DELETE FROM quarantine WHERE session = ?", (session,))
    for row in list(read(connection, "drift", "WHERE session = ?", (session,))):
        connection.execute(_COUNT, sealed("drift", (*row[:6], "", "", rev)))


def quarantine(connection: apsw.Connection, session: SessionId, since: str) -> list[Quarantined]:
    """The lines of a session that were kept since a time, in the order in which they were printed."""
    where = 'WHERE session = ? AND time >= ? ORDER BY run, "offset"'
    return [_line(row) for row in read(connection, "quarantine", where, (session, since))]


def quarantined(connection: apsw.Connection, session: SessionId, run: int, offset: int) -> Quarantined | None:
    """One of them."""
    where = 'WHERE session = ? AND run = ? AND "offset" = ?'
    for row in read(connection, "quarantine", where, (session, run, offset)):
        return _line(row)
    return None


def drift(connection: apsw.Connection) -> list[Drift]:
    """All that was new in the output of any claude, by its version."""
    return [Drift(*row[:-1]) for row in read(connection, "drift", "ORDER BY version, what, name")]


def _line(row: Sequence[Any]) -> Quarantined:
    return Quarantined(SessionId(row[0]), *row[1:-1])
