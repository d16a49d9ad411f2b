"""SIGKILL between any two operations of an acknowledgement, and in the middle of any write.

Goal: after a restart everything that was acknowledged is there, in its old numbering, and is done once; what was not
acknowledged is there as a whole or not at all.
Method: a real process kills itself at operation 1, 2, ... of intake log, SQLite and marks, until one comes through. The
next start is cut off in the same way: from operation 1, 2, ... on its disk takes nothing.
"""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from betcode.model.errors import BetcodeError
from betcode.testing.faults import STEP, FaultPlan, FaultyFiles, faulty_disk, points
from betcode.testing.paper_claude import PaperLauncher
from betcode.testing.promises import Promises, everything_ends
from betcode.testing.small_engine import running_engine

CHILD = Path(__file__).with_name("acknowledging_child.py")
WORKERS = 2
TWICE_KILLED = 12
"""Of so many deaths one is followed by a start that is cut off, at each of its operations: there is no time for all."""


async def finish(data: Path, promises: Promises) -> int:
    """The next start: compare, and let everything end. Returns how many changes only the intake log had."""
    launcher = PaperLauncher(data / "sessions")
    plan = FaultPlan()
    with faulty_disk(plan) as connect:
        async with running_engine(data, launcher, connect=connect, files=FaultyFiles(plan)) as engine:
            await everything_ends(engine, launcher, promises)
            assert all(problem.torn_end for problem in engine.store.intake_problems)
            return len(engine.store.unstored)


async def start(data: Path, plan: FaultPlan) -> tuple[int, bool]:
    """A start on a disk that may fail, and nothing more.

    Returns how many changes only the intake log had, and whether nothing had failed when all was restored.
    """
    with faulty_disk(plan) as connect:
        launcher = PaperLauncher(data / "sessions")
        async with running_engine(data, launcher, connect=connect, files=FaultyFiles(plan)) as engine:
            return len(engine.store.unstored), not plan.fired


def repeats(data: Path) -> bool:
    """Whether the next start brings something back."""
    with copied(data, "look") as copy:
        return asyncio.run(start(copy, FaultPlan()))[0] > 0


def cut_off_anywhere(data: Path, promises: Promises) -> int:
    """The next start ends at one of its operations after the other, as if it were killed there. Returns how often."""
    cut = 0
    for number in points(int(data.name)):
        with copied(data, f"cut-{number}") as copy:
            whole = False
            with contextlib.suppress(BetcodeError):
                _, whole = asyncio.run(start(copy, FaultPlan(fail_at=number, then_forever=True)))
            if whole:
                return cut
            asyncio.run(finish(copy, promises))
            cut += 1
    raise AssertionError("it counts for ever")


@contextlib.contextmanager
def copied(data: Path, name: str) -> Iterator[Path]:
    """A copy for one try."""
    copy = data.with_name(f"{data.name}-{name}")
    shutil.copytree(data, copy)
    yield copy
    shutil.rmtree(copy)


@pytest.mark.limit(300)
@pytest.mark.req("SQ-11", "INV-1", "INV-2")
def test_kill_9_at_any_operation_loses_and_doubles_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    template = tmp_path / "template"
    template.mkdir()
    asyncio.run(finish(template, Promises()))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, str(CHILD), str(template), str(tmp_path)]
    children = [subprocess.Popen([*command, str(first + 1), str(WORKERS)], env=environment) for first in range(WORKERS)]
    assert [child.wait() for child in children] == [0] * WORKERS
    repeated = cut_off = 0
    lives = sorted((path for path in tmp_path.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name))
    for data in lives:
        said = data / "promises"
        promises = msgspec.json.decode(said.read_bytes(), type=Promises) if said.exists() else Promises()
        try:
            if int(data.name) % TWICE_KILLED == 0 and repeats(data):
                cut_off += cut_off_anywhere(data, promises)
            repeated += asyncio.run(finish(data, promises))
        except AssertionError as error:
            raise AssertionError(f"killed at operation {data.name}") from error
    assert len(lives) > 40, "the loop did reach the end"
    assert repeated > 3, "some were killed between the intake log and the database"
    assert cut_off > 100 // STEP, "their next start ended at each of its operations"
