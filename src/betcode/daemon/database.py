"""The daemon's database: opened, repaired at the start or while the daemon runs, and what is told of that."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random
from typing import Any

import msgspec

from betcode.adapters.clock import SystemClock
from betcode.adapters.desk import Desk
from betcode.adapters.disk_probe import probe
from betcode.adapters.environment import child_environment
from betcode.adapters.metrics import Metrics
from betcode.adapters.rescue.opening import open_whole
from betcode.adapters.rescue.places import Places
from betcode.adapters.rescue.rebuild import ALL
from betcode.adapters.rescue.repair import Task, Ways, read_report, repair
from betcode.adapters.sqlite.errors import StoreError
from betcode.adapters.sqlite.store import SqliteStore
from betcode.config.paths import Paths
from betcode.core.disk_health import DiskHealth
from betcode.daemon.mending import MendingStore, Tools
from betcode.daemon.upkeep import Upkeep
from betcode.engine.ports import Log
from betcode.model import limits, rescue_limits
from betcode.model.rescue import RescueReport


class StoppedError(BaseException):
    """The daemon stops: a repair that runs is given up, and the next start makes it anew. No defect, so no fallback."""


class Database:
    """One data directory's database, for one run of the daemon. Fulfils `mending.Listener`."""

    def __init__(self, paths: Paths, log: Log, metrics: Metrics, env_pass: Callable[[], tuple[str, ...]]) -> None:
        """`env_pass`: the variables that claude is given besides its own, which say where its transcripts are."""
        self._paths = paths
        self._log = log
        self._metrics = metrics
        self._env_pass = env_pass
        self._store: MendingStore | None = None
        self._phase = ""
        self._trouble = ""
        self._disk = DiskHealth()
        self._counting = threading.Lock()
        self._probed = ""
        """What the newest look at the disk found."""
        self._stopping = False
        self.upkeep = Upkeep(
            paths.database,
            SystemClock(),
            log,
            usable=lambda: self._store is not None and self._store.state == "ok",
            suspect=lambda error: self._store.suspect(error) if self._store is not None else None,
        )
        self._newest: RescueReport | None = read_report(paths.data)
        self.bring_in: Callable[[SqliteStore], Awaitable[object]] = _nothing
        """Gives a repaired database what the intake log holds and it lacks."""
        self.begin_again: Callable[[], Awaitable[None]] = _none
        """Has the sessions whose rows are others now begin again from them."""

    async def open(self, begins: Callable[[str], None]) -> tuple[MendingStore, SqliteStore]:
        """The store, and what it begins with. A damaged database is repaired first; `begins` is told the cause.

        Raises BetcodeError.
        """

        def start(cause: str) -> None:
            self._log.error("the database is repaired before the daemon serves", error_type="corrupt", detail=cause)
            begins(cause)

        store, report = await open_whole(self._places(None), self._open, lambda cause: self._repair(cause, None), start)
        if report is not None:
            self._tell(report)
        tools = Tools(self._open, self._repair, lambda: Desk(self._paths.intake), self, Random())
        self._store = MendingStore(store, self._paths.intake, tools)
        return self._store, store

    async def watch_disk(self) -> None:
        """Look at the disk whenever it fails too often, until cancelled."""
        told = False
        while True:
            now_s = time.monotonic()
            if self._disk.must_look(now_s):
                self._probed = await asyncio.to_thread(probe, self._paths.data)
                if not told:
                    self._log.error(
                        self._disk.warning(now_s), error_type="io", detail=self._probed or "a trial found it well"
                    )
                told = True
            else:
                told, self._probed = False, ""
            await asyncio.sleep(limits.HOME_CHECK_S)

    def stop(self) -> None:
        """The daemon ends."""
        self._stopping = True

    def repair(self, cause: str) -> str:
        """Have it repaired although nothing was found. Returns its state."""
        assert self._store is not None
        hint = "Nothing to do: it is being repaired."
        self._store.suspect(StoreError(cause, hint=hint, error_type="corrupt"))
        return self._store.state

    def status(self) -> dict[str, Any]:
        """The object `database` of the status reply."""
        state = self._store.state if self._store else "closed"
        body: dict[str, Any] = {"path": str(self._paths.database), "state": state}
        if state == "repairing":
            body["repair"] = self._trouble or self._phase or "it begins"
        if self._newest is not None:
            body["rescue"] = msgspec.to_builtins(self._newest)
        body |= self.upkeep.status()
        if warning := self._disk.warning(time.monotonic()):
            body["warnings"] = [*body["warnings"], f"{warning}; {self._probed}" if self._probed else warning]
        return body

    # --- mending.Listener -------------------------------------------------------------------------------------------

    def damaged(self, error: StoreError) -> None:
        """Log it."""
        self._trouble = self._phase = ""
        self._log.error(
            "the database is damaged and is repaired; messages are stored in the intake log meanwhile",
            error_type=error.error_type,
            detail=str(error),
        )

    def not_repaired(self, error: BaseException, again_s: float | None) -> None:
        """Log it, and show it."""
        self._trouble = str(error)
        self._log.error(
            "the database could not be repaired" + ("" if again_s is None else "; it is tried again"),
            error_type=getattr(error, "error_type", type(error).__name__),
            detail=str(error),
            after_s=again_s,
        )

    async def repaired(self, report: RescueReport, store: SqliteStore) -> None:
        """Tell it, and give the database what came meanwhile."""
        self._trouble = ""
        self._tell(report)
        await self.bring_in(store)

    async def goes_on(self) -> None:
        """Have those begin again that must."""
        await self.begin_again()

    # --- how --------------------------------------------------------------------------------------------------------

    def _places(self, desk: Desk | None) -> Places:
        places = Places(self._paths.database, self._paths.data)
        return places if desk is None else replace(places, intake_end=desk.first_segment, begun_ns=desk.begun_ns)

    async def _open(self) -> SqliteStore:
        return await SqliteStore.open(
            self._paths.database, rng=Random(), observe=self._observe, failed=self._store_failed
        )

    def _observe(self, operation: str, seconds: float) -> None:
        """In one of the store's threads."""
        self._metrics.stored(operation, seconds)
        with self._counting:
            self._disk.worked(time.monotonic())

    def _store_failed(self, error_type: str) -> None:
        """In one of the store's threads."""
        self._metrics.store_failed(error_type)
        with self._counting:
            self._disk.failed(error_type, time.monotonic())

    def _repair(self, cause: str, desk: Desk | None) -> RescueReport:
        """In a thread."""
        task = Task(
            self._places(desk),
            SystemClock().now(),
            Random(),
            lambda row: child_environment(os.environ, row.options, self._env_pass()),
            self._progress,
        )
        return repair(task, cause, Ways(ALL, self._way_failed))

    def _progress(self, phase: str, done: int, of: int) -> None:
        if self._stopping:
            raise StoppedError
        self._phase = f"{phase}: {100 * done // max(1, of)} %"

    def _way_failed(self, name: str, error: Exception) -> None:
        self._log.error("a way to repair the database failed; a simpler one is tried", way=name, detail=repr(error))

    def _tell(self, report: RescueReport) -> None:
        self._newest = report
        words = report.sentences[: rescue_limits.SENTENCES_LOGGED]
        self._log.warning(
            "the database was rescued",
            error_type="rescue",
            outcome=report.outcome,
            cause=report.cause,
            seconds=report.seconds,
            rows=report.rows,
            detail=" ".join(words),
            kept=report.kept,
        )


async def _nothing(_store: SqliteStore) -> None:
    """Before the sessions are there."""


async def _none() -> None:
    """Before the sessions are there."""
