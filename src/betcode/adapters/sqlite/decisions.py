"""Decisions on permission questions: appended once, never changed, gone only with their session (SQ-1, INV-3).

A question's own row is replaced whenever its delivery moves. This second record, which nothing replaces, is what proves
after damage that somebody said yes.
"""

from __future__ import annotations

import apsw
import msgspec

from betcode.adapters.sqlite.checked import INSERT, read, sealed
from betcode.adapters.sqlite.errors import defect
from betcode.model.ids import SessionId
from betcode.model.rows import Permission

_encode = msgspec.json.Encoder().encode


def append(connection: apsw.Connection, permission: Permission, rev: int) -> None:
    """Keep the decision on a settled question. The same one again changes nothing.

    Raises StoreError when another decision on it is stored.
    """
    edited = permission.updated_input
    row = (
        permission.id,
        permission.session,
        permission.state.value,
        permission.by,
        permission.message,
        None if edited is None else _encode(edited).decode(),
        int(permission.for_session),
        int(permission.interrupt),
        permission.settled_at,
    )
    for stored in read(connection, "decisions", "WHERE permission = ?", (permission.id,)):
        if tuple(stored[:-1]) != row:
            raise defect(f"the question {permission.id} was decided already: {stored[2]}, not {row[2]}")
        return
    connection.execute(INSERT["decisions"], sealed("decisions", (*row, rev)))


def forget(connection: apsw.Connection, session: SessionId) -> None:
    """The session is deleted."""
    connection.execute("DELETE FROM decisions WHERE session = ?", (session,))
