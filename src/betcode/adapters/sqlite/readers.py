"""Reading beside the writer: a few read-only connections, each used by one thread at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from time import perf_counter
from typing import TypeVar

import apsw

from betcode.adapters.sqlite.errors import RESCUE_HINT, StoreError, defect, translate
from betcode.adapters.sqlite.health import Health, Observe

T = TypeVar("T")


class Readers:
    """Runs the reading functions of `statements`. Each caller waits for its own read, so callers are the queue."""

    def __init__(self, connections: list[apsw.Connection], *, health: Health, observe: Observe) -> None:
        """Take over the connections; `close` closes them."""
        self._free: SimpleQueue[apsw.Connection] = SimpleQueue()
        for connection in connections:
            self._free.put(connection)
        self._count = len(connections)
        self._threads = ThreadPoolExecutor(self._count, thread_name_prefix="betcode-store-reader")
        self._health = health
        self._observe = observe
        self._closed = False

    async def run(self, operation: str, read: Callable[[apsw.Connection], T]) -> T:
        """What `read` returns, from a connection that sees all that was acknowledged before.

        Raises StoreError. If cancelled, the read goes on in its thread and its result is dropped.
        """
        if self._closed:
            raise StoreError("the database is closed", hint="The daemon is stopping; try again.", error_type="closed")
        return await asyncio.wrap_future(self._threads.submit(self._read, operation, read))

    def close(self) -> None:
        """Wait for the reads under way, and close the connections. Blocks."""
        self._closed = True
        self._threads.shutdown()
        for _ in range(self._count):
            self._free.get().close()
        self._count = 0

    def _read(self, operation: str, read: Callable[[apsw.Connection], T]) -> T:
        connection = self._free.get()
        begun = perf_counter()
        try:
            return read(connection)
        except apsw.Error as error:
            failed = translate(error)
            self._health.saw(failed)
            raise failed from error
        except StoreError as error:
            self._health.saw(error)
            raise
        except (OverflowError, UnicodeEncodeError) as error:
            raise defect(f"there can be no row for such an argument: {error}") from error
        except ValueError as error:  # JSON or a state that we never wrote
            failed = StoreError(f"a row is damaged: {error}", hint=RESCUE_HINT, error_type="corrupt")
            self._health.saw(failed)
            raise failed from error
        finally:
            self._free.put(connection)
            self._observe(operation, perf_counter() - begun)
