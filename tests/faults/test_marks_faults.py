"""The marks on a disk that fails, and what they are for: a database that lost its end is noticed at the start.

Goal: a mark is the old or the new one, never another; failing marks stop no acknowledgement; a session that is behind
its mark is numbered anew before anybody asks for it.
"""

import asyncio
import errno
import itertools
import shutil
from pathlib import Path

import pytest

from betcode.adapters.marks import SessionMarks, read_mark, write_mark
from betcode.model.errors import BetcodeError
from betcode.model.ids import SessionId
from betcode.model.rows import Mark
from betcode.testing.faults import FaultPlan, FaultyMarkFiles
from betcode.testing.paper_claude import PaperLauncher
from betcode.testing.promises import KEYS, Person, Promises, everything_ends
from betcode.testing.small_engine import running_engine

OLD, NEW = Mark(1, 7, 2, 4_096), Mark(1, 1_000_000, 3, 0)


class ShortWrites(FaultyMarkFiles):
    """A disk that takes at most five bytes at a time."""

    def write(self, fd: int, content: bytes) -> int:
        return super().write(fd, content[:5])


@pytest.mark.req("INV-2", "SQ-9")
@pytest.mark.parametrize("then_forever", [False, True])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_mark_is_the_old_or_the_new_one_whatever_fails(tmp_path: Path, then_forever: bool, error: int) -> None:
    write_mark(tmp_path, OLD)
    for fail_at in itertools.count(1):
        plan = FaultPlan(fail_at=fail_at, then_forever=then_forever, errno=error)
        files = ShortWrites(plan)
        try:
            write_mark(tmp_path, NEW, files)
        except BetcodeError as refused:
            assert (refused.code, bool(refused.hint)) == ("store.failed", True)  # noqa: PT017
            assert read_mark(tmp_path) == OLD
            plan.then_forever = False
            write_mark(tmp_path, NEW, files)
            assert read_mark(tmp_path) == NEW
            write_mark(tmp_path, OLD)
        else:
            assert not plan.fired
            assert read_mark(tmp_path) == NEW
            assert fail_at > 6, "open, several writes and replace were met"
            return


async def talk(data: Path, plan: FaultPlan) -> tuple[Promises, list[str]]:
    launcher = PaperLauncher(data / "sessions")
    async with running_engine(data, launcher, mark_files=FaultyMarkFiles(plan)) as engine:
        person = Person(engine)
        await person.talk()
        await person.create(KEYS[8])
        await everything_ends(engine, launcher, person.promises)
        return person.promises, [message for message, _ in engine.log.lines]


@pytest.mark.req("SQ-9", "SQ-11")
def test_marks_that_can_never_be_written_are_told_and_stop_no_acknowledgement(tmp_path: Path) -> None:
    promises, said = asyncio.run(talk(tmp_path, FaultPlan(fail_at=1, then_forever=True)))
    assert set(promises.messages) == {KEYS[1], KEYS[3], KEYS[4]}
    assert "the mark could not be written" in said


@pytest.mark.req("INV-2", "ND-8", "SQ-3")
def test_a_database_that_is_behind_a_mark_is_noticed_at_the_start_though_nobody_asks(tmp_path: Path) -> None:
    promises, _ = asyncio.run(talk(tmp_path, FaultPlan()))
    shutil.rmtree(tmp_path / "intake")  # without it only the marks know
    session = SessionId(promises.sessions[KEYS[8]])  # without a process and messages, so nothing else wakes it
    (tmp_path / "sessions" / session).mkdir()
    SessionMarks(tmp_path / "sessions").write(session, Mark(1, 5, 0, 0))

    async def start() -> None:
        async with running_engine(tmp_path, PaperLauncher(tmp_path / "sessions")) as engine:
            other = await engine.store.session(SessionId(promises.sessions[KEYS[2]]))
            await engine.eventually(lambda: engine.registry.summary(session).epoch == 2)
            assert other is not None
            assert other.epoch == 1, "other sessions are left alone"
            assert "the database is behind the session's mark" in [message for message, _ in engine.log.lines]
            [gap] = [e for e in await engine.store.events(session, 2, 0, 100) if e.kind == "gap"]
            assert gap.seq == 1
            assert ("events are missing", 1, 5) in [(m, f.get("first"), f.get("last")) for m, f in engine.log.lines]
            assert b'betcode_gaps_total{unit="events"} 1.0' in engine.meter.render()

    asyncio.run(start())
