"""When all sessions together use the memory that they may, what rests is given back and nothing is started (PS-9)."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pytest

from betcode.core.life import Process
from betcode.engine.room import watch_memory
from betcode.model.frames import Answer, Create, Send
from betcode.model.ids import SessionId
from betcode.testing.paper_claude import PaperLauncher
from betcode.testing.small_engine import SmallEngine, running_engine

MIB = 1024 * 1024


async def create(engine: SmallEngine, launcher: PaperLauncher) -> str:
    """A session whose claude thinks until it is told otherwise."""
    made = str((await engine.ask(Create(directory="/", key=str(uuid.uuid4()))))["session"]["id"])
    launcher.claude(SessionId(made)).thinks = True
    return made


async def send(engine: SmallEngine, session: str) -> None:
    await engine.ask(Send(session=session, key=str(uuid.uuid4()), text="x"))


async def finish(engine: SmallEngine, launcher: PaperLauncher, session: str) -> None:
    """Let claude ask, and answer, so that its turn ends."""
    launcher.claude(SessionId(session)).think(still=False)
    question = await engine.question(session)
    assert question is not None
    await engine.ask(Answer(permission=question.id, allow=True))
    await engine.until(session, lambda s: s.turn is None)


@pytest.mark.req("PS-9", "PS-8", "INV-8")
def test_a_session_waits_while_the_total_is_used_and_begins_when_what_rests_was_given_back(tmp_path: Path) -> None:
    async def run() -> None:
        launcher = PaperLauncher(tmp_path / "sessions")
        async with running_engine(tmp_path, launcher) as engine:
            registry = engine.registry
            registry.world.memory_bytes_max = 1_000 * MIB
            registry.beside("memory", watch_memory(registry))
            works, rests, waits = [await create(engine, launcher) for _ in range(3)]
            for session in (works, rests):
                await send(engine, session)
                await engine.until(session, lambda s: s.turn is not None and s.turn.begun)
                link = registry.runner(SessionId(session)).link
                assert link is not None
                link.memory_bytes = 500 * MIB
            assert (registry.memory.used, registry.memory.processes) == (1_000 * MIB, 2)
            await engine.eventually(lambda: registry.world.slots.pool.room == 2)
            assert [line for line, _ in engine.log.lines if "no further claude is started" in line]
            await send(engine, waits)
            runner = registry.runner(SessionId(waits))
            await engine.until(waits, lambda s: bool(s.messages) and bool(s.messages[0].reason))
            assert runner.session.process is Process.NONE
            await finish(engine, launcher, rests)
            await engine.until(waits, lambda s: s.turn is not None and s.turn.begun)
            assert registry.runner(SessionId(rests)).session.process is Process.NONE
            assert registry.runner(SessionId(works)).session.process is Process.READY

    asyncio.run(run())
