"""The store that outlives damage to its database: what fails with damage waits for the repair, or goes to the desk.

While the database is whole every call goes through to the `SqliteStore`. When one fails with damage, at any statement,
that store is closed, a repair begins in a thread, and what people are promised meanwhile is kept in the intake log
(`Desk`). Then the repaired database is opened, gets what the desk took, and everything goes on. Nobody who waits is
told of a failure that is none (SQ-3, SQ-4, SQ-11).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Protocol, TypeVar

from betcode.adapters.desk import Desk, UnknownHereError
from betcode.adapters.intake import Problem, total_bytes
from betcode.adapters.sqlite.errors import DAMAGE, RESCUE_HINT, StoreError, cannot_open
from betcode.adapters.sqlite.store import SqliteStore
from betcode.core.rescue.patience import Patience
from betcode.daemon.store_gate import StoreGate
from betcode.engine.tasks import Tasks
from betcode.model.ids import MessageId, PermissionId, SessionId
from betcode.model.rescue import RescueReport
from betcode.model.rows import Drift, EventRow, Message, Permission, Quarantined, SessionRow, Tombstone, Transaction
from betcode.model.usage import TurnRow

T = TypeVar("T")


class Listener(Protocol):
    """Told what becomes of the database, in the event loop."""

    def damaged(self, error: StoreError) -> None:
        """Damage was found; the repair begins."""
        ...

    def not_repaired(self, error: BaseException, again_s: float | None) -> None:
        """It could not be repaired; it is tried again in so many seconds, or not by itself."""
        ...

    async def repaired(self, report: RescueReport, store: SqliteStore) -> None:
        """The repaired database is open, and nothing else uses it yet: give it what the desk took."""
        ...

    async def goes_on(self) -> None:
        """It is in use again."""
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """How it is done."""

    open: Callable[[], Awaitable[SqliteStore]]
    """Opens the database. Raises StoreError."""
    repair: Callable[[str, Desk], RescueReport]
    """Repairs it, given the cause, without what the desk takes meanwhile. Blocks. Raises StoreError."""
    desk: Callable[[], Desk]
    """Blocks. Raises OSError."""
    listener: Listener
    rng: Random


class MendingStore:
    """Fulfils `engine.ports.Store`. Used by the tasks of one event loop."""

    def __init__(self, store: SqliteStore, intake: Path, tools: Tools) -> None:
        """`store`: open and whole; closed by `close`, like those that follow it. `intake`: folder of its log."""
        self._store = store
        self._intake = intake
        self._tools = tools
        self._desk: Desk | None = None
        self._whole = asyncio.Event()
        self._whole.set()
        self._ready = asyncio.Event()
        """The database is whole, or the desk is there: nobody who can be served need wait."""
        self._ready.set()
        self._patience = Patience()
        self._gate = StoreGate(time.monotonic, tools.rng)
        self._tasks = Tasks(self._repair_failed)
        self._given_up: StoreError | None = None
        self._closed = False
        self.progress = ""
        """How far the repair is, for people."""

    # --- what is told of it -----------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """As `SqliteStore.state`, or `repairing`."""
        if self._closed:
            return "closed"
        return self._store.state if self._whole.is_set() else "repairing"

    @property
    def queued(self) -> int:
        """As `SqliteStore.queued`."""
        return self._store.queued

    @property
    def intake_problems(self) -> tuple[Problem, ...]:
        """As `SqliteStore.intake_problems`."""
        return self._store.intake_problems

    @property
    def intake_bytes(self) -> int:
        """As `SqliteStore.intake_bytes`."""
        try:
            return total_bytes(self._intake)
        except OSError:
            return 0

    async def works(self) -> None:
        """Return when the writer thread answers; at once during a repair, which bounds itself."""
        if self._whole.is_set():
            await self._store.works()

    async def close(self) -> None:
        """Close the database; a repair that runs is given up, and the next start makes it anew."""
        self._closed = True
        await self._tasks.cancel()
        if self._desk is not None:
            await self._desk.close()
        self._set_whole()
        await self._store.close()

    def suspect(self, error: StoreError) -> None:
        """Damage was found beside the store's own statements, by a check: repair it."""
        if self._whole.is_set() and self._given_up is None:
            with contextlib.suppress(StoreError):  # too often: that is told
                self._begin(error)

    # --- the protocol -----------------------------------------------------------------------------------------------

    async def commit(self, transaction: Transaction) -> None:
        """Return when it is durable: in both places, or in the intake log alone while the database is repaired."""
        while True:
            desk = self._desk
            if desk is not None:
                try:
                    return await desk.take(transaction)
                except UnknownHereError:
                    await self._whole.wait()
                continue
            await self._ready.wait()
            if not self._whole.is_set():
                continue
            store = self._store
            try:
                return await self._write(store, transaction)
            except StoreError as error:
                self._begin_or_raise(store, error)

    async def _write(self, store: SqliteStore, transaction: Transaction) -> None:
        ticket = self._gate.enter()
        try:
            await store.commit(transaction)
        except StoreError as error:
            self._gate.failed(ticket, error)
            raise
        except BaseException:
            self._gate.dropped(ticket)  # whoever waited was ended: the next one may try
            raise
        self._gate.passed(ticket)

    async def _read(self, read: Callable[[SqliteStore], Awaitable[T]], answer: Callable[[Desk], T] | None = None) -> T:
        while True:
            await self._ready.wait()
            if not self._whole.is_set() and self._desk is not None and answer is not None:
                try:
                    return answer(self._desk)
                except UnknownHereError:
                    pass
            await self._whole.wait()
            store = self._store
            try:
                return await read(store)
            except StoreError as error:
                self._begin_or_raise(store, error)

    def _begin_or_raise(self, store: SqliteStore, error: StoreError) -> None:
        """Have the caller try again, after a repair; or raise what is no damage."""
        if self._closed:
            raise error
        if store is not self._store or not self._whole.is_set():
            return  # of the store before: the one that follows may do it
        if error.error_type not in DAMAGE or self._given_up is not None:
            raise error
        self._begin(error)

    async def sessions(self) -> list[SessionRow]:
        """All sessions, oldest first."""
        return await self._read(lambda s: s.sessions())

    async def session(self, session: SessionId) -> SessionRow | None:
        """One session."""
        return await self._read(lambda s: s.session(session), lambda d: d.session(session))

    async def open_messages(self, session: SessionId) -> list[Message]:
        """Messages without an outcome, in the order of their acceptance."""
        return await self._read(lambda s: s.open_messages(session), lambda d: d.open_messages(session))

    async def open_permissions(self, session: SessionId) -> list[Permission]:
        """Questions that are pending or settled and still being delivered, oldest first."""
        return await self._read(lambda s: s.open_permissions(session), lambda d: d.open_permissions(session))

    async def message(self, message: MessageId) -> Message | None:
        """One message of any session."""
        return await self._read(lambda s: s.message(message), lambda d: d.message(message))

    async def leftovers(self) -> list[SessionRow]:
        """Deleted sessions of which events or files may be left."""
        return await self._read(lambda s: s.leftovers())

    async def tombstone(self, key: str) -> Tombstone | None:
        """What is remembered of a deleted session."""
        return await self._read(lambda s: s.tombstone(key), lambda d: d.tombstone(key))

    async def permission(self, permission: PermissionId) -> Permission | None:
        """One question of any session."""
        return await self._read(lambda s: s.permission(permission), lambda d: d.permission(permission))

    async def events(self, session: SessionId, epoch: int, after: int, limit: int) -> list[EventRow]:
        """Events of one epoch with seq > after, in order, at most `limit`."""
        return await self._read(lambda s: s.events(session, epoch, after, limit))

    async def quarantine(self, session: SessionId, since: str) -> list[Quarantined]:
        """Lines of a session that could not be read."""
        return await self._read(lambda s: s.quarantine(session, since))

    async def quarantined(self, session: SessionId, run: int, offset: int) -> Quarantined | None:
        """One of them."""
        return await self._read(lambda s: s.quarantined(session, run, offset))

    async def drift(self) -> list[Drift]:
        """All that was new in the output of any claude."""
        return await self._read(lambda s: s.drift())

    async def turns(self, since: str, session: SessionId | None = None) -> list[TurnRow]:
        """What turns stored since this time have used."""
        return await self._read(lambda s: s.turns(since, session))

    # --- the repair -------------------------------------------------------------------------------------------------

    def _begin(self, error: StoreError) -> None:
        now_s = time.monotonic()
        if not self._patience.may_begin(now_s):
            self._given_up = error
            self._tools.listener.not_repaired(error, None)
            raise error
        self._patience = self._patience.began(now_s)
        self._whole.clear()
        self._ready.clear()
        self._tools.listener.damaged(error)
        self._tasks.start("repair of the database", self._repair(str(error)))

    async def _repair(self, cause: str) -> None:
        await self._store.close()
        while True:
            try:
                await self._once(cause)
            except Exception as error:  # noqa: BLE001 - the boundary of this task: people wait, so it is tried again
                self._patience = self._patience.ended(well=False)
                wait_s = self._patience.wait_s(self._tools.rng)
                self._tools.listener.not_repaired(error, wait_s)
                await asyncio.sleep(wait_s)
                continue
            self._patience = self._patience.ended(well=True)
            self._set_whole()
            await self._tools.listener.goes_on()
            return

    def _repair_failed(self, _name: str, error: BaseException) -> None:
        """A defect in the repair itself: nothing is repaired any more, and whoever waits learns it."""
        self._tools.listener.not_repaired(error, None)
        self._given_up = self._given_up or StoreError(str(error), hint=RESCUE_HINT, error_type="corrupt")
        self._set_whole()

    def _set_whole(self) -> None:
        self._whole.set()
        self._ready.set()

    async def _once(self, cause: str) -> None:
        """Repair, open, and bring in what the desk took; until then it goes on taking."""
        if self._desk is None:
            self._desk = await self._new_desk()
            self._ready.set()
        desk = self._desk
        report = await asyncio.to_thread(self._tools.repair, cause, desk)
        self._ready.clear()  # from here on whoever wants to store something waits
        self._desk = None
        await desk.close()
        store = await self._tools.open()
        try:
            await self._tools.listener.repaired(report, store)
        except BaseException:
            await store.close()
            raise
        self._store = store

    async def _new_desk(self) -> Desk:
        try:
            desk = await asyncio.to_thread(self._tools.desk)
            await desk.learn()
        except OSError as error:
            raise cannot_open(error) from error
        return desk
