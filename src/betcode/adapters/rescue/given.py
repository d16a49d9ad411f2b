"""Messages of which an older version came back: the keepers' own records say which of them claude was given (INV-1)."""

from __future__ import annotations

from typing import Any

import apsw
from msgspec.structs import replace

from betcode.adapters.rescue.places import Places
from betcode.adapters.session_files import SessionFiles
from betcode.adapters.sqlite import checked, statements, values
from betcode.model.states import MessageState

_WAITING = "SELECT session, id FROM messages WHERE state IN ('accepted', 'queued') ORDER BY session, position"
_PUT = checked.replacing("messages")


def note_given(places: Places, staging: apsw.Connection) -> int:
    """Have those that seem to wait and were given to claude count as delivered, so that none runs a second time.

    What became of them the journal tells, or a person is asked. In the caller's transaction. Returns how many they are.
    Raises apsw.Error, OSError.
    """
    waiting: list[Any] = staging.execute(_WAITING).fetchall()
    rev = checked.next_rev(staging)
    given: dict[str, int] = {}
    last, found = "", 0
    for session, name in waiting:
        if session != last:
            given, last = _given(SessionFiles(places.sessions / session)), session
        message = statements.message(staging, name)
        if message is not None and (run := given.get(message.uuid)):
            had = replace(message, state=MessageState.DELIVERED, run=run)
            staging.execute(_PUT, checked.sealed("messages", values.of_message(had, rev)))
            found += 1
    return found


def _given(files: SessionFiles) -> dict[str, int]:
    """Ids of lines that a claude may have read, with the newest run that was given them."""
    return {name: run for run in files.runs() for name in files.written(run)}
