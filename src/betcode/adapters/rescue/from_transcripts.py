"""Events that neither a row nor a journal has, from Claude's own record of the conversation: the last source (SQ-4).

It holds what was said and what tools gave back, and nothing of what BetCode showed besides. So nothing is proved by it:
what it has is woven between what is left, and `settle` gives the session a new epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import apsw
import msgspec

from betcode.adapters.conversations import history
from betcode.adapters.rescue import gaps
from betcode.adapters.rescue.places import Places
from betcode.adapters.session_files import SessionFiles
from betcode.adapters.sqlite import statements
from betcode.core.rescue.weaving import identity_of, woven
from betcode.model.errors import BetcodeError
from betcode.model.events import Assistant, Event, ToolCalled, ToolEnded, UserMessage
from betcode.model.rows import SessionRow

Environment = Callable[[SessionRow], Mapping[str, str]]
"""In which claude runs for a session: where its transcripts are."""

_KNOWN = "SELECT seq, body FROM events WHERE session = ? AND epoch = ?"
_SAID = (Assistant, ToolCalled, ToolEnded, UserMessage)


def fill_from_transcripts(staging: apsw.Connection, places: Places, environment_of: Environment) -> dict[str, int]:
    """Look at sessions that have holes and no journal any more. Returns how many events each got back.

    In the caller's transaction, after `history.fill_holes`. Raises apsw.Error.
    """
    found: dict[str, int] = {}
    holes = {(hole.session, hole.epoch) for hole in gaps.holes(staging)}
    for row in statements.sessions(staging):
        files = SessionFiles(places.sessions / row.id)
        if (row.id, row.epoch) not in holes or any(files.end(run) for run in files.runs()):
            continue
        known = dict(staging.execute(_KNOWN, (row.id, row.epoch)))
        extras = woven(_said(row, environment_of), known, 1, row.seq, identity_of)
        for after, event in extras:
            kind = str(type(event).__struct_config__.tag)
            values = (row.id, after, kind, event.time or row.created_at, msgspec.json.encode(event))
            staging.execute("INSERT INTO temp.extras VALUES (?, ?, ?, ?, ?)", values)
        if extras:
            found[row.id] = len(extras)
    return found


def _said(row: SessionRow, environment_of: Environment) -> list[Event]:
    """What the transcript has, if there is one."""
    try:
        events = history(environment_of(row), row.claude_session_id).events
    except (BetcodeError, OSError):
        return []
    return [event for event in events if isinstance(event, _SAID)]
