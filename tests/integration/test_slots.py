"""The engine with few slots, on real files and with claudes on paper that think as long as the test wants."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pytest

from betcode.core.life import Process
from betcode.core.pool import LATE, WAITS
from betcode.engine.slots import Slots
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.frames import Answer, Create, Events, GetStatus, Queue, Send, Show
from betcode.model.ids import SessionId
from betcode.model.rows import Options
from betcode.testing.paper_claude import PaperLauncher
from betcode.testing.small_engine import SmallEngine, running_engine


class Town:
    """Sessions of one engine, and what is done to them."""

    def __init__(self, engine: SmallEngine, launcher: PaperLauncher) -> None:
        self.engine = engine
        self.launcher = launcher

    async def create(self, number: int, *, background: bool = False, thinks: bool = True) -> list[str]:
        made = []
        for _ in range(number):
            asked = Create(directory="/", key=str(uuid.uuid4()), options=Options(background=background))
            made.append(str((await self.engine.ask(asked))["session"]["id"]))
            self.launcher.claude(SessionId(made[-1])).thinks = thinks
        return made

    async def send(self, session: str) -> str:
        key = str(uuid.uuid4())
        await self.engine.ask(Send(session=session, key=key, text="x"))
        return key

    async def works(self, session: str) -> None:
        """Wait until claude thinks."""
        await self.engine.until(session, lambda s: bool(s.turn and s.turn.begun))

    async def asks(self, session: str) -> str:
        """Let claude ask its question; returns its id."""
        self.launcher.claude(SessionId(session)).think(still=False)
        question = await self.engine.question(session)
        assert question is not None
        return question.id

    async def answer(self, session: str) -> None:
        """Let claude ask, and answer, so that its turn ends."""
        await self.engine.ask(Answer(permission=await self.asks(session), allow=True))
        await self.engine.until(session, lambda s: s.turn is None)

    async def place(self, session: str) -> int:
        return int((await self.engine.ask(Show(session=session)))["session"]["place"])

    def alive(self) -> int:
        return sum(bool(claude.links) for claude in self.launcher.claudes.values())


@pytest.mark.req("PS-8", "INV-8")
def test_of_many_messages_at_once_no_more_wait_than_may_and_the_others_are_refused_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        launcher = PaperLauncher(tmp_path / "sessions")
        async with running_engine(tmp_path, launcher, slots=Slots(1, 2)) as engine:
            town = Town(engine, launcher)
            first, *others = await town.create(7)
            await town.send(first)
            await town.works(first)
            told = await asyncio.gather(*(town.send(session) for session in others), return_exceptions=True)
            refused = [error for error in told if isinstance(error, BetcodeError)]
            assert [error.code for error in refused] == ["session.queue_full"] * 4
            assert engine.registry.world.slots.view()["waiting"] == 2
            waiting = list(engine.registry.world.slots.pool.queue)
            assert {s for s, key in zip(others, told, strict=True) if isinstance(key, str)} == {*waiting}
            await town.send(waiting[0])
            for session in (first, *waiting, waiting[0]):
                await town.works(session)
                await town.answer(session)
                launcher.claude(SessionId(session)).thinks = True
            await town.send(others[-1])

    asyncio.run(run())


@pytest.mark.req("PS-8")
def test_those_that_wait_are_shown_their_place_and_that_they_have_waited_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SLOT_LATE_S", 0.1)

    async def run() -> None:
        launcher = PaperLauncher(tmp_path / "sessions")
        async with running_engine(tmp_path, launcher, slots=Slots(1)) as engine:
            town = Town(engine, launcher)
            first, second, third = await town.create(3)
            for session in (first, second, third):
                await town.send(session)
            assert [await town.place(s) for s in (first, second, third)] == [0, 1, 2]
            shown = await engine.ask(Queue(session=third))
            assert (shown["place"], shown["places"]) == (2, 2)
            assert engine.registry.runner(SessionId(third)).feed.transcript.passing["queue"].text.endswith("place 2")
            pool = (await engine.ask(GetStatus()))["pool"]
            assert pool == {"slots": 1, "working": 1, "waiting": 2, "processes": 1, "processes_max": 3}
            await engine.until(third, lambda s: s.waiting[0].reason.startswith(LATE))
            assert "for over" in engine.registry.runner(SessionId(third)).feed.transcript.passing["queue"].text
            await town.works(first)
            await town.answer(first)
            await town.works(second)
            assert await town.place(third) == 1
            await town.answer(second)
            await town.works(third)
            assert "queue" not in engine.registry.runner(SessionId(third)).feed.transcript.passing
            await town.answer(third)
            events = (await engine.ask(Events(session=third)))["events"]
            told = [reason for event in events if (reason := _reason(event)) in (WAITS, LATE + WAITS)]
            assert told == [WAITS, LATE + WAITS], "each is told once"

    asyncio.run(run())


def _reason(event: bytes) -> str:
    import msgspec

    return str(msgspec.json.decode(event).get("reason", ""))


@pytest.mark.req("PS-8")
def test_persons_go_first_and_a_person_who_looks_on_makes_a_programs_session_theirs(tmp_path: Path) -> None:
    async def run() -> None:
        launcher = PaperLauncher(tmp_path / "sessions")
        async with running_engine(tmp_path, launcher, slots=Slots(1)) as engine:
            town = Town(engine, launcher)
            (first,) = await town.create(1)
            programs = await town.create(2, background=True)
            (person,) = await town.create(1)
            for session in (first, *programs, person):
                await town.send(session)
            assert [await town.place(s) for s in (*programs, person)] == [2, 3, 1]
            engine.registry.world.slots.attend(programs[1], 1)
            assert [await town.place(s) for s in (*programs, person)] == [3, 1, 2]
            engine.registry.world.slots.attend(programs[1], -1)
            for session in (first, person, *programs):
                await town.works(session)
                await town.answer(session)

    asyncio.run(run())


@pytest.mark.req("PS-8", "INV-3")
def test_of_two_that_got_their_answer_one_goes_on_beyond_the_limit_and_the_other_first(tmp_path: Path) -> None:
    async def run() -> None:
        launcher = PaperLauncher(tmp_path / "sessions")
        async with running_engine(tmp_path, launcher, slots=Slots(1)) as engine:
            town = Town(engine, launcher)
            one, two, three, four = await town.create(4)
            questions = {}
            for session in (one, two, three):
                await town.send(session)
                await town.works(session)
                if session != three:
                    questions[session] = await town.asks(session)
                    launcher.claude(SessionId(session)).lingers = True
            await town.send(four)
            for question in questions.values():
                await engine.ask(Answer(permission=question, allow=True))
            await engine.eventually(lambda: launcher.claude(SessionId(one)).state.decided != {})
            assert engine.registry.world.slots.view()["working"] == 2
            assert [await town.place(s) for s in (two, four)] == [1, 2]
            assert launcher.claude(SessionId(two)).state.decided == {}
            launcher.claude(SessionId(one)).finish()
            await engine.eventually(lambda: launcher.claude(SessionId(two)).state.decided != {})
            assert await town.place(four) == 1
            launcher.claude(SessionId(two)).finish()
            assert engine.registry.world.slots.view()["waiting"] == 1, "the slot is taken still"
            await town.answer(three)
            await town.works(four)
            await town.answer(four)
            for session in (one, two, three, four):
                assert launcher.claude(SessionId(session)).times == {1}

    asyncio.run(run())


@pytest.mark.req("PS-8")
def test_a_process_that_rests_is_given_back_and_the_next_message_gets_one_answer_from_the_next(tmp_path: Path) -> None:
    async def run() -> None:
        launcher = PaperLauncher(tmp_path / "sessions")
        async with running_engine(tmp_path, launcher, idle_process_s=0.01) as engine:
            town = Town(engine, launcher)
            (session,) = await town.create(1, thinks=False)
            for number in (1, 2):
                await town.send(session)
                await town.answer(session)
                await engine.until(session, lambda s: s.process is Process.NONE)
                assert engine.registry.runner(SessionId(session)).session.run == number
            assert town.alive() == 0
            assert launcher.claude(SessionId(session)).times == {1}
            assert len(launcher.claude(SessionId(session)).state.heard) == 2
            assert engine.registry.world.slots.pool.members == {}

    asyncio.run(run())


@pytest.mark.req("PS-8")
def test_no_more_processes_live_than_may_and_every_session_gets_its_turns(tmp_path: Path) -> None:
    async def run() -> None:
        launcher = PaperLauncher(tmp_path / "sessions")
        async with running_engine(tmp_path, launcher, slots=Slots(2, 50, 2)) as engine:
            town = Town(engine, launcher)
            sessions = await town.create(8, thinks=False)
            most = 0

            async def talk(session: str) -> None:
                nonlocal most
                for _ in range(5):
                    await town.send(session)
                    most = max(most, town.alive())
                    await town.answer(session)

            await asyncio.gather(*(talk(session) for session in sessions))
            assert 4 <= most <= 8, "as many again may wait for a person"
            for session in sessions:
                claude = launcher.claude(SessionId(session))
                assert (claude.times, len(claude.state.heard)) == ({1}, 5)
            view = engine.registry.world.slots.view()
            assert (view["working"], view["waiting"]) == (0, 0)

    asyncio.run(run())


@pytest.mark.req("PS-8", "PS-7")
def test_what_waits_for_a_slot_is_not_begun_by_a_stop_that_ends_the_others(tmp_path: Path) -> None:
    async def run() -> None:
        launcher = PaperLauncher(tmp_path / "sessions")
        async with running_engine(tmp_path, launcher, slots=Slots(1)) as engine:
            town = Town(engine, launcher)
            first, second = await town.create(2)
            await town.send(first)
            await town.send(second)
            await town.works(first)
            await engine.registry.end_processes()
            assert town.alive() == 0
            assert launcher.claude(SessionId(second)).state.heard == {}
        async with running_engine(tmp_path, launcher) as engine:
            town = Town(engine, launcher)
            await town.answer(second)
            assert launcher.claude(SessionId(second)).times == {1}

    asyncio.run(run())
