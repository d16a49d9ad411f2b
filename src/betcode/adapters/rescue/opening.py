"""Opens the database at the start of a daemon, and repairs it first when it is damaged or has lost something."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Container
from pathlib import Path

from betcode.adapters.marks import read_mark
from betcode.adapters.rescue.going_back import forget_note, take_note
from betcode.adapters.rescue.places import Places
from betcode.adapters.rescue.put_back import SUFFIXES, finish
from betcode.adapters.rescue.repair import REPORT
from betcode.adapters.sqlite.errors import DAMAGE, StoreError, cannot_open
from betcode.adapters.sqlite.store import SqliteStore
from betcode.core.rescue.suspicion import lost_end
from betcode.core.rescue.telling import PUT_THERE
from betcode.model.ids import SessionId
from betcode.model.rescue import RescueReport
from betcode.model.rows import Mark

Open = Callable[[], Awaitable[SqliteStore]]
Repair = Callable[[str], RescueReport]
"""Repairs, given the cause. Blocks. Raises StoreError."""


async def open_whole(
    places: Places, open_store: Open, repair: Repair, begins: Callable[[str], None] = lambda cause: None
) -> tuple[SqliteStore, RescueReport | None]:
    """The open store, and the report of the repair if there had to be one; `begins` is told the cause before it.

    Raises:
        BetcodeError: `store.newer`.
        StoreError: it cannot be opened, and not be repaired either.
    """
    try:
        await asyncio.to_thread(finish, places.database)
    except OSError as error:
        raise cannot_open(error) from error
    cause = await asyncio.to_thread(missing, places)
    if not cause:
        try:
            store = await open_store()
        except StoreError as error:
            if error.error_type not in DAMAGE or _foreign(error):
                raise
            cause = str(error)
        else:
            cause = await asyncio.to_thread(_lost_end, places, store)
            if not cause:
                forget_note(places.data)
                return store, None
            await store.close()
    if wanted := take_note(places.data):
        cause = f"{PUT_THERE} ({wanted}): {cause}"
    begins(cause)
    report = await asyncio.to_thread(repair, cause)
    forget_note(places.data)
    return await open_store(), report


def _foreign(error: StoreError) -> bool:
    """Whether it is another program's database: that is not ours to repair."""
    return "belongs to another program" in str(error)


def missing(places: Places) -> str:
    """What is wrong, in words, when there is no database and other files tell that there was one. Blocks."""
    for suffix in SUFFIXES[:2]:
        with contextlib.suppress(OSError):
            if places.database.with_name(places.database.name + suffix).stat().st_size:
                return ""
    left = [
        name
        for name, pattern in (("intake", "*.log"), ("backups", "*.db"), ("sessions", "*/mark"))
        if any(_size(path) for path in (places.data / name).glob(pattern))
    ]
    return f"the database is missing or empty; the folders {', '.join(left)} are not" if left else ""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _lost_end(places: Places, store: SqliteStore) -> str:
    return lost_end(store.positions, marks_of(places, store.positions), store.unstored)


def marks_of(places: Places, known: Container[SessionId]) -> dict[SessionId, Mark]:
    """The marks of all sessions that have a folder. Blocks.

    Those of sessions that are not `known` and that the newest rescue has seen are left out: it could not use them.
    """
    try:
        seen_ns = (places.data / REPORT).stat().st_mtime_ns
    except OSError:
        seen_ns = 0
    found: dict[SessionId, Mark] = {}
    for path in places.sessions.glob("*/mark"):
        with contextlib.suppress(OSError):
            session = SessionId(path.parent.name)
            seen = session not in known and path.stat().st_mtime_ns <= seen_ns
            if not seen and (mark := read_mark(path.parent)) is not None:
                found[session] = mark
    return found
