"""The database: production SQL on a database in memory, which outlives daemons, and each daemon's failing way to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import TypeVar

import apsw

from betcode.adapters.sqlite import deletion, odd_lines, schema, statements, usage
from betcode.adapters.sqlite.errors import StoreError, translate
from betcode.model.errors import BetcodeError
from betcode.model.ids import MessageId, PermissionId, SessionId
from betcode.model.rows import Drift, EventRow, Message, Permission, Quarantined, SessionRow, Tombstone, Transaction
from betcode.model.usage import TurnRow
from betcode.testing.simulator.incarnation import Incarnation
from betcode.testing.simulator.ledger import Ledger
from betcode.testing.simulator.pace import Pace
from betcode.testing.simulator.stage import Stage

T = TypeVar("T")
_template: list[bytes] = []
"""The empty database, made once a process: the schema takes longer than many a run."""


def empty_database() -> apsw.Connection:
    """A new database in memory with the production schema."""
    connection = apsw.Connection(":memory:")
    if _template:
        connection.deserialize("main", _template[0])
    else:
        schema.migrate(connection)
        _template.append(connection.serialize("main"))
    connection.pragma("foreign_keys", 1)
    return connection


class ModelDisk:
    """The database itself. It is never damaged here; that is for the recovery tests."""

    def __init__(self, stage: Stage, ledger: Ledger) -> None:
        """Empty."""
        self.connection = empty_database()
        self.full_until_s = 0.0
        self._stage = stage
        self._ledger = ledger

    def apply(self, transaction: Transaction) -> None:
        """Write one transaction or nothing of it. Raises as the production committer does."""
        try:
            with self.connection:
                statements.apply(self.connection, transaction)
        except apsw.Error as error:
            raise translate(error) from error
        self._ledger.took_effect(transaction)
        events = "".join(f" {event.kind}" for event in transaction.events)
        rows = "".join(f" {m.id[-6:]}={m.state}" for m in transaction.messages)
        rows += "".join(f" {p.id[-6:]}={p.state}/{p.delivery}" for p in transaction.permissions)
        self._stage.note(f"stored {transaction.session.id} {transaction.session.seq}:{events}{rows}")


class ModelStore:
    """One daemon's access (`engine.ports.Store`)."""

    def __init__(self, disk: ModelDisk, incarnation: Incarnation, stage: Stage, pace: Pace, rng: Random) -> None:
        """For the daemon `incarnation`."""
        self._disk = disk
        self._incarnation = incarnation
        self._stage = stage
        self._pace = pace
        self._rng = rng
        self._queue: list[tuple[Transaction, asyncio.Future[None]]] = []

    def _failure(self, error_type: str = "io") -> StoreError:
        self._stage.note(f"the store fails: {error_type}")
        return StoreError("the disk failed", hint="Nothing to do: this is a simulation.", error_type=error_type)

    async def commit(self, transaction: Transaction) -> None:
        """Queue for the writer, which joins what came meanwhile."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((transaction, done))
        if len(self._queue) == 1:
            self._stage.later(self._latency_s(), self._write)
        try:
            await asyncio.shield(done)
        except asyncio.CancelledError:
            if self._incarnation.alive:  # as the production writer: whoever reads next must not read the past
                await asyncio.wait([done])
            raise
        finally:
            if done.done() and not done.cancelled():
                done.exception()  # seen
        self._pace.committed(transaction.session.id)

    def _latency_s(self) -> float:
        if self._stage.plan.slow_store and not self._stage.plan.calm and self._rng.random() < 0.2:
            return self._rng.uniform(0.1, 20.0)
        return self._rng.uniform(0.0002, 0.004)

    def _write(self) -> None:
        """The writer thread commits the group."""
        if not self._incarnation.alive:
            return
        group, self._queue = self._queue, []
        plan, now_s = self._stage.plan, self._stage.now_s
        if plan.chance(self._rng, "store", 0.02):
            self._disk.full_until_s = now_s + self._rng.choice((0.3, 5.0, 600.0))
        full = now_s < self._disk.full_until_s and not plan.calm
        before = plan.chance(self._rng, "store", 0.15)
        after = plan.chance(self._rng, "store", 0.15)
        for transaction, done in group:
            error = self._failure("full" if full else "io") if full or before else self._apply(transaction)
            if error is None and after:
                error = self._failure("io")
            self._stage.later(self._rng.uniform(0.0, 0.001), self._tell, done, error)

    def _apply(self, transaction: Transaction) -> BetcodeError | None:
        try:
            self._disk.apply(transaction)
        except BetcodeError as error:
            if isinstance(error, StoreError):
                self._stage.note(f"the store refuses: {error}")
            return error
        return None

    def _tell(self, done: asyncio.Future[None], error: BetcodeError | None) -> None:
        if done.done() or not self._incarnation.alive:
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def killed(self) -> None:
        """The daemon was killed while the writer was at work: the group is committed, or it is not."""
        if self._queue and self._rng.random() < 0.5:
            for transaction, _ in self._queue:
                self._apply(transaction)
        self._queue.clear()

    async def _read(self, query: Callable[[apsw.Connection], T]) -> T:
        if not self._incarnation.alive:
            raise asyncio.CancelledError
        await asyncio.sleep(self._rng.uniform(0.0, 0.002))
        if self._stage.plan.chance(self._rng, "store", 0.04):
            raise self._failure()
        return query(self._disk.connection)

    async def sessions(self) -> list[SessionRow]:
        """All sessions."""
        return await self._read(statements.sessions)

    async def session(self, session: SessionId) -> SessionRow | None:
        """One session. Its own loop asks when it begins or begins again."""
        task = asyncio.current_task()
        if task is not None and task.get_name() == f"session {session}":
            self._pace.loaded(session)
        return await self._read(lambda c: statements.session(c, session))

    async def open_messages(self, session: SessionId) -> list[Message]:
        """Messages without an outcome."""
        return await self._read(lambda c: statements.open_messages(c, session))

    async def open_permissions(self, session: SessionId) -> list[Permission]:
        """Questions that are open."""
        return await self._read(lambda c: statements.open_permissions(c, session))

    async def message(self, message: MessageId) -> Message | None:
        """One message."""
        return await self._read(lambda c: statements.message(c, message))

    async def leftovers(self) -> list[SessionRow]:
        """Deleted sessions of which something may be left."""
        return await self._read(statements.leftovers)

    async def tombstone(self, key: str) -> Tombstone | None:
        """What is remembered of a deleted session."""
        return await self._read(lambda c: deletion.tombstone(c, key))

    async def permission(self, permission: PermissionId) -> Permission | None:
        """One question."""
        return await self._read(lambda c: statements.permission(c, permission))

    async def events(self, session: SessionId, epoch: int, after: int, limit: int) -> list[EventRow]:
        """Events of one epoch."""
        return await self._read(lambda c: statements.events(c, session, epoch=epoch, after=after, limit=limit))

    async def quarantine(self, session: SessionId, since: str) -> list[Quarantined]:
        """Lines of a session that could not be read, kept since this time, in the order in which they were printed."""
        return await self._read(lambda c: odd_lines.quarantine(c, session, since))

    async def quarantined(self, session: SessionId, run: int, offset: int) -> Quarantined | None:
        """One of them."""
        return await self._read(lambda c: odd_lines.quarantined(c, session, run, offset))

    async def drift(self) -> list[Drift]:
        """All that was new in the output of any claude, by its version."""
        return await self._read(odd_lines.drift)

    async def turns(self, since: str, session: SessionId | None = None) -> list[TurnRow]:
        """What turns stored since this time have used. Never slow and never failing: so it draws no random number."""
        if not self._incarnation.alive:
            raise asyncio.CancelledError
        return usage.turns(self._disk.connection, since, session)
