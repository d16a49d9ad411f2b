"""The production SQL as plain functions on a connection: what one transaction writes, and every read.

Synchronous, without a thought for threads or files, so that a simulator runs these very functions on a database in
memory. They raise apsw's errors as they come; `StoreError` and `message.key_conflict` where the rows themselves
contradict what is stored. `apply` expects an open transaction or savepoint, which the caller rolls back on any error.
"""

from __future__ import annotations

from typing import Any

import apsw
import msgspec

from betcode.adapters.sqlite import decisions, deletion, odd_lines, values
from betcode.adapters.sqlite.checked import INSERT, names, next_rev, read, replacing, sealed
from betcode.adapters.sqlite.errors import RESCUE_HINT, StoreError, defect, key_conflict
from betcode.adapters.sqlite.schema import MESSAGE_IS_OPEN, PERMISSION_IS_OPEN
from betcode.adapters.sqlite.tables import TABLE, row_crc
from betcode.model.ids import MessageId, PermissionId, SessionId
from betcode.model.rows import EventRow, Message, Options, Permission, SessionRow, Transaction
from betcode.model.states import PermissionState

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_decode_options = msgspec.json.Decoder(Options).decode

# --- writing ------------------------------------------------------------------------------------------------------

_INSERT_SESSION = f"{INSERT['sessions']} ON CONFLICT (id) DO NOTHING"
_UPDATE_SESSION = f"""
UPDATE sessions SET ({names((*TABLE["sessions"].covered, "crc"))}) = ({", ".join(f"?{n}" for n in range(1, 17))})
WHERE id = ?1 AND state != 'DELETED' AND ((epoch = ?9 AND seq = ?17) OR (epoch < ?9 AND ?17 = 0))"""  # noqa: S608 - our own names
_PUT_MESSAGE = f"""
INSERT INTO messages ({names((*TABLE["messages"].covered, "crc"))})
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13
WHERE NOT EXISTS (SELECT 1 FROM tombstones WHERE key = ?1)
ON CONFLICT (id) DO UPDATE SET client = excluded.client, state = excluded.state, reason = excluded.reason,
    run = excluded.run, steer = excluded.steer, accepted_at = excluded.accepted_at, attempt = excluded.attempt,
    told = excluded.told, rev = excluded.rev, crc = excluded.crc
WHERE session = excluded.session AND text = excluded.text"""  # noqa: S608 - our own names
_PUT_PERMISSION = f"{replacing('permissions', keeps=('session',))} WHERE session = excluded.session"


def apply(connection: apsw.Connection, transaction: Transaction) -> int:
    """Write one transaction: the session first, since the other rows refer to it. Returns its revision.

    Raises:
        BetcodeError: `message.key_conflict`, `limit.deletions`.
        StoreError: the session exists already or not at all, or the events do not go on where the stored ones end.
        apsw.Error: anything that SQLite finds.
    """
    rev = next_rev(connection)
    if transaction.deletion is not None:
        deletion.delete(connection, transaction.session, transaction.deletion, rev)
        return rev
    if transaction.sweeps:
        deletion.sweep(connection, transaction.session.id)
        return rev
    _put_session(connection, transaction, rev)
    if transaction.events:
        rows = [sealed("events", values.of_event(event, rev)) for event in transaction.events]
        connection.executemany(INSERT["events"], rows)
    for message in transaction.messages:
        _put_message(connection, message, transaction.session.id, rev)
    for permission in transaction.permissions:
        _put_permission(connection, permission, transaction.session.id, rev)
    odd_lines.put(connection, transaction, rev)
    return rev


def _put_session(connection: apsw.Connection, transaction: Transaction, rev: int) -> None:
    row = transaction.session
    before = _seq_before(transaction)
    sealed_row = sealed("sessions", values.of_session(row, rev))
    if transaction.creates:
        if before != 0:
            raise defect(f"session {row.id} is created with seq {row.seq} and {len(transaction.events)} events")
        connection.execute(_INSERT_SESSION, sealed_row)
        if connection.changes() != 1:
            raise defect(f"session {row.id} exists already")
        return
    connection.execute(_UPDATE_SESSION, (*sealed_row, before))
    if connection.changes() != 1:
        stored = connection.execute("SELECT epoch, seq FROM sessions WHERE id = ?", (row.id,)).fetchone()
        if stored is None:
            raise defect(f"session {row.id} does not exist")
        raise defect(
            f"session {row.id} ends at epoch {stored[0]}, seq {stored[1]};"
            f" what was to follow begins after epoch {row.epoch}, seq {before}"
        )


def _seq_before(transaction: Transaction) -> int:
    """The seq that must be stored already: the events count on from it to the row's own, without a hole."""
    row = transaction.session
    before = row.seq - len(transaction.events)
    for seq, event in enumerate(transaction.events, before + 1):
        if event.seq != seq or event.epoch != row.epoch or event.session != row.id:
            raise defect(
                f"event {event.session} {event.epoch}.{event.seq} stands where {row.id} {row.epoch}.{seq} belongs"
            )
    return before


