"""One simulation from a seed: builds the world, lets trouble have its way, ends it, and reckons."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from betcode.model.rows import Mark
from betcode.testing.simulator.daemon import ModelDaemon
from betcode.testing.simulator.incarnation import adopt_task
from betcode.testing.simulator.inspection import Inspection
from betcode.testing.simulator.ledger import Ledger
from betcode.testing.simulator.machine import Machine
from betcode.testing.simulator.pace import Pace
from betcode.testing.simulator.person import Caretaker, Person
from betcode.testing.simulator.plan import make_plan
from betcode.testing.simulator.reckoning import Reckoning
from betcode.testing.simulator.stage import Stage, Violation
from betcode.testing.simulator.store import ModelDisk
from betcode.testing.simulator.town import Town
from betcode.testing.simulator.truth import Truth
from betcode.testing.virtual_time import Stuck

TROUBLE_S_MAX = 6 * 3_600.0
"""Virtual time after which the faults end even if somebody still has something to do."""
STEPS_MAX = 1_000_000
"""Many times what the longest run needs: beyond it something goes round in circles."""
REST_S_MAX = 900.0
"""Everything must come to rest this long after the last fault: restarts wait 30 s, a dumb claude is given 120 s."""
SETTLE_S = 10.0
"""What was on its way when the faults ended has arrived after this, over the slowest link."""
CATCH_UP_S_MAX = 60.0
"""Every client must show everything this long after everything is at rest."""
CLEAN_UP_S_MAX = 10.0
"""Virtual time for the coroutines of a run to end when it is over."""


@dataclass(slots=True)
class Outcome:
    """What became of one seed."""

    seed: int
    steps: int
    checksum: int
    invariant: str = ""
    message: str = ""
    trace: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether an invariant was broken."""
        return bool(self.invariant)


