"""The steps of the daemon's start, each logged with its duration (RS-1)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from betcode.engine.ports import Log


class StartSteps:
    """Writes one line for each step that was done; of one that failed the error tells."""

    def __init__(self, log: Log, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: seconds, from any beginning."""
        self._log = log
        self._clock = clock

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """The step that is done within this block."""
        begun = self._clock()
        yield
        self.took(name, self._clock() - begun)

    def took(self, name: str, seconds: float) -> None:
        """A step that somebody else has timed."""
        self._log.info("start: a step is done", step=name, duration_ms=round(1_000 * seconds, 1))