def _put_message(connection: apsw.Connection, message: Message, session: SessionId, rev: int) -> None:
    if message.session != session:
        raise defect(f"message {message.id} of session {message.session} in a transaction of session {session}")
    connection.execute(_PUT_MESSAGE, sealed("messages", values.of_message(message, rev)))
    if connection.changes() != 1:
        raise key_conflict(message.id)


def _put_permission(connection: apsw.Connection, permission: Permission, session: SessionId, rev: int) -> None:
    if permission.session != session:
        raise defect(f"question {permission.id} of {permission.session} in a transaction of session {session}")
    connection.execute(_PUT_PERMISSION, sealed("permissions", values.of_permission(permission, rev)))
    if connection.changes() != 1:
        raise defect(f"question {permission.id} belongs to another session")
    if permission.state is not PermissionState.PENDING:
        decisions.append(connection, permission, rev)


# --- reading ------------------------------------------------------------------------------------------------------

_SELECT_EVENTS = """
SELECT seq, kind, time, crc, body, rev FROM events WHERE session = ? AND epoch = ? AND seq > ? ORDER BY seq LIMIT ?"""
_ALL_SESSIONS = f"WHERE {deletion.IS_THERE} ORDER BY created_at, position"
_OPEN_MESSAGES = f"INDEXED BY messages_open WHERE session = ? AND {MESSAGE_IS_OPEN} ORDER BY position"
_OPEN_PERMISSIONS = f"INDEXED BY permissions_open WHERE session = ? AND {PERMISSION_IS_OPEN} ORDER BY position"


def sessions(connection: apsw.Connection) -> list[SessionRow]:
    """All sessions, oldest first."""
    return [values.session(row) for row in read(connection, "sessions", _ALL_SESSIONS)]


def session(connection: apsw.Connection, session: SessionId) -> SessionRow | None:
    """One session."""
    rows = list(read(connection, "sessions", f"WHERE id = ? AND {deletion.IS_THERE}", (session,)))
    return values.session(rows[0]) if rows else None


BEYOND = (2**62, 0)
"""The position of a deleted session: nothing that is found of it anywhere is missing."""


def positions(connection: apsw.Connection) -> dict[SessionId, tuple[int, int]]:
    """(epoch, seq) of the last event of each session; deleted ones are remembered as beyond everything."""
    rows = connection.execute(f"SELECT id, epoch, seq FROM sessions WHERE {deletion.IS_THERE}")  # noqa: S608 - a constant
    found = {SessionId(session): (epoch, seq) for session, epoch, seq in rows}
    deleted = connection.execute("SELECT session FROM tombstones WHERE kind = 'session'")
    return found | {SessionId(session): BEYOND for (session,) in deleted}


def leftovers(connection: apsw.Connection) -> list[SessionRow]:
    """Deleted sessions of which events or files may be left."""
    return [values.session(row) for row in read(connection, "sessions", f"WHERE NOT ({deletion.IS_THERE})")]


def open_messages(connection: apsw.Connection, session: SessionId) -> list[Message]:
    """Messages without an outcome, in the order of their acceptance."""
    return [values.message(row) for row in read(connection, "messages", _OPEN_MESSAGES, (session,))]


def open_permissions(connection: apsw.Connection, session: SessionId) -> list[Permission]:
    """Questions that are pending or settled and still being delivered, oldest first."""
    return [values.permission(row) for row in read(connection, "permissions", _OPEN_PERMISSIONS, (session,))]


def message(connection: apsw.Connection, message: MessageId) -> Message | None:
    """One message of any session; of one that was deleted without its text."""
    rows = list(read(connection, "messages", "WHERE id = ?", (message,)))
    return values.message(rows[0]) if rows else deletion.deleted_message(connection, message)


def permission(connection: apsw.Connection, permission: PermissionId) -> Permission | None:
    """One question of any session."""
    rows = list(read(connection, "permissions", "WHERE id = ?", (permission,)))
    return values.permission(rows[0]) if rows else None


def events(connection: apsw.Connection, session: SessionId, *, epoch: int, after: int, limit: int) -> list[EventRow]:
    """Events of one epoch with seq > after, in order, at most `limit`.

    Raises:
        StoreError: `corrupt`; a stored row is not what was written, which SQLite itself cannot see.
    """
    rows: list[Any] = connection.execute(_SELECT_EVENTS, (session, epoch, after, limit)).fetchall()
    for seq, kind, time, crc, body, rev in rows:
        if row_crc("events", (session, epoch, seq, kind, time, body, rev)) != crc:
            raise StoreError(
                f"event {epoch}.{seq} of session {session} is damaged", hint=RESCUE_HINT, error_type="corrupt"
            )
    return [EventRow(session, epoch, seq, kind, time, body) for seq, kind, time, _, body, _ in rows]
