"""A session as the database has it: for the doctor, when no daemon answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apsw
import msgspec

from betcode.adapters.sqlite import deletion, statements
from betcode.adapters.sqlite.tables import row_crc
from betcode.core.diagnosis.trouble import KINDS
from betcode.model.errors import BetcodeError
from betcode.model.ids import SessionId
from betcode.model.rows import Message, Permission, SessionRow

PREFIX_MIN = 4
"""Characters of an id that must be given at least; as the daemon has it."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A session's rows."""

    row: SessionRow
    messages: list[Message]
    permissions: list[Permission]


def find_session(connection: apsw.Connection, given: str) -> SessionRow:
    """The session with this id, or whose id begins so, or that claude calls so.

    Raises BetcodeError `session.*`; apsw.Error; ValueError for a damaged row.
    """
    rows = statements.sessions(connection)
    names = {row.id: row.id for row in rows} | {row.claude_session_id: row.id for row in rows}
    try:
        chosen = choose(given, [row.id for row in rows], names)
    except BetcodeError as error:
        stone = deletion.tombstone(connection, given)
        if stone is None:
            raise
        what = f"session {stone.session} was deleted at {stone.deleted_at}"
        raise BetcodeError("session.deleted", what, hint="See: betcode sessions list") from error
    return next(row for row in rows if row.id == chosen)


def choose(given: str, ids: list[SessionId], names: dict[Any, SessionId]) -> SessionId:
    """Which of `ids` is meant. Raises BetcodeError `session.not_found`, `session.ambiguous`."""
    if given in names:
        return names[given]
    found = [one for one in ids if len(given) >= PREFIX_MIN and one.startswith(given)]
    if len(found) == 1:
        return found[0]
    if found:
        raise BetcodeError(
            "session.ambiguous", f"{len(found)} sessions begin with {given!r}", hint="Give more characters."
        )
    raise BetcodeError("session.not_found", f"no session {given!r}", hint="See: betcode sessions list")


def read_stored(connection: apsw.Connection, row: SessionRow) -> Stored:
    """What belongs to a session. Raises apsw.Error, ValueError."""
    return Stored(row, statements.open_messages(connection, row.id), statements.open_permissions(connection, row.id))


def read_events(connection: apsw.Connection, session: SessionId) -> Iterator[dict[str, Any]]:
    """Events that may tell of trouble, of all epochs, in order; one that is damaged becomes an error event.

    Raises apsw.Error.
    """
    marks = ", ".join("?" for _ in KINDS)
    query = (
        "SELECT epoch, seq, kind, time, crc, body, rev FROM events"  # noqa: S608 - question marks
        f" WHERE session = ? AND kind IN ({marks}) ORDER BY epoch, seq"
    )
    for epoch, seq, kind, time, crc, body, rev in connection.execute(query, (session, *KINDS)):
        try:
            if row_crc("events", (session, epoch, seq, kind, time, body, rev)) != crc:
                raise ValueError("its checksum is wrong")
            yield msgspec.json.decode(body, type=dict[str, Any])
        except ValueError as error:
            message = f"the stored event of kind {kind} cannot be read: {error}"
            yield {"kind": "error", "code": "store.failed", "message": message, "hint": "betcode doctor"} | {
                "epoch": epoch,
                "seq": seq,
                "time": time,
            }
