"""The SQL of deletion: what is forgotten at once, what is swept in small steps, and what is remembered (SQ-11).

One transaction makes a session unreachable: its row gets the state DELETED, its questions and the lines in quarantine
go, each message leaves only a tombstone of its key. A commit is all or nothing, so a session is whole or it is gone.
Its events follow in batches that do not stall the writer; the row goes last, so that whatever is left over can be found
after a crash.
"""

from __future__ import annotations

import apsw

from betcode.adapters.sqlite import decisions, odd_lines
from betcode.adapters.sqlite.checked import INSERT, read, replacing, sealed
from betcode.adapters.sqlite.errors import defect
from betcode.adapters.sqlite.tables import TABLE
from betcode.model import admission_limits, limits
from betcode.model.errors import BetcodeError, Refusal
from betcode.model.ids import MessageId, SessionId
from betcode.model.rows import Deletion, Message, SessionRow, Tombstone
from betcode.model.states import MessageState, SessionState

IS_THERE = "state != 'DELETED'"
"""Sessions that were not deleted."""

_FORGET = """
DELETE FROM tombstones WHERE key IN (SELECT key FROM tombstones WHERE deleted_at < ? ORDER BY deleted_at LIMIT ?)"""
_REMEMBER = f"{INSERT['tombstones']} ON CONFLICT (key) DO NOTHING"
_HIDE = replacing("sessions")
_SWEEP = "DELETE FROM events WHERE rowid IN (SELECT rowid FROM events WHERE session = ? LIMIT ?)"


def delete(connection: apsw.Connection, row: SessionRow, deletion: Deletion, rev: int) -> None:
    """Make a session unreachable and remember its keys.

    Raises:
        BetcodeError: `limit.deletions`.
        StoreError: there is no such session.
        apsw.Error: anything that SQLite finds.
    """
    connection.execute(_FORGET, (deletion.forget_before, limits.TOMBSTONES_MAX))
    _hide(connection, row.id, rev)
    stones = [(row.id, "session", ""), (row.claude_session_id, "conversation", "")]
    messages = connection.execute("SELECT id, state FROM messages WHERE session = ?", (row.id,))
    stones += [(message, "message", state) for message, state in messages]
    rows = [(key, kind, row.id, state, deletion.at, rev) for key, kind, state in stones]
    connection.executemany(_REMEMBER, [sealed("tombstones", stone) for stone in rows])
    if connection.execute("SELECT count(*) FROM tombstones").get > limits.TOMBSTONES_MAX:
        raise BetcodeError(
            "limit.deletions",
            f"the keys of {limits.TOMBSTONES_MAX} deleted messages are remembered, and there is room for no more",
            hint="Close the session instead; the oldest keys are forgotten after `storage.message_key_days`.",
            refusal=Refusal("tombstones_max", "daemon", admission_limits.RETRY_DELETIONS_MS),
        )
    connection.execute("DELETE FROM permissions WHERE session = ?", (row.id,))
    decisions.forget(connection, row.id)
    connection.execute("DELETE FROM messages WHERE session = ?", (row.id,))
    odd_lines.forget(connection, row.id, rev)


def _hide(connection: apsw.Connection, session: SessionId, rev: int) -> None:
    columns = TABLE["sessions"].covered
    for stored in read(connection, "sessions", f"WHERE id = ? AND {IS_THERE}", (session,)):
        gone = dict(zip(columns, stored, strict=True)) | {"state": "DELETED", "name": "", "options": "{}", "rev": rev}
        connection.execute(_HIDE, sealed("sessions", tuple(gone.values())))
        return
    raise defect(f"session {session} is to be deleted and does not exist")


def sweep(connection: apsw.Connection, session: SessionId) -> None:
    """Remove the next events of a deleted session, and with the last ones its row. Harmless when nothing is left."""
    stored = connection.execute("SELECT state FROM sessions WHERE id = ?", (session,)).get
    if stored is None:
        return
    if stored != SessionState.DELETED:
        raise defect(f"session {session} is to be swept and was not deleted")
    connection.execute(_SWEEP, (session, limits.SWEEP_EVENTS))
    if connection.changes() < limits.SWEEP_EVENTS:
        connection.execute("DELETE FROM sessions WHERE id = ?", (session,))


def tombstone(connection: apsw.Connection, key: str) -> Tombstone | None:
    """What is remembered of a deleted session under its id, or under the key that it was created with."""
    for stone in read(connection, "tombstones", "WHERE key = ?", (key,)):
        return Tombstone(*stone[:-1])
    return None


def deleted_message(connection: apsw.Connection, message: MessageId) -> Message | None:
    """A message of a deleted session: all but its text and its sender."""
    found = tombstone(connection, message)
    if found is None or found.kind != "message":
        return None
    return Message(
        id=message,
        session=SessionId(found.session),
        text="",
        client="",
        state=MessageState(found.state),
        accepted_at=found.deleted_at,
    )
