"""Sessions of which all is left but their own row: it is made anew from their files, or they are told of as lost.

A session's folder tells which conversation it is and how far it had come: `claude` prints both at its beginning.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

import apsw
import msgspec

from betcode.adapters.marks import read_mark
from betcode.adapters.rescue import gaps
from betcode.adapters.rescue.places import Places
from betcode.adapters.session_files import SessionFiles
from betcode.adapters.sqlite import checked, values
from betcode.core.instant import Instant
from betcode.core.life import Session, to_row
from betcode.keeper.journal import JournalGap, JournalReader
from betcode.model import limits
from betcode.model.ids import ClaudeSessionId, SessionId
from betcode.model.rows import Options, SessionRow
from betcode.model.states import SessionState

_KNOWN = "SELECT id FROM sessions UNION SELECT session FROM tombstones WHERE kind = 'session'"
_LINES = 200
"""Lines of a journal that are looked at: `claude` says who it is in the first few."""


@dataclass(slots=True)
class Orphans:
    """What became of them."""

    made: int = 0
    without_files: list[str] = field(default_factory=list)
    """Sessions that had run and have no folder, a sentence each."""
    lost: list[str] = field(default_factory=list)
    """Of which not even that much is left, a sentence each; their rows are removed."""


class _Init(msgspec.Struct, frozen=True):
    """The line in which `claude` says who it is."""

    type: str = ""
    subtype: str = ""
    cwd: str = ""
    session_id: str = ""


_decode = msgspec.json.Decoder(_Init).decode


def adopt(staging: apsw.Connection, places: Places, *, now: Instant) -> Orphans:
    """Make a row for each of them, in the caller's transaction. Blocks. Raises apsw.Error."""
    found = Orphans()
    known = {session for (session,) in staging.execute(_KNOWN)}
    without_row = gaps.orphans(staging)
    folders = {path.parent.name for path in places.sessions.glob("*/mark")} if places.sessions.is_dir() else set()
    for session in sorted(folders - known | set(without_row)):
        row = _from_files(staging, SessionId(session), places.sessions / session, now)
        if row is not None:
            rev = checked.next_rev(staging)
            staging.execute(checked.INSERT["sessions"], checked.sealed("sessions", values.of_session(row, rev)))
            found.made += 1
        elif session in without_row:
            counts = ", ".join(f"{count} {table}" for table, count in sorted(without_row[session].items()))
            found.lost.append(f"Session {session} is lost: of it only {counts} were left, and no files.")
            for table in gaps.OF_SESSIONS:
                staging.execute(f'DELETE FROM "{table}" WHERE session = ?', (session,))  # noqa: S608 - our own names
        else:
            found.lost.append(f"Session {session} is lost: its files do not tell which conversation it was.")
    for session, run in staging.execute("SELECT id, run FROM sessions WHERE state != 'DELETED'"):
        if run > 0 and not (places.sessions / session).is_dir():
            found.without_files.append(
                f"Session {session} has no files any more. If it had been deleted, delete it again: the record of that"
                " was lost."
            )
    return found


def _from_files(staging: apsw.Connection, session: SessionId, folder: Path, now: Instant) -> SessionRow | None:
    """The row, at a position before all that its mark proves: `settle` then begins a new epoch.

    A session of which nobody knows where it worked can be read and not go on: it is closed.
    """
    init = _who(folder)
    if init is None:
        return None
    mark = read_mark(folder)
    epoch, seq = staging.execute(
        "SELECT epoch, max(seq) FROM events WHERE session = ? GROUP BY epoch ORDER BY epoch DESC LIMIT 1", (session,)
    ).fetchone() or (mark.epoch if mark else 1, 0)
    files = SessionFiles(folder)
    run = max(files.runs())
    offset = files.end(run)
    if mark is not None and (mark.epoch, mark.seq) > (epoch, seq):
        run = offset = 0
    begun = Session(
        id=session,
        claude_session_id=ClaudeSessionId(init.session_id),
        directory=init.cwd,
        name="",
        created_at=now.iso,
        options=Options(),
        epoch=epoch,
        seq=seq,
        run=run,
        offset=offset,
        checkpoint=offset,
        closed=not init.cwd,
        reason="its record was lost with the database and made anew from its files",
        shown_state=SessionState.IDLE if init.cwd else SessionState.CLOSED,
    )
    return to_row(begun)


def _who(folder: Path) -> _Init | None:
    """What the newest run that says it says."""
    reader = JournalReader(str(folder))
    try:
        runs = reader.runs()
    except OSError:
        return None
    best: _Init | None = None
    for run in sorted(runs, reverse=True):
        with contextlib.suppress(OSError, JournalGap):
            for line in reader.read(run, 0, limits.JOURNAL_READ_BYTES).split(b"\n")[:_LINES]:
                with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
                    init = _decode(line)
                    if init.session_id and init.type == "system" and init.subtype == "init":
                        return init
                    best = best or (init if init.session_id else None)
    return best
