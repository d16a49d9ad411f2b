"""The database, read without changing a byte of it or of the files beside it, whether a daemon uses it or not.

An ordinary reader makes `-wal` and `-shm` where they are missing. So: without a log the file is opened as one that
nobody changes; with one, SQLite gets the shared index read-only, or builds its own in memory.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import apsw

from betcode.adapters.marks import read_mark
from betcode.adapters.rescue.gaps import holes_seen
from betcode.adapters.sqlite import row_check, statements
from betcode.adapters.sqlite.connection import check_header, close_quietly, quick_check
from betcode.adapters.sqlite.errors import StoreError, translate
from betcode.adapters.sqlite.schema import MIGRATIONS
from betcode.core.diagnosis.daemon import Database
from betcode.model import limits
from betcode.model.ids import SessionId
from betcode.model.rows import Mark
from betcode.model.states import SessionState

_STEPS = 10_000
"""Instructions of SQLite between looks at the time: under a millisecond."""
_BUSY_MS = 1_000
_BAD_ROWS_MAX = 1_000


class NotLookedError(Exception):
    """It cannot be read now without changing something, or at all; the text says why."""


@contextlib.contextmanager
def opened(
    path: Path, *, live: bool, wait_s: float, ticking: Callable[[float], bool] = lambda seconds: False
) -> Iterator[apsw.Connection]:
    """A connection that changes nothing and is interrupted when `wait_s` is over.

    Args:
        path: of the database, which exists.
        live: whether a daemon uses it now.
        wait_s: from now to `apsw.InterruptError`.
        ticking: asked now and then; True interrupts too.

    Raises:
        NotLookedError, apsw.Error.
    """
    connection = _open(path, live)
    deadline = time.monotonic() + wait_s
    try:
        connection.set_busy_timeout(_BUSY_MS)
        connection.set_progress_handler(lambda: ticking(0.0) or time.monotonic() > deadline, _STEPS)
        yield connection
    finally:
        close_quietly(connection)


def _open(path: Path, live: bool) -> apsw.Connection:
    has_log = _size(path, "-wal") > 0
    has_index = _beside(path, "-shm").exists()
    if not live and not has_log:
        return _connect(path, "immutable=1")
    if not has_index or not _beside(path, "-wal").exists():
        if live:
            raise NotLookedError("a daemon is just opening it")
        raise NotLookedError("its write-ahead log has no index beside it, which only a daemon may make")
    try:
        connection = _connect(path, "readonly_shm=1")
        connection.execute("SELECT count(*) FROM sqlite_schema")
    except (apsw.CantOpenError, apsw.ReadOnlyError):
        if not live:
            raise
        return _connect(path, "mode=ro")  # what any other reader does beside a daemon
    return connection


def _connect(path: Path, option: str) -> apsw.Connection:
    uri = f"file:{quote(os.fsencode(path))}?mode=ro&{option}"
    return apsw.Connection(uri, apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)


@dataclass(frozen=True, slots=True)
class Depth:
    """How thoroughly to look."""

    wait_s: float = limits.DOCTOR_READ_S
    """Then what is left is not looked at."""
    whole: bool = False
    """Also what takes longer: every index entry, every reference to another row, and the numbering of events."""
    ticking: Callable[[float], bool] = lambda seconds: False
    """Told now and then that the work goes on; True ends it."""


def look_at_database(path: Path, sessions: Path, *, live: bool, others_left: bool, depth: Depth = Depth()) -> Database:
    """Check the whole file as far as there is time.

    Args:
        path: of the database.
        sessions: DATA/sessions, for the marks.
        live: whether a daemon uses it now.
        others_left: whether other files of sessions are there.
        depth: how thoroughly.
    """
    marks = _marks(sessions)  # before the database, which then is never behind a mark that it has overtaken
    before = _signature(path)
    found = _look(path, marks, live, others_left, depth)
    if (found.damage or found.header) and not live and _signature(path) != before:
        return _look(path, marks, True, others_left, depth)  # a daemon has started meanwhile
    return found


def _look(path: Path, marks: dict[SessionId, Mark], live: bool, others_left: bool, depth: Depth) -> Database:
    newest = MIGRATIONS[-1].version
    log_size = _size(path, "-wal")
    if not path.exists() and not log_size:
        return Database(str(path), exists=False, newest_schema=newest, others_left=others_left)
    size = _size(path, "")

    def found(**facts: object) -> Database:
        common = {"size": size, "log_size": log_size, "newest_schema": newest, "others_left": others_left}
        return Database(str(path), exists=True, **{**common, **facts})  # type: ignore[arg-type]

    try:
        check_header(path)
    except StoreError as error:
        return found(header=str(error))
    except OSError as error:
        return found(not_looked=str(error.strerror))
    if size == 0:
        return found(schema=0)
    try:
        with opened(path, live=live, wait_s=depth.wait_s, ticking=depth.ticking) as connection:
            return found(**_content(connection, marks, whole=depth.whole))
    except NotLookedError as error:
        return found(not_looked=str(error))
    except apsw.BusyError:
        return found(not_looked="another process holds it")
    except apsw.Error as error:
        return found(damage=_in_words(error))


def _content(connection: apsw.Connection, marks: dict[SessionId, Mark], *, whole: bool) -> dict[str, object]:
    """What is in a database that can be opened. Raises apsw.Error."""
    facts: dict[str, object] = {}
    try:
        (_integrity_check if whole else quick_check)(connection)
        facts["schema"] = schema = int(connection.execute("PRAGMA user_version").get)
        facts["foreign"] = schema == 0 and bool(connection.execute("SELECT count(*) FROM sqlite_schema").get)
        if schema == MIGRATIONS[-1].version:
            facts["behind"], facts["strangers"] = _compare(connection, marks)
            facts["rows"], facts["bad_rows"], facts["finished"] = _rows(connection)
            if whole:
                holes = Counter[str]()
                for hole in holes_seen(connection):
                    holes[hole.session] += hole.count
                facts["holes"] = tuple(f"{session} ({count})" for session, count in holes.items())
    except apsw.InterruptError:
        facts["finished"] = False
    except StoreError as error:
        facts["damage"] = str(error).removeprefix("the database is damaged: ")
    return facts


def _integrity_check(connection: apsw.Connection) -> None:
    """Raises as `quick_check` does."""
    found = connection.execute("PRAGMA integrity_check(1)").get
    if found == "ok" and (strangers := connection.execute("SELECT count(*) FROM pragma_foreign_key_check").get):
        found = f"{strangers} rows refer to rows that are not there"
    if found != "ok":
        raise StoreError(f"the database is damaged: {found}", hint="", error_type="corrupt")


def _rows(connection: apsw.Connection) -> tuple[int, tuple[str, ...], bool]:
    """How many rows there are, which of them have a wrong checksum, and whether all were read."""
    count, bad = 0, list[str]()
    try:
        for step in row_check.steps(connection):
            count += step.rows
            bad += [f"{step.table} {key}" for key in step.bad[: _BAD_ROWS_MAX - len(bad)]]
    except apsw.InterruptError:
        return count, tuple(bad), False
    return count, tuple(bad), True


def _compare(connection: apsw.Connection, marks: dict[SessionId, Mark]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Sessions that the database knows less of than was committed, and those that it does not know at all."""
    positions = statements.positions(connection)
    closed = {row[0] for row in connection.execute("SELECT id FROM sessions WHERE state = ?", (SessionState.CLOSED,))}
    behind = [s for s, mark in marks.items() if s in positions and (mark.epoch, mark.seq) > positions[s]]
    return tuple(s for s in behind if s not in closed), tuple(s for s in marks if s not in positions)


def _marks(sessions: Path) -> dict[SessionId, Mark]:
    try:
        folders = sorted(sessions.iterdir())[: limits.DOCTOR_SESSIONS_MAX]
    except OSError:
        return {}
    found = {SessionId(folder.name): read_mark(folder) for folder in folders}
    return {session: mark for session, mark in found.items() if mark is not None}


def _in_words(error: apsw.Error) -> str:
    ours = str(translate(error))
    return f"{ours} ({error})"


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _size(path: Path, ending: str) -> int:
    try:
        return _beside(path, ending).stat().st_size
    except OSError:
        return 0


def _signature(path: Path) -> list[tuple[int, int]]:
    found = []
    for ending in ("", "-wal"):
        with contextlib.suppress(OSError):
            state = _beside(path, ending).stat()
            found.append((state.st_mtime_ns, state.st_size))
    return found
