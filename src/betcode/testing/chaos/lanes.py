"""Several experiments at the same time, each in a process of its own: most of their time is waiting."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import asdict
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess

from betcode.testing.chaos.experiment import Experiment, Result
from betcode.testing.limits import LANE_END_S


class Lanes:
    """At most so many at once. Each ends by itself: it has an alarm. After a failure all are told to end."""

    def __init__(
        self, count: int, perform: Callable[[Experiment], Result], finished: Callable[[int, Result], None]
    ) -> None:
        """`perform` runs in the process of its own; `finished` is called here, with the number given to `start`."""
        self._count = count
        self._perform = perform
        self._finished = finished
        self._running: dict[Connection, tuple[int, Experiment, ForkProcess]] = {}
        self._fork = multiprocessing.get_context("fork")

    def __enter__(self) -> Lanes:
        return self

    def __exit__(self, *_: object) -> None:
        for _number, _experiment, process in self._running.values():
            process.terminate()
        for _number, _experiment, process in self._running.values():
            process.join(LANE_END_S)

    def start(self, number: int, experiment: Experiment) -> None:
        """Begin one; there is room for it once `wait` has returned."""
        ours, theirs = self._fork.Pipe(duplex=False)
        process = self._fork.Process(target=self._run, args=(experiment, theirs), name=experiment.id)
        process.start()
        theirs.close()
        self._running[ours] = (number, experiment, process)

    def wait(self, *, below: int) -> None:
        """Return once fewer than so many run."""
        while len(self._running) >= below:
            for ready in wait(list(self._running)):
                if isinstance(ready, Connection):
                    self._take(ready)

    def _take(self, ready: Connection) -> None:
        number, experiment, process = self._running[ready]
        try:
            result = Result(**ready.recv())
        except EOFError:
            process.join(LANE_END_S)
            result = Result.of(experiment)
            result.observed = f"the experiment broke: its process ended with {process.exitcode}"
        ready.close()
        process.join(LANE_END_S)
        del self._running[ready]
        self._finished(number, result)

    def _run(self, experiment: Experiment, result: Connection) -> None:
        result.send(asdict(self._perform(experiment)))
        result.close()
