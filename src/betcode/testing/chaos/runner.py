"""Runs experiments, each with its deadline and an installation of its own; table and report."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import FrameType

from betcode.testing.chaos.experiment import NOT_RUN, Experiment, Result
from betcode.testing.chaos.lanes import Lanes
from betcode.testing.chaos.process_watch import ProcessWatch
from betcode.testing.chaos.stage import Stage
from betcode.testing.claude_home import bundled_claude
from betcode.testing.installation import Installation, installation
from betcode.testing.limits import CHAOS_TOTAL_S, EVIDENCE_CHARS, EXPERIMENT_CHECKS_S, EXPERIMENT_REST_S

OBSERVED_CHARS = 200
"""Of what was observed, in the table."""
MESSAGES_SHOWN = 20
"""Newest messages and notices of a session in the report."""


@dataclass(slots=True)
class Series:
    """One run of a target: its experiments, what came of them so far, and where that is written."""

    experiments: Sequence[Experiment]
    report: Path
    seed: int
    scale: float = 1.0
    lanes: int = 1
    """How many experiments run at the same time; each has a process of its own if it is more than one."""
    results: list[Result] = field(init=False)
    begun_s: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.results = [Result.of(experiment) for experiment in self.experiments]

    def run(self) -> int:
        """Run all. Returns the exit status: 0 when all are ok, 1 when one is not or was not run."""
        try:
            self._run_side_by_side() if self.lanes > 1 else self._run_one_by_one()
        finally:
            self.write()
            self._say_end()
        return 0 if all(result.ok for result in self.results) else 1

    def _run_one_by_one(self) -> None:
        for number, experiment in enumerate(self.experiments):
            if self._is_time_for(number):
                self._finished(number, self.perform(experiment))

    def _run_side_by_side(self) -> None:
        """In processes of their own; those that need the whole machine alone, and last: the rest is over by then."""
        with Lanes(self.lanes, self.perform, self._finished) as running:
            for apart in (False, True):
                for number, experiment in enumerate(self.experiments):
                    if experiment.apart is not apart:
                        continue
                    running.wait(below=1 if apart else self.lanes)
                    if self._is_time_for(number):
                        running.start(number, experiment)
            running.wait(below=1)

    def _is_time_for(self, number: int) -> bool:
        if self.left_s() > 0:
            return True
        self.results[number].observed = f"{NOT_RUN}: the time of the whole run was over"
        return False

    def _finished(self, number: int, result: Result) -> None:
        self.results[number] = result
        self.write()
        ran = sum(not r.observed.startswith(NOT_RUN) for r in self.results)
        recovery = "" if result.recovery_s is None else f"{result.recovery_s:.2f} s"
        target = result.evidence.get("recovery_target_s")
        print(
            f"[{ran:2}/{len(self.results)}] {result.id:34} {'ok' if result.ok else 'NOT OK':6} "
            f"{result.evidence.get('took_s', 0.0):5.1f} s {recovery:>8} {f'of {target:.1f}' if target else '':8} "
            f"{result.observed[:OBSERVED_CHARS]}",
            flush=True,
        )

    def left_s(self) -> float:
        """Seconds until nothing new is begun."""
        return self.begun_s + CHAOS_TOTAL_S * max(1.0, self.scale) - time.monotonic()

    def write(self) -> None:
        """Write the report, with all that was not run yet named so."""
        self.report.parent.mkdir(parents=True, exist_ok=True)
        self.report.write_text(json.dumps([r.as_json() for r in self.results], indent=1, default=str) + "\n")

    def perform(self, experiment: Experiment) -> Result:
        """Run one, whatever comes of it."""
        result = Result.of(experiment)
        begun_s = time.monotonic()
        limit_s = min(experiment.limit_s(self.scale), max(self.left_s(), EXPERIMENT_REST_S))
        try:
            with _alarm(limit_s + EXPERIMENT_CHECKS_S + EXPERIMENT_REST_S), installation(record=True) as made:
                made.env.update(experiment.env)
                asyncio.run(self._perform(experiment, result, made, limit_s))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the result of this experiment
            result.ok = False
            result.observed = f"the experiment broke: {error!r}"
            result.evidence["traceback"] = traceback.format_exc()[-EVIDENCE_CHARS:]
        result.evidence["took_s"] = round(time.monotonic() - begun_s, 1)
        return result

    async def _perform(self, experiment: Experiment, result: Result, made: Installation, limit_s: float) -> None:
        rng = Random(f"{self.seed} {experiment.id}")
        with ProcessWatch(made.home, bundled_claude(), spared=made.model.pid) as watch:
            laid = experiment.lays_out
            evidence = await asyncio.to_thread(laid, made, rng) if laid is not None else {}
            begun_s = time.monotonic()
            async with made.client(seed=rng.randrange(1_000_000)) as client:
                stage = Stage(made, client, watch, rng, self.scale)
                stage.evidence |= evidence | {"served_s": round(time.monotonic() - begun_s, 3)}
                observed = await self._observe(experiment, stage, limit_s)
                _keep_evidence(stage)
            left = watch.end_all()
        result.observed = "; ".join([observed, *stage.failures][bool(not observed) :])
        result.recovery_s = stage.recovery_s
        result.evidence = stage.evidence | {"ended_by_the_runner": len(left), "seed": self.seed}
        result.ok = not stage.failures

    async def _observe(self, experiment: Experiment, stage: Stage, limit_s: float) -> str:
        """Run it and the checks that follow each; every way in which that fails ends in `stage.failures`."""
        observed = ""
        try:
            async with asyncio.timeout(limit_s):
                observed = await experiment.run(stage)
        except TimeoutError:
            stage.failures.append(f"its deadline of {limit_s:.0f} s was missed")
        except AssertionError as error:
            stage.failures.append(str(error) or traceback.format_exc()[-EVIDENCE_CHARS:])
        except Exception as error:  # noqa: BLE001 - a crash of an experiment is its result
            stage.failures.append(f"the experiment broke: {error!r}")
            stage.evidence["traceback"] = traceback.format_exc()[-EVIDENCE_CHARS:]
        try:
            async with asyncio.timeout(EXPERIMENT_CHECKS_S):
                await stage.close()
        except Exception as error:  # noqa: BLE001 - see above
            stage.failures.append(f"the checks after it broke: {error!r}")
        return observed

    def _say_end(self) -> None:
        bad = [result for result in self.results if not result.ok]
        for result in bad:
            print(f"\n{result.id}\n  injected: {result.injected}\n  expected: {result.expected}")
            print(f"  observed: {result.observed[:EVIDENCE_CHARS]}")
        ran = [result for result in self.results if not result.observed.startswith(NOT_RUN)]
        print(
            f"\n{len(self.results) - len(bad)} of {len(self.results)} ok, {len(self.results) - len(ran)} not run, "
            f"{time.monotonic() - self.begun_s:.0f} s, seed {self.seed}; report: {self.report}",
            flush=True,
        )


def _keep_evidence(stage: Stage) -> None:
    """What a person needs to understand the result, or a failure."""
    for number, talk in enumerate(stage.talks[:1] if not stage.failures else stage.talks):
        name = f"session {number}"
        stage.evidence[name] = {
            "messages": {words: talk.finals(key) for key, words in list(talk.sent.items())[-MESSAGES_SHOWN:]},
            "notices": talk.notices()[-MESSAGES_SHOWN:],
            "events": len(talk.view.events),
            "runs": len(list(talk.folder.glob("*.run"))) if talk.folder.is_dir() else 0,
        }
        if stage.failures:
            stage.evidence[name]["tail"] = talk.tail()
    for talk in stage.talks[:1]:
        calls = talk.counters().values()
        stage.evidence["tool_calls"] = {
            "run": len(calls),
            "side_effects": sum(calls),
            "most_of_one": max(calls, default=0),
        }
    with contextlib.suppress(OSError, ValueError):
        stats = stage.made.model.stats()
        stage.evidence["model_requests"] = stats["requests_total"]
    if stage.failures and stage.made.paths.log.exists():
        lines = stage.made.paths.log.read_text(errors="replace").splitlines()
        stage.evidence["log"] = [line[:400] for line in lines if '"info"' not in line][-20:]


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise TimeoutError even in code that blocks."""

    def over(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"still not over after {seconds:.0f} s; something blocks")

    begun_s = time.monotonic()
    before = signal.signal(signal.SIGALRM, over)
    left_s, every_s = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left_s:  # the alarm of whoever called
            signal.setitimer(signal.ITIMER_REAL, max(left_s - (time.monotonic() - begun_s), 0.01), every_s)
