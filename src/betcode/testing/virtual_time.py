"""An event loop whose clock jumps: when every task waits, time moves to the next timer, so that days take milliseconds.

One thread and no file descriptors: what runs on it must be made of coroutines alone. With a `random.Random` the order
in which tasks that are ready at the same moment run is drawn from it; that order never depends on memory addresses,
even where the code under test keeps tasks or events in sets, so a seed replays a run exactly.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context
from random import Random
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Args = TypeVarTuple("Args")
Connect = Callable[[Callable[[], Any], str], Awaitable[tuple[asyncio.Transport, Any]]]
ROUNDS_AT_ONE_TIME_MAX = 100_000
"""Rounds of callbacks without the clock moving: more of them mean that two tasks wake each other for ever."""


class Stuck(AssertionError):
    """Every task waits and no timer is set, or the clock has stopped moving."""


class VirtualTimeLoop(asyncio.AbstractEventLoop):
    """Use it with `asyncio.Runner(loop_factory=VirtualTimeLoop)`, or `run_until_complete`."""

    def __init__(self, order: Random | None = None) -> None:
        """`order` draws the order of tasks; without it they run first come, first served."""
        self.now_s = 0.0
        self.steps = 0
        """Callbacks run so far."""
        self.on_step: Callable[[], None] | None = None
        """Called after each callback."""
        self.on_task: Callable[[asyncio.Task[Any]], None] | None = None
        """Called with each new task."""
        self.on_error: Callable[[dict[str, Any]], None] | None = None
        """Called with what asyncio would log, such as an exception nobody took."""
        self.unix_connect: Connect | None = None
        """What `asyncio.open_unix_connection` reaches: (protocol factory, path) to (transport, protocol)."""
        self._order = order
        self._ready: list[asyncio.Handle] = []
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = itertools.count(1)
        self._rounds = 0
        self._running = False
        self._stopping = False
        self._closed = False
        self._debug = False

    # --- time and callbacks -------------------------------------------------------------------------------------

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self.now_s

    def call_soon(
        self, callback: Callable[[Unpack[Args]], object], *args: *Args, context: Context | None = None
    ) -> asyncio.Handle:
        """Run in the next round."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Args]], object],
        *args: *Args,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run `delay` virtual seconds from now."""
        return self.call_at(self.now_s + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Args]], object],
        *args: *Args,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run at virtual time `when`; those of the same time run in the order of their making."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer stays in the heap until its time and is dropped there."""

    # --- tasks and futures --------------------------------------------------------------------------------------

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
        **_: Any,
    ) -> asyncio.Task[T]:
        """A task, which begins in the next round."""
        task: asyncio.Task[T] = asyncio.Task(coro, loop=self, name=name, context=context)
        task.sequence_number = next(self._numbers)  # type: ignore[attr-defined]
        if self.on_task is not None:
            self.on_task(task)
        return task

    def run_in_executor(self, executor: object, func: Callable[[Unpack[Args]], T], *args: *Args) -> asyncio.Future[T]:
        """Call `func` now: there is one thread only."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - handed to whoever awaits the future
            future.set_exception(error)
        return future

    async def create_unix_connection(self, protocol_factory: Callable[[], Any], path: Any = None, **_: Any) -> Any:
        """Connect in memory. Raises OSError, as `unix_connect` says."""
        if self.unix_connect is None:
            raise ConnectionRefusedError("nothing listens in virtual time")
        return await self.unix_connect(protocol_factory, str(path))

    # --- running ------------------------------------------------------------------------------------------------

    def run_forever(self) -> None:
        """Run until `stop`."""
        self._running = True
        asyncio._set_running_loop(self)
        try:
            while not self._stopping:
                self._round()
        finally:
            self._running = self._stopping = False
            asyncio._set_running_loop(None)

    def run_until_complete(self, future: Any) -> Any:
        """Run until this future or coroutine is done and return its result. Raises Stuck when it never will be."""
        task = future if isinstance(future, asyncio.Future) else self.create_task(future)
        task.add_done_callback(self._stop_with)
        try:
            while not task.done():  # an earlier call that an error ended may have left its stop behind
                self.run_forever()
        finally:
            task.remove_done_callback(self._stop_with)
        return task.result()

    def _stop_with(self, _task: asyncio.Future[Any]) -> None:
        self.stop()

    def stop(self) -> None:
        """Leave `run_forever` after this round."""
        self._stopping = True

    def _round(self) -> None:
        ready, self._ready = self._ready, []
        self._rounds += 1
        if not ready:
            ready = self._due()
        elif self._rounds > ROUNDS_AT_ONE_TIME_MAX:
            raise Stuck(f"the clock stands still at {self.now_s} s after {self._rounds} rounds")
        if len(ready) > 1 and self._order is not None:
            ready = self._ordered(ready, self._order)
        for place, handle in enumerate(ready):
            if not handle.cancelled():
                self.steps += 1
                handle._run()
                if self.on_step is not None:
                    try:
                        self.on_step()
                    except BaseException:
                        self._ready = ready[place + 1 :] + self._ready  # the loop can be run again, to clean up
                        raise

    def _due(self) -> list[asyncio.Handle]:
        """The timers that come next, at whose time the clock is set."""
        timers = self._timers
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
        if not timers:
            raise Stuck("every task waits and no timer is set")
        self._rounds = 0
        self.now_s = max(self.now_s, timers[0][0])
        due: list[asyncio.Handle] = []
        while timers and timers[0][0] <= self.now_s:
            due.append(heapq.heappop(timers)[2])
        return due

    @staticmethod
    def _ordered(ready: list[asyncio.Handle], order: Random) -> list[asyncio.Handle]:
        """Plain callbacks first, as they came; then tasks in the order of their making, now and then shuffled."""
        plain: list[asyncio.Handle] = []
        tasks: list[tuple[int, int, asyncio.Handle]] = []
        for place, handle in enumerate(ready):
            owner = getattr(getattr(handle, "_callback", None), "__self__", None)
            number = getattr(owner, "sequence_number", None)
            if number is None:
                plain.append(handle)
            else:
                tasks.append((number, place, handle))
        if len(tasks) > 1:
            tasks.sort(key=lambda task: task[:2])
            if order.random() < 0.5:
                order.shuffle(tasks)
        return plain + [handle for _, _, handle in tasks]

    # --- what asyncio asks of a loop ----------------------------------------------------------------------------

    def is_running(self) -> bool:
        """Whether it runs now."""
        return self._running

    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def close(self) -> None:
        """Drop everything that waits."""
        self._closed = True
        self._ready.clear()
        self._timers.clear()

    async def shutdown_asyncgens(self) -> None:
        """Nothing to do."""

    async def shutdown_default_executor(self, _timeout: float | None = None) -> None:
        """Nothing to do: there are no threads."""

    def get_debug(self) -> bool:
        """Asyncio's debug mode."""
        return self._debug

    def set_debug(self, enabled: bool) -> None:
        """Asyncio's debug mode."""
        self._debug = enabled

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """An error that no task can take: by default it is raised, so that no test overlooks it."""
        if self.on_error is not None:
            self.on_error(context)
            return
        raise AssertionError(f"{context.get('message')}: {context.get('exception')!r}") from context.get("exception")

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """The same as `call_exception_handler`."""
        self.call_exception_handler(context)
