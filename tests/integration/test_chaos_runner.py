"""The runner of chaos experiments: whatever goes wrong with one is said, and is a failure."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from pathlib import Path

from betcode.testing.chaos.experiment import Experiment
from betcode.testing.chaos.runner import Series
from betcode.testing.chaos.stage import Stage, doubled
from betcode.testing.limits import CHAOS_TOTAL_S

KEYS = {"id", "injected", "expected", "observed", "ok", "recovery_s", "evidence"}


async def _fine(stage: Stage) -> str:
    stage.took(0.5, target_s=1.0)
    return "nothing happened"


async def _wrong(stage: Stage) -> str:
    stage.check(stage.talks, "one is not two")
    return "looked"


async def _breaks(stage: Stage) -> str:
    raise KeyError("by mistake")


async def _late(stage: Stage) -> str:
    await asyncio.sleep(60)
    return "never"


def experiment(name: str, run: object, **more: float) -> Experiment:
    return Experiment(name, "nothing", "nothing", run, **more)  # type: ignore[arg-type]


def test_each_result_is_in_the_report_and_one_failure_is_enough(tmp_path: Path) -> None:
    report = tmp_path / "build/report.json"
    chosen = [
        experiment("fine", _fine),
        experiment("wrong", _wrong),
        experiment("breaks", _breaks),
        experiment("late", _late, deadline_s=0.5),
    ]
    before = signal.getitimer(signal.ITIMER_REAL)[0]
    assert Series(chosen, report, seed=1).run() == 1
    assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] < before, "the alarm of whoever calls goes on"
    found = json.loads(report.read_text())
    assert all(set(entry) == KEYS for entry in found)
    assert [entry["ok"] for entry in found] == [True, False, False, False]
    said = [entry["observed"] for entry in found]
    assert said[:2] == ["nothing happened", "looked; one is not two"]
    assert "KeyError('by mistake')" in said[2]
    assert "deadline" in said[3]
    assert found[0]["recovery_s"] == 0.5


def test_what_is_not_begun_in_time_is_said_to_be_not_run_and_is_a_failure(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    series = Series([experiment("fine", _fine)], report, seed=1, begun_s=time.monotonic() - CHAOS_TOTAL_S)
    assert series.run() == 1
    [entry] = json.loads(report.read_text())
    assert (entry["ok"], entry["observed"].partition(":")[0]) == (False, "not run")


def test_all_ok_is_status_0(tmp_path: Path) -> None:
    assert Series([experiment("fine", _fine)], tmp_path / "report.json", seed=1).run() == 0


def test_an_event_that_tells_of_the_same_thing_twice_is_found() -> None:
    once = {"kind": "tool_call", "tool_use_id": "t1"}
    other = {"kind": "tool_result", "tool_use_id": "t1"}
    state = {"kind": "message_state", "message_id": "m", "state": "queued"}
    assert doubled([once, other, state, state]) == []
    assert doubled([once, other, once]) == ["tool_call t1 stands twice among the events"]
