"""The writer thread: takes whatever was handed in during the last commit as the next group.

A timed window would add its own length to every acknowledgement and win no throughput (measured).
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from betcode.adapters.sqlite.committer import Committer, Outcome
from betcode.adapters.sqlite.errors import StoreError
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.rows import Transaction

_Job = tuple[Transaction | None, "asyncio.Future[None]"]
"""Without a transaction it only asks whether the thread works."""


class Writer:
    """Runs a `Committer` in a thread for the tasks of one event loop, whose methods these are."""

    def __init__(self, committer: Committer) -> None:
        """Start the thread. Call in the event loop that will use it."""
        self._committer = committer
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Semaphore(limits.WRITE_QUEUE_MAX)
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()  # bounded by `_room`
        self._closing = False
        self._ended = asyncio.Event()
        self.alive = True
        self.queued = 0
        """Transactions handed in and without an outcome."""
        # A daemon thread: what it has not acknowledged when the process ends was not promised to anybody.
        self._thread = threading.Thread(target=self._run, name="betcode-store-writer", daemon=True)
        self._thread.start()

    async def write(self, transaction: Transaction) -> None:
        """Return when it is durable.

        If cancelled, it still waits for the outcome before it raises CancelledError: whoever reads next must not read
        the past. Raises StoreError and `message.key_conflict`.
        """
        await self._room.acquire()
        await self._hand_in(transaction)

    async def works(self) -> None:
        """Return when the thread has done what was handed in before. Raises StoreError if it is gone.

        It needs no room in the queue, so that a queue that is only full is not taken for a thread that hangs.
        """
        await self._hand_in(None)

    async def _hand_in(self, transaction: Transaction | None) -> None:
        if self._closing or not self.alive:
            self._leave(transaction)
            raise _closed()
        self.queued += transaction is not None
        outcome = self._loop.create_future()
        self._jobs.put((transaction, outcome))
        try:
            await asyncio.shield(outcome)
        except asyncio.CancelledError:
            if not outcome.done():
                await asyncio.wait([outcome])
            if not outcome.cancelled():
                outcome.exception()  # seen: nobody else will ask
            raise

    async def close(self) -> None:
        """Refuse what comes from now on, finish what was handed in, end the thread."""
        if not self._closing and self.alive:
            self._closing = True
            self._jobs.put(None)
        await self._ended.wait()

    def join(self) -> None:
        """Wait for the end of the thread, which `close` has begun. Blocks; for any thread."""
        self._thread.join()

    def _run(self) -> None:
        """The thread. Whatever ends it, nobody is left waiting for an acknowledgement."""
        group: list[_Job] = []
        last = False
        try:
            while not last:
                group, last = self._take()
                if group:
                    given = [transaction for transaction, _ in group if transaction is not None]
                    self._tell(group, self._committer.commit(given) if given else [])
                group = []
        finally:
            # With a group in hand only after a defect, which threading.excepthook prints.
            self._post(lambda: self._end(group))

    def _take(self) -> tuple[list[_Job], bool]:
        """Wait for a job and take what else is there; and whether these are the last ones."""
        group: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            group.append(job)
            if len(group) >= limits.BATCH_TRANSACTIONS_MAX:
                return group, False
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return group, False
        return group, True

    def _tell(self, group: list[_Job], outcomes: list[Outcome]) -> None:
        left = iter(outcomes)
        settled = [(job, None if job[0] is None else next(left)) for job in group]
        self._post(lambda: self._settle(settled))

    def _post(self, action: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(action)

    def _settle(self, settled: list[tuple[_Job, Outcome]]) -> None:
        for (transaction, future), outcome in settled:
            self.queued -= transaction is not None
            self._leave(transaction)
            if outcome is None:
                future.set_result(None)
            else:
                future.set_exception(outcome)

    def _end(self, group: list[_Job]) -> None:
        self.alive = False
        while not self._jobs.empty():
            job = self._jobs.get_nowait()
            if job is not None:
                group.append(job)
        self._settle([(job, _closed()) for job in group])
        self._ended.set()

    def _leave(self, transaction: Transaction | None) -> None:
        if transaction is not None:
            self._room.release()


def _closed() -> BetcodeError:
    return StoreError("the database is closed", hint="The daemon is stopping; try again.", error_type="closed")
