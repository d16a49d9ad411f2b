"""The store: one file, one writer thread, a few readers, and the intake log beside it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

import apsw

from betcode.adapters.clock import SystemClock
from betcode.adapters.intake import DiskFiles, IntakeLog, Problem, total_bytes
from betcode.adapters.sqlite import checked, deletion, odd_lines, statements, usage
from betcode.adapters.sqlite.backup import make_backup
from betcode.adapters.sqlite.committer import Committer
from betcode.adapters.sqlite.connection import (
    Connect,
    close_quietly,
    foreign_key_check,
    open_reader,
    open_writer,
    plain_connect,
    quick_check,
)
from betcode.adapters.sqlite.errors import StoreError, cannot_open, translate
from betcode.adapters.sqlite.health import Failed, Health, Observe, observe_nothing, report_nothing
from betcode.adapters.sqlite.readers import Readers
from betcode.adapters.sqlite.schema import MIGRATIONS, migrate
from betcode.adapters.sqlite.text import text_is_text
from betcode.adapters.sqlite.writer import Writer
from betcode.adapters.unstored import find_unstored
from betcode.core.backoff import delay_s
from betcode.model import limits
from betcode.model.ids import MessageId, PermissionId, SessionId
from betcode.model.rows import Drift, EventRow, Message, Permission, Quarantined, SessionRow, Tombstone, Transaction
from betcode.model.usage import TurnRow


class SqliteStore:
    """Fulfils `engine.ports.Store`. Made by `open`; used by the tasks of one event loop."""

    def __init__(self, parts: _Parts, *, observe: Observe) -> None:
        """Use `open`."""
        self._parts = parts
        self._observe = observe
        self._health = parts.health
        self._readers = Readers(parts.readers, health=parts.health, observe=observe)
        self._hurry = threading.Event()
        committer = Committer(
            parts.connection,
            parts.log,
            health=parts.health,
            pause=self._hurry.wait,
            rng=parts.rng,
            observe=observe,
        )
        self._writer = Writer(committer)
        self._closed = False

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        rng: Random,
        observe: Observe = observe_nothing,
        failed: Failed = report_nothing,
        connect: Connect = plain_connect,
        files: DiskFiles | None = None,
    ) -> SqliteStore:
        """Open or create the database at `path` and the intake log in the folder `intake` next to it.

        Args:
            path: the database; its directory exists and belongs to this process alone.
            rng: jitter of retries.
            observe: told how long each operation took, in the store's threads: `commit` (a whole group), and the
                reading functions by name.
            failed: told the `error_type` of each failure, in the store's threads.
            connect: opens connections; for tests.
            files: the file operations of the intake log; for tests.

        Raises:
            BetcodeError: `store.newer`.
            StoreError: it cannot be opened, or it is damaged.
        """
        parts = await asyncio.to_thread(_open_patiently, path, Health(failed), rng, connect, files)
        return cls(parts, observe=observe)

    @property
    def state(self) -> str:
        """`ok`; `degraded` (commits fail now); `damaged` (until it is opened again); `stopped` (a defect); `closed`."""
        if self._closed:
            return "closed"
        return self._health.state if self._writer.alive else "stopped"

    @property
    def queued(self) -> int:
        """Transactions handed in and without an outcome, at most `limits.WRITE_QUEUE_MAX`; more wait to be let in."""
        return self._writer.queued

    @property
    def intake_problems(self) -> tuple[Problem, ...]:
        """What opening and reading the intake log found damaged."""
        return self._parts.problems

    @property
    def intake_bytes(self) -> int:
        """The size of the intake log; 0 when it cannot be told."""
        try:
            return total_bytes(self._parts.intake)
        except OSError:
            return 0

    @property
    def opening_s(self) -> tuple[float, float]:
        """Seconds that opening took: checking and opening the database; comparing it with the intake log."""
        return self._parts.opening_s

    @property
    def positions(self) -> Mapping[SessionId, tuple[int, int]]:
        """(epoch, seq) of each session's newest event at the opening; deleted ones are beyond everything."""
        return self._parts.positions

    @property
    def unstored(self) -> tuple[Transaction, ...]:
        """What the intake log held at the opening and the database lacked, in order: for `engine.restore`."""
        return self._parts.unstored

    async def close(self) -> None:
        """Finish what was handed in, bring the log into the database file, close. Later calls are refused."""
        if self._closed:
            return
        self._closed = True
        self._hurry.set()
        await self._writer.close()
        await asyncio.to_thread(self._shut)

    def _shut(self) -> None:
        self._writer.join()
        self._readers.close()
        self._parts.log.close()
        connection = self._parts.connection
        try:
            try:
                if self._health.state == "damaged":  # what the log holds must not go into a file that is to be rescued
                    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
                else:
                    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            finally:
                connection.close()
        except apsw.Error as error:  # everything is in the write-ahead log, which the next start reads
            self._health.saw(translate(error))

    # --- the protocol -------------------------------------------------------------------------------------------

    async def commit(self, transaction: Transaction) -> None:
        """Return when it is durable; see `Writer.write`."""
        await self._writer.write(transaction)

    async def works(self) -> None:
        """Return when the writer thread answers; see `Writer.works`."""
        await self._writer.works()

    async def sessions(self) -> list[SessionRow]:
        """All sessions, oldest first."""
        return await self._readers.run("sessions", statements.sessions)

    async def session(self, session: SessionId) -> SessionRow | None:
        """One session."""
        return await self._readers.run("session", lambda c: statements.session(c, session))

    async def open_messages(self, session: SessionId) -> list[Message]:
        """Messages without an outcome, in the order of their acceptance."""
        return await self._readers.run("open_messages", lambda c: statements.open_messages(c, session))

    async def open_permissions(self, session: SessionId) -> list[Permission]:
        """Questions that are pending or settled and still being delivered, oldest first."""
        return await self._readers.run("open_permissions", lambda c: statements.open_permissions(c, session))

    async def message(self, message: MessageId) -> Message | None:
        """One message of any session; of one that was deleted without its text."""
        return await self._readers.run("message", lambda c: statements.message(c, message))

    async def leftovers(self) -> list[SessionRow]:
        """Deleted sessions of which events or files may be left."""
        return await self._readers.run("leftovers", statements.leftovers)

    async def tombstone(self, key: str) -> Tombstone | None:
        """What is remembered of a deleted session under its id, or under the key that it was created with."""
        return await self._readers.run("tombstone", lambda c: deletion.tombstone(c, key))

    async def permission(self, permission: PermissionId) -> Permission | None:
        """One question of any session."""
        return await self._readers.run("permission", lambda c: statements.permission(c, permission))

    async def events(self, session: SessionId, epoch: int, after: int, limit: int) -> list[EventRow]:
        """Events of one epoch with seq > after, in order, at most `limit`."""
        return await self._readers.run(
            "events", lambda c: statements.events(c, session, epoch=epoch, after=after, limit=limit)
        )

    async def quarantine(self, session: SessionId, since: str) -> list[Quarantined]:
        """Lines of a session that could not be read, kept since this time, in the order in which they were printed."""
        return await self._readers.run("quarantine", lambda c: odd_lines.quarantine(c, session, since))

    async def quarantined(self, session: SessionId, run: int, offset: int) -> Quarantined | None:
        """One of them."""
        return await self._readers.run("quarantined", lambda c: odd_lines.quarantined(c, session, run, offset))

    async def drift(self) -> list[Drift]:
        """All that was new in the output of any claude, by its version."""
        return await self._readers.run("drift", odd_lines.drift)

    async def turns(self, since: str, session: SessionId | None = None) -> list[TurnRow]:
        """What turns stored since this time have used; see `adapters.sqlite.usage.turns`."""
        return await self._readers.run("turns", lambda c: usage.turns(c, since, session))


