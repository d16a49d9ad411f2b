"""The whole way of an acknowledgement, with a disk that fails at any one operation, once or for ever.

Goal: what was acknowledged (a session, a message, an answer) is there after a restart and is done once; a refusal has
a code and a hint; a fault that passes costs one attempt, one that stays costs nothing but the acknowledgements.
Method: the engine on real files with a claude on paper. Fail operation 1, then 2, ... until a run passes unharmed;
after each, start again with a good disk, compare, and let everything end.
"""

import asyncio
import errno
import shutil
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from betcode.model.errors import BetcodeError
from betcode.model.frames import GetStatus
from betcode.testing.faults import FaultPlan, FaultyFiles, FaultyMarkFiles, faulty_disk, points
from betcode.testing.paper_claude import PaperLauncher
from betcode.testing.promises import ATTEMPTS, KEYS, Person, Promises, everything_ends
from betcode.testing.small_engine import running_engine

REFUSALS = ("store.failed", "permission.already_settled", "permission.not_found")
"""The last two: the question was settled, or not even stored, when the disk failed under the first answer."""


async def life(data: Path, launcher: PaperLauncher, plan: FaultPlan, person: list[Person]) -> list[BetcodeError]:
    """One life of the engine on a failing disk. Returns the errors with which it could not start."""
    errors: list[BetcodeError] = []
    with faulty_disk(plan) as connect:
        for _ in range(ATTEMPTS):
            async with AsyncExitStack() as stack:
                files, marks = FaultyFiles(plan), FaultyMarkFiles(plan)
                made = running_engine(data, launcher, connect=connect, files=files, mark_files=marks)
                try:
                    engine = await stack.enter_async_context(made)
                except BetcodeError as error:
                    errors.append(error)
                    continue
                person.append(Person(engine, lambda: plan.then_forever and plan.fired))
                await person[0].talk()
                await check_state(person[0], plan)
                return errors
    return errors


async def check_state(person: Person, plan: FaultPlan) -> None:
    """A disk that stays broken: refused plainly, and told. Otherwise all is well again."""
    broken = plan.fired and plan.then_forever
    before = len(person.refusals)
    made = await person.create(KEYS[8])
    if broken:
        assert made == "" or plan.reads, "without reads it can be stored if all that it needs is in memory"
        codes = {error.code for error in person.refusals[before:]}
        assert codes <= {"store.failed"}
        assert made or codes
        assert plan.reads or person.engine.store.state == "degraded"
        await person.engine.ask(GetStatus())  # reading goes on
    elif not plan.then_forever:
        assert made
        await person.engine.eventually(lambda: person.engine.store.state == "ok")


async def begin(data: Path) -> None:
    """A data directory as it is after some use: one session, which no promise is about."""
    async with running_engine(data, PaperLauncher(data / "sessions")) as engine:
        assert await Person(engine).create(KEYS[7])


async def finish(data: Path, launcher: PaperLauncher, promises: Promises) -> None:
    """The next start, with a good disk: everything acknowledged ends, once."""
    plan = FaultPlan()
    with faulty_disk(plan) as connect:
        async with running_engine(data, launcher, connect=connect, files=FaultyFiles(plan)) as engine:
            await everything_ends(engine, launcher, promises)


@pytest.mark.limit(300)
@pytest.mark.req("SQ-11", "SQ-9", "INV-1", "INV-8")
@pytest.mark.parametrize("then_forever", [False, True], ids=["once", "for ever"])
@pytest.mark.parametrize(
    "error, reads, phase",
    [(errno.EIO, False, 0), (errno.ENOSPC, False, 1), (errno.EIO, True, 2)],
    ids=["EIO", "ENOSPC", "reads"],
)
def test_what_was_acknowledged_is_there_after_any_fault_and_a_restart(
    tmp_path: Path, then_forever: bool, error: int, reads: bool, phase: int
) -> None:
    template = tmp_path / "template"  # test_store_faults.py has the faults of its making
    template.mkdir()
    asyncio.run(begin(template))
    for fail_at in points(phase):
        data = tmp_path / str(fail_at)
        shutil.copytree(template, data)
        plan = FaultPlan(fail_at=fail_at, then_forever=then_forever, errno=error, reads=reads)
        launcher = PaperLauncher(data / "sessions")
        persons: list[Person] = []
        errors = asyncio.run(life(data, launcher, plan, persons))
        promises = persons[0].promises if persons else Promises()
        refusals = persons[0].refusals if persons else []
        for refusal in errors + refusals:
            assert refusal.code in REFUSALS, (fail_at, plan.seen[fail_at - 1])
            assert refusal.hint
        if not then_forever:
            assert set(promises.sessions) == {KEYS[0], KEYS[2], KEYS[8]}, (fail_at, plan.seen[fail_at - 1])
            assert set(promises.messages) == {KEYS[1], KEYS[3], KEYS[4]}
            assert len(promises.answers) == 1
        asyncio.run(finish(data, launcher, promises))
        if not plan.fired:
            assert not refusals
            assert fail_at > 40, "the loop did reach the end"
            changes = {"intake write", "wal write", "mark write", "mark replace"}
            assert ({"intake read", "wal read", "database read"} if reads else changes) <= set(plan.seen)
            return
