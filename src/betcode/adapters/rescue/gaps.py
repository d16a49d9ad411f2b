"""What a salvaged database lacks, as far as the rest of it tells, and what must not come back (INV-6, SQ-11)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import apsw

OF_SESSIONS = ("events", "messages", "permissions", "decisions", "quarantine")
"""Tables whose rows belong to a session."""

_DELETED = """
SELECT session FROM tombstones WHERE kind = 'session' UNION SELECT id FROM sessions WHERE state = 'DELETED'"""
_HOLES = """
SELECT session, epoch, before + 1, seq - 1 FROM (
    SELECT session, epoch, seq, lag(seq, 1, 0) OVER (PARTITION BY session, epoch ORDER BY seq) AS before FROM events
) WHERE seq > before + 1"""
_ENDS = """
SELECT id, epoch, 1 + coalesce((SELECT max(e.seq) FROM events e WHERE e.session = s.id AND e.epoch = s.epoch), 0), seq
FROM sessions s WHERE state != 'DELETED'"""


@dataclass(frozen=True, slots=True)
class Hole:
    """Events of a session that are missing: `first` to `last`, both included."""

    session: str
    epoch: int
    first: int
    last: int

    @property
    def count(self) -> int:
        """How many they are."""
        return self.last - self.first + 1


def holes(connection: apsw.Connection) -> Iterator[Hole]:
    """All that can be known of: between events that are there, and up to where the session's row says it ends.

    Raises apsw.Error. A session of which neither a row nor an event is left is not among them.
    """
    for row in connection.execute(_HOLES):
        yield Hole(*row)
    for row in connection.execute(_ENDS):
        if row[2] <= row[3]:
            yield Hole(*row)


def holes_seen(connection: apsw.Connection) -> Iterator[Hole]:
    """Those in the newest epoch of each session, which is the one that people see. Raises apsw.Error."""
    newest = dict(connection.execute("SELECT id, epoch FROM sessions"))
    return (hole for hole in holes(connection) if newest.get(hole.session) == hole.epoch)


def orphans(connection: apsw.Connection) -> dict[str, dict[str, int]]:
    """Number of rows by session and table, of sessions that have no row of their own. Raises apsw.Error."""
    found: dict[str, dict[str, int]] = {}
    for table in OF_SESSIONS:
        sql = f'SELECT session, count(*) FROM "{table}" WHERE session NOT IN (SELECT id FROM sessions) GROUP BY session'  # noqa: S608 - our own names
        for session, count in connection.execute(sql):
            found.setdefault(session, {})[table] = count
    return found


def forget_deleted(connection: apsw.Connection) -> int:
    """Remove what belongs to deleted sessions: it is found in pages that were free. Returns how many rows that were.

    Raises apsw.Error.
    """
    before = connection.total_changes()
    deleted = [(session,) for (session,) in connection.execute(_DELETED)]
    for table in OF_SESSIONS:
        connection.executemany(f'DELETE FROM "{table}" WHERE session = ?', deleted)  # noqa: S608 - our own names
    connection.executemany("DELETE FROM sessions WHERE id = ? AND state != 'DELETED'", deleted)
    return connection.total_changes() - before


def drop_orphans(connection: apsw.Connection) -> None:
    """Remove rows of sessions that have no row of their own: a database that is used must not have them.

    Raises apsw.Error.
    """
    for table in OF_SESSIONS:
        connection.execute(f'DELETE FROM "{table}" WHERE session NOT IN (SELECT id FROM sessions)')  # noqa: S608 - ours
