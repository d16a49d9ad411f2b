"""Keeps the database well while the daemon runs: backups, checks, the size of its log. `core.upkeep` says when.

Everything is done in threads with connections of its own, never with the writer's. What is found damaged begins the
repair; what fails is told, and tried again later.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import apsw

from betcode.adapters.intake import segments
from betcode.adapters.sqlite import checked, row_check
from betcode.adapters.sqlite.backup import backups_of, count_sealed, folder_of, make_backup, rev_of
from betcode.adapters.sqlite.connection import close_quietly, open_reader
from betcode.adapters.sqlite.errors import DAMAGE, StoreError, translate
from betcode.adapters.sqlite.tables import TABLES
from betcode.core.instant import Instant, iso
from betcode.core.upkeep import Backup, Done, backup_is_due, check_is_due, checkpoint_is_due
from betcode.engine.ports import Clock, Log
from betcode.model import limits, upkeep_limits

_OPS = 10_000
"""Instructions of SQLite between looks at whether a check is to be given up: some milliseconds."""
CHECKED = "checked"
"""In the data directory: its time says when the whole structure was last checked."""


@dataclass(slots=True)
class Upkeep:
    """Of one database. `run` goes on until it is cancelled."""

    database: Path
    clock: Clock
    log: Log
    usable: Callable[[], bool]
    """Whether the database is whole and open now."""
    suspect: Callable[[StoreError], None]
    """Told of damage."""
    done: Done = field(default_factory=Done)
    newest: Backup | None = None
    trouble: str = ""
    """Why no backup could be made, in words."""
    log_trouble: str = ""
    """That the write-ahead log stays too long, in words."""
    _scrub_at: tuple[int, tuple[Any, ...]] = (0, ())
    """Table and row that the next step of looking at checksums begins behind."""
    _changed: bool = False
    _suspicious: bool = False
    """A copy was damaged, so perhaps the database is: all of it is looked at now."""
    _tidied: Done = field(default_factory=Done)
    """Apart from `done`: another thread sets it."""
    _leaving: threading.Event = field(default_factory=threading.Event)

    async def run(self) -> None:
        """Check and back up what is due, again and again."""
        try:
            while True:
                await self.look_after()
                await asyncio.sleep(upkeep_limits.TICK_S)
        finally:
            self._leaving.set()  # a thread that works meanwhile ends soon, and the daemon need not wait for it

    async def run_log(self) -> None:
        """Look after the write-ahead log, whatever else takes long."""
        while True:
            if self.usable():
                await self._guarded("checkpoint", self._tidy)
            await asyncio.sleep(upkeep_limits.TICK_S)

    async def look_after(self) -> None:
        """Do what is due, but for the log."""
        self.newest = await asyncio.to_thread(self._newest)
        for name, work in (("check", self._check), ("scrub", self._scrub), ("backup", self._back_up)):
            if self.usable():
                await self._guarded(name, work)

    async def once(self) -> None:
        """All that is due."""
        if self.usable():
            await self._guarded("checkpoint", self._tidy)
        await self.look_after()

    async def _guarded(self, name: str, work: Callable[[Instant], None]) -> None:
        """One duty in a thread: damage begins a repair, any other failure is told."""
        try:
            await asyncio.to_thread(work, self.clock.now())
        except (apsw.Error, OSError, StoreError) as error:
            failed = error if isinstance(error, StoreError) else None
            if isinstance(error, apsw.Error):
                failed = translate(error)
            if self._leaving.is_set() or not self.usable():
                return  # it is being repaired, or the daemon stops
            damaged = failed is not None and failed.error_type in DAMAGE
            if failed is not None and damaged and name != "backup":
                self.suspect(failed)
            self._suspicious = self._suspicious or (damaged and name == "backup")
            self.log.warning("upkeep of the database failed", duty=name, detail=str(failed or error))
            if name == "backup":
                self.trouble = str(failed or error)
                self.done = replace(self.done, failed_s=self.clock.now().steady_s)

    def status(self) -> dict[str, Any]:
        """The newest backup, and warnings for people."""
        now, newest = self.clock.now(), self.newest
        warnings = [f"no backup can be made: {self.trouble}"] if self.trouble else []
        warnings += [self.log_trouble] if self.log_trouble else []
        if newest is None:
            return {"backup": None, "warnings": warnings}
        age_s = max(0.0, now.unix_s - newest.at_unix_s)
        if age_s > upkeep_limits.BACKUP_OLD_S and self._changed:
            warnings.append(f"the newest backup is {age_s / 3600:.0f} hours old")
        path = str(folder_of(self.database) / newest.name)
        body = {"path": path, "at": iso(newest.at_unix_s), "age_s": round(age_s), "size": newest.size}
        return {"backup": body, "warnings": warnings}

    def _newest(self) -> Backup | None:
        with contextlib.suppress(OSError):
            return next(reversed(backups_of(self.database)), None)
        return None

    # --- duties, each in a thread -----------------------------------------------------------------------------------

    def _tidy(self, now: Instant) -> None:
        """Bring the log into the file; cut one that is too long."""
        log_bytes = self._log_bytes()
        if not checkpoint_is_due(self._tidied, log_bytes, now):
            return
        long = log_bytes > upkeep_limits.LOG_BYTES_MAX
        connection = apsw.Connection(str(self.database), apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.set_busy_timeout(upkeep_limits.CUT_WAIT_MS)
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # before that there is no log for it
            with contextlib.suppress(apsw.BusyError):  # somebody reads an old state: at the next tick
                connection.wal_checkpoint(
                    mode=apsw.SQLITE_CHECKPOINT_TRUNCATE if long else apsw.SQLITE_CHECKPOINT_PASSIVE
                )
        finally:
            close_quietly(connection)
        self._tidied = Done(checkpoint_s=now.steady_s)
        left = self._log_bytes()
        if left <= upkeep_limits.LOG_BYTES_MAX:
            self.log_trouble = ""
            return
        if not self.log_trouble:
            self.log.error("the write-ahead log stays too long", error_type="wal", size=left)
        self.log_trouble = f"the write-ahead log stays at {left / 2**20:,.0f} MiB: something reads an old state"

    def _log_bytes(self) -> int:
        try:
            return self.database.with_name(self.database.name + "-wal").stat().st_size
        except OSError:
            return 0

    def _check(self, now: Instant) -> None:
        """The whole structure, once a week, and at the start where that was left out because the file is large."""
        mark = self.database.with_name(CHECKED)
        last = mark.stat().st_mtime if mark.exists() else None
        if self.database.stat().st_size > limits.QUICK_CHECK_BYTES_MAX:
            last = None  # it was left out at the start
        if not self._suspicious and not check_is_due(last, self.done, now):
            return
        try:
            with contextlib.closing(open_reader(self.database)) as connection:
                connection.set_progress_handler(self._give_up_check(), _OPS)
                found = connection.execute("PRAGMA integrity_check(1)").get
                strangers = connection.execute("SELECT count(*) FROM pragma_foreign_key_check").get
        except apsw.InterruptError:
            if not self._leaving.is_set():
                self.done = replace(self.done, check_given_up_s=now.steady_s)
                self.log.warning("the check of the database is put off: its write-ahead log grew too long meanwhile")
            return
        if found != "ok" or strangers:
            what = found if found != "ok" else f"{strangers} rows belong to no session"
            raise StoreError(f"the database is damaged: {what}", hint="It is repaired.", error_type="corrupt")
        mark.touch(mode=0o600)
        self.done = replace(self.done, check_s=now.steady_s, check_given_up_s=None)

    def _give_up_check(self) -> Callable[[], bool]:
        """Ends a check, which keeps the log from being cut, when the log has become too long or the daemon leaves."""
        looked = 0.0

        def given_up() -> bool:
            nonlocal looked
            now = time.monotonic()
            if now - looked < upkeep_limits.LOG_LOOK_S:
                return False
            looked = now
            return self._leaving.is_set() or self._log_bytes() > upkeep_limits.LOG_BYTES_MAX

        return given_up

    def _scrub(self, _now: Instant) -> None:
        """The checksums of the next rows, all tables round and round; of all rows when something is suspicious."""
        with contextlib.closing(open_reader(self.database)) as connection:
            if self._suspicious:
                count_sealed(connection, self._leaving.wait)
                self._suspicious = False
                self.log.warning("a copy of the database was damaged, the database is not; look at the disk")
            self._scrub_at = scrub(connection, self._scrub_at)

    def _back_up(self, now: Instant) -> None:
        if not backup_is_due(self.newest, self.done, now):
            return
        if self._unchanged():
            self.done = replace(self.done, backup_s=now.steady_s)
            self._changed, self.trouble = False, ""
            return
        self._changed = True
        made = make_backup(self.database, "auto", now.unix_s, stop=self._leaving.wait)
        self.done, self.trouble = replace(self.done, backup_s=now.steady_s, failed_s=None), ""
        self.newest = self._newest()
        self._changed = False
        self.log.info("the database is backed up", path=str(made.path), rows=made.rows, size=made.size)
        dropped = drop_segments(self.database.with_name("intake"), now.unix_s)
        if dropped:
            self.log.info("old segments of the intake log were dropped; a backup has what they held", segments=dropped)

    def _unchanged(self) -> bool:
        """Whether the newest backup holds all that the database holds. Raises apsw.Error for the database."""
        if self.newest is None:
            return False
        try:
            saved = rev_of(folder_of(self.database) / self.newest.name)
        except apsw.Error as error:  # removed or damaged meanwhile
            self.log.warning("the newest backup cannot be read; another is made", detail=str(error))
            return False
        return saved == self._rev()

    def _rev(self) -> int:
        connection = open_reader(self.database)
        try:
            return int(connection.execute("SELECT value FROM meta WHERE name = ?", (checked.REV,)).get or 0)
        finally:
            close_quietly(connection)


def scrub(connection: apsw.Connection, at: tuple[int, tuple[Any, ...]], rows: int = 0) -> tuple[int, tuple[Any, ...]]:
    """Look at the next rows from `at` on, and return where to go on: (table, row), (0, ()) for the beginning.

    Raises:
        StoreError: `corrupt`, with the row.
        apsw.Error: damage shows in this way too.
    """
    table, last = at
    left = rows or upkeep_limits.SCRUB_ROWS_A_TICK
    while left > 0:
        step = row_check.step_of(connection, TABLES[table], last, rows=row_check.STEP_ROWS)
        if step.bad:
            raise StoreError(
                f"the row {step.bad[0]} of {step.table} is damaged", hint="It is repaired.", error_type="corrupt"
            )
        left -= row_check.STEP_ROWS
        last = step.last
        if step.rows < row_check.STEP_ROWS:
            table, last = table + 1, ()
            if table == len(TABLES):
                return 0, ()
    return table, last


def drop_segments(directory: Path, backed_up_unix_s: float) -> list[int]:
    """Remove segments of the intake log that a backup made now has and that are old enough. Raises OSError."""
    dropped = []
    for number in segments(directory)[:-1]:
        path = directory / f"{number}.log"
        if backed_up_unix_s - path.stat().st_mtime < upkeep_limits.INTAKE_KEPT_S:
            break  # those that follow are younger
        path.unlink()
        dropped.append(number)
    return dropped
