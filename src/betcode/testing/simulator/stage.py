"""What everything in a simulation stands on: clock, random streams of the seed, trace, first violation."""

from __future__ import annotations

import asyncio
import contextvars
import zlib
from collections import deque
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from betcode.core.instant import Instant
from betcode.testing.simulator.plan import Plan
from betcode.testing.virtual_time import VirtualTimeLoop

UNIX_START_S = 1_800_000_000.0
"""Wall clock at the beginning of every run."""
TRACE_SHOWN = 60
"""Last events shown with a failure."""


class Violation(Exception):
    """An invariant does not hold."""

    def __init__(self, invariant: str, message: str) -> None:
        super().__init__(f"{invariant}: {message}")
        self.invariant = invariant


class Trace:
    """What happened: the last events in words, and a checksum over all of them."""

    def __init__(self, *, whole: bool = False) -> None:
        """`whole`: keep every event, not only the last ones."""
        self.count = 0
        self.checksum = 0
        self._last: deque[tuple[float, int, str]] = deque(maxlen=None if whole else TRACE_SHOWN)

    def note(self, now_s: float, step: int, what: str) -> None:
        """Add one event."""
        self.count += 1
        self.checksum = zlib.crc32(f"{now_s:.6f} {step} {what}".encode("utf-8", "replace"), self.checksum)
        self._last.append((now_s, step, what))

    def lines(self) -> list[str]:
        """The events that were kept, oldest first."""
        return [f"{now_s:12.3f} s  step {step:6}  {what}" for now_s, step, what in self._last]


class Stage:
    """One simulation's common ground. Nothing in it belongs to a daemon, so nothing of it ends with one."""

    def __init__(self, plan: Plan, *, whole_trace: bool = False) -> None:
        """Nothing runs before the loop does."""
        self.plan = plan
        self.loop = VirtualTimeLoop(self.random("order"))  # type: ignore[abstract]  # no files, no processes: on purpose
        self.loop.on_step = self._on_step
        self.loop.on_error = self._on_loop_error
        self.trace = Trace(whole=whole_trace)
        self.violation: Violation | None = None
        self.watchers: list[Callable[[], None]] = []
        """Called after every step."""
        self.wall_offset_s = 0.0
        self._context = contextvars.copy_context()

    def random(self, name: str) -> Random:
        """A stream of its own for each use, so that one more draw here changes nothing there."""
        return Random(f"{name} {self.plan.seed}")

    # --- time ---------------------------------------------------------------------------------------------------

    @property
    def now_s(self) -> float:
        """Virtual seconds since the beginning."""
        return self.loop.now_s

    def instant(self) -> Instant:
        """Both clocks. The wall clock may have been set meanwhile."""
        return Instant(UNIX_START_S + self.loop.now_s + self.wall_offset_s, 1_000.0 + self.loop.now_s)

    def later(self, delay_s: float, callback: Callable[..., Any], *args: Any) -> asyncio.TimerHandle:
        """Call back in the world's own context, whoever asked for it."""
        return self.loop.call_later(delay_s, callback, *args, context=self._context)

    def task(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """A task of the world, which outlives every daemon."""
        return self.loop.create_task(work, name=name, context=self._context.copy())

    # --- what is seen -------------------------------------------------------------------------------------------

    def note(self, what: str) -> None:
        """Add to the trace."""
        self.trace.note(self.loop.now_s, self.loop.steps, what)

    def fail(self, invariant: str, message: str) -> None:
        """An invariant is broken. The run ends after this step; the first violation counts."""
        if self.violation is None:
            self.violation = Violation(invariant, message)
            self.note(f"VIOLATION {invariant}: {message}")

    def check(self, holds: bool, invariant: str, message: str) -> None:
        """Fail unless `holds`."""
        if not holds:
            self.fail(invariant, message)

    def _on_step(self) -> None:
        for watcher in self.watchers:
            watcher()
        if self.violation is not None:
            raise self.violation

    def _on_loop_error(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.fail("internal", f"{context.get('message')}: {error!r}")
