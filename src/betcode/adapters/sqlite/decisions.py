"""Decisions on permission questions: appended once, never changed, gone only with their session (SQ-1, INV-3).

A question's own row is replaced whenever its delivery moves. This second record, which nothing replaces, is what proves
after damage that somebody said yes.
"""

from __future__ import annotations

import apsw

from betcode.adapters.sqlite import values
from betcode.adapters.sqlite.checked import INSERT, read, sealed
from betcode.adapters.sqlite.errors import defect
from betcode.model.ids import SessionId
from betcode.model.rows import Permission


def append(connection: apsw.Connection, permission: Permission, rev: int) -> None:
    """Keep the decision on a settled question. The same one again changes nothing.

    Raises StoreError when another decision on it is stored.
    """
    row = values.of_decision(permission, rev)
    for stored in read(connection, "decisions", "WHERE permission = ?", (permission.id,)):
        if tuple(stored[:-1]) != row[:-1]:
            raise defect(f"the question {permission.id} was decided already: {stored[2]}, not {permission.state}")
        return
    connection.execute(INSERT["decisions"], sealed("decisions", row))


def forget(connection: apsw.Connection, session: SessionId) -> None:
    """The session is deleted."""
    connection.execute("DELETE FROM decisions WHERE session = ?", (session,))