@dataclass(frozen=True, slots=True)
class _Parts:
    """What is open; `SqliteStore` closes it."""

    connection: apsw.Connection
    readers: list[apsw.Connection]
    log: IntakeLog
    intake: Path
    health: Health
    rng: Random
    unstored: tuple[Transaction, ...]
    positions: Mapping[SessionId, tuple[int, int]]
    problems: tuple[Problem, ...]
    opening_s: tuple[float, float]


def _open_patiently(path: Path, health: Health, rng: Random, connect: Connect, files: DiskFiles | None) -> _Parts:
    """As `_open`, again and again for a while when another process holds the file (SQ-1)."""
    begun = time.monotonic()
    for attempt in itertools.count(1):
        try:
            return _open(path, health, rng, connect, files)
        except StoreError as error:
            over = attempt >= limits.BUSY_TRIES or time.monotonic() - begun >= limits.BUSY_WAIT_S
            if error.error_type != "busy" or over:
                raise
        time.sleep(delay_s(attempt, first_s=limits.BUSY_PAUSE_FIRST_S, max_s=limits.BUSY_PAUSE_MAX_S, rng=rng))
    raise AssertionError("it counts for ever")


def _open(path: Path, health: Health, rng: Random, connect: Connect, files: DiskFiles | None) -> _Parts:
    """Open everything or nothing. Raises as `SqliteStore.open` does."""
    begun = time.monotonic()
    with contextlib.ExitStack() as undo:
        try:
            connection = open_writer(path, connect)
            undo.callback(close_quietly, connection)
            if path.stat().st_size <= limits.QUICK_CHECK_BYTES_MAX:
                quick_check(connection)
                foreign_key_check(connection)
            _save_before_migration(path, connection)
            migrate(connection)
            readers = []
            for _ in range(limits.READERS):
                reader = open_reader(path, connect)
                undo.callback(close_quietly, reader)
                readers.append(reader)
            opened = time.monotonic()
            intake = path.parent / "intake"
            log = IntakeLog(intake, files=files)
            undo.callback(log.close)
            problems = [problem for problem in log.problems if problem.torn_end]  # cut off by now
            with text_is_text():
                positions = statements.positions(connection)
            unstored, rev = find_unstored(intake, positions, problems, files)
            checked.raise_rev(connection, rev)
        except (apsw.Error, OSError) as error:
            failed = cannot_open(error) if isinstance(error, OSError) else translate(error)
            health.saw(failed)
            raise failed from error
        except StoreError as error:
            health.saw(error)
            raise
        undo.pop_all()
    took = (opened - begun, time.monotonic() - opened)
    return _Parts(connection, readers, log, intake, health, rng, tuple(unstored), positions, tuple(problems), took)


def _save_before_migration(path: Path, connection: apsw.Connection) -> None:
    """A verified backup of a database that is about to get another schema (SQ-7). Raises StoreError."""
    version = int(connection.execute("PRAGMA user_version").get)
    if not 0 < version < MIGRATIONS[-1].version:
        return
    try:
        make_backup(path, "migration", SystemClock().now().unix_s)
    except (apsw.Error, OSError, StoreError) as error:
        raise StoreError(
            f"the database must be brought to a newer schema, and cannot be backed up before that: {error}",
            hint="Make room on its disk, or copy the data directory away and move its folder `backups` aside.",
            error_type="full",
        ) from error