class Simulation:
    """One run."""

    def __init__(self, seed: int, *, whole_trace: bool = False) -> None:
        """Everything is there, nothing runs."""
        self._whole_trace = whole_trace
        self.plan = make_plan(seed)
        self.stage = Stage(self.plan, whole_trace=whole_trace)
        self.stage.loop.on_task = self._on_task
        self._tasks: list[asyncio.Task[Any]] = []
        self.ledger = Ledger(self.stage)
        self.truth = Truth(self.stage, self.ledger)
        self.machine = Machine(self.stage, self.truth, self.ledger)
        self.pace = Pace(self.stage)
        self.machine.on_failure = self.pace.failed
        self.disk = ModelDisk(self.stage, self.ledger)
        self.town = Town(self.stage, self.truth, self.ledger, self.machine, self.pace, self.stage.random("town"))
        self.people = [Person(self.town, f"person {n}") for n in range(self.plan.people)]
        self.reckoning = Reckoning(self.town, self.disk)
        self._rng = self.stage.random("fate")
        self._marks: dict[str, Mark] = {}
        self._generation = 0
        self._kill_step = 0
        self.stage.loop.unix_connect = self.machine.connect
        self.stage.watchers += [Inspection(self.town, self.machine).after_step, self._maybe_kill]

    def run(self) -> Outcome:
        """Run to the end or to the first violation."""
        try:
            self.stage.loop.run_until_complete(self.stage.task(self._direct(), "director"))
        except Violation:
            pass
        except Stuck as stuck:
            self.stage.fail("liveness", str(stuck))
        except Exception as error:  # noqa: BLE001 - a defect of the simulator or the product, told with its seed
            self.stage.fail("internal", repr(error))
        outcome = self._outcome()
        self._clean_up()
        return outcome

    def _on_task(self, task: asyncio.Task[Any]) -> None:
        self._tasks.append(task)
        adopt_task(task)

    def _clean_up(self) -> None:
        """End every coroutine, so that none is ended later by the garbage collector, in the middle of another run."""
        loop = self.stage.loop
        loop.on_step = None
        loop.on_error = lambda _: None
        if self.town.daemon is not None:
            self.town.daemon.incarnation.die()
        for task in self._tasks:
            task.cancel()
        loop.run_until_complete(asyncio.wait(self._tasks, timeout=CLEAN_UP_S_MAX))
        loop.close()
        self.disk.connection.close()

    def _outcome(self) -> Outcome:
        violation, trace = self.stage.violation, self.stage.trace
        outcome = Outcome(self.plan.seed, self.stage.loop.steps, trace.checksum)
        if violation is not None:
            outcome.invariant = violation.invariant
            outcome.message = str(violation)
        if violation is not None or self._whole_trace:
            outcome.trace = tuple(trace.lines())
        return outcome

    # --- the course of a run ------------------------------------------------------------------------------------

    async def _direct(self) -> None:
        self.town.prepare()
        self.town.busy = len(self.people)
        self.stage.task(self._supervise(), "supervisor")
        self.stage.task(self._trouble(), "trouble")
        for person in self.people:
            self.stage.task(person.live(), person.name)
        await self._until(lambda: "people act" if self.town.busy else "", TROUBLE_S_MAX, "")
        self.plan.calm = True
        self.stage.note("calm: the faults are over")
        await asyncio.sleep(SETTLE_S)
        await self._until(self.reckoning.restless, REST_S_MAX, "liveness")
        caretaker = Caretaker(self.town, "caretaker")
        await self._until(self.reckoning.unfinished, REST_S_MAX, "liveness", caretaker)
        await asyncio.sleep(SETTLE_S)
        await self._until(self.reckoning.restless, REST_S_MAX, "liveness")
        await self._until(lambda: self.reckoning.behind(self.people), CATCH_UP_S_MAX, "INV-2")
        self.reckoning.compare()
        self.town.closing = True

    async def _until(
        self, missing: Callable[[], str], most_s: float, invariant: str, caretaker: Caretaker | None = None
    ) -> None:
        """Wait until nothing is missing."""
        until_s = self.stage.now_s + most_s
        while what := missing():
            if self.stage.now_s >= until_s:
                if invariant:
                    self.stage.fail(invariant, f"after {most_s:.0f} s without faults: {what}")
                return
            if caretaker is not None:
                await caretaker.tend()
            await asyncio.sleep(30.0 if self.plan.patient and not self.plan.calm else 1.0)

    async def _supervise(self) -> None:
        """Whoever needs the daemon starts it."""
        while not self.town.closing:
            wait_s = self._rng.choice((0.05, 0.3, 1.0, 60.0)) if not self.plan.calm else 0.3
            await asyncio.sleep(wait_s)
            await self._start_daemon().gone.wait()

    def _start_daemon(self) -> ModelDaemon:
        self._generation += 1
        daemon = ModelDaemon(self.stage, self.machine, self.disk, self.pace, self._marks, generation=self._generation)
        self.town.daemon = daemon
        self._kill_step = 0
        if self.plan.chance(self._rng, "daemon", 0.9):
            life = self._rng.choice((self._rng.randint(1, 60), self._rng.randint(1, 400), self._rng.randint(1, 3_000)))
            self._kill_step = self.stage.loop.steps + life
        daemon.start()
        return daemon

    def _maybe_kill(self) -> None:
        """After each step: is this the one after which the daemon is killed?"""
        if self.stage.loop.steps > STEPS_MAX:
            self.stage.fail("liveness", f"no end after {STEPS_MAX} steps")
        if self._kill_step and self.stage.loop.steps >= self._kill_step:
            self._kill_step = 0
            if self.town.daemon is not None and not self.plan.calm:
                self.town.daemon.kill()

    async def _trouble(self) -> None:
        """What strikes the whole machine."""
        while not self.plan.calm:
            await asyncio.sleep(self._rng.uniform(0.5, 20.0))
            if self.plan.clock_jumps and not self.plan.calm and self._rng.random() < 0.3:
                self.stage.wall_offset_s += self._rng.uniform(-7_200.0, 7_200.0)
                self.stage.note(f"the wall clock is set: {self.stage.wall_offset_s:+.0f} s")
            if self.plan.power_cuts and not self.plan.calm and self._rng.random() < 0.5:
                self.plan.power_cuts -= 1
                self.plan.power_failed = True
                self.stage.note("the power fails")
                if self.town.daemon is not None:
                    self.town.daemon.kill()
                self.machine.power_cut()


def run_seed(seed: int, *, whole_trace: bool = False) -> Outcome:
    """Simulate one seed."""
    return Simulation(seed, whole_trace=whole_trace).run()
