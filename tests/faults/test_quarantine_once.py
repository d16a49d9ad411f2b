"""Each odd line is kept and counted once, wherever between reading and storing a daemon ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from betcode.model import limits
from betcode.model.frames import Answer, Create, GetDrift, Quarantine, QuarantinedLine, Send
from betcode.model.ids import SessionId
from betcode.testing.paper_claude import PaperLauncher
from betcode.testing.small_engine import running_engine

KEYS = [f"{n:08x}-1111-4111-8111-111111111111" for n in range(2)]
ROUNDS = limits.BAD_LINES_TOLD
"""Of two bad lines each: the bad lines that follow give no event, and nothing is committed because of them."""
NOISE = b"noise\n{\n" * ROUNDS
LAST = b"noise\n" * 3


@pytest.mark.req("ND-9", "PS-6")
def test_lines_that_were_read_and_not_stored_are_read_again_and_kept_and_counted_once(tmp_path: Path) -> None:
    sessions = tmp_path / "sessions"
    sessions.mkdir()

    async def first_life() -> str:
        launcher = PaperLauncher(sessions)
        async with running_engine(tmp_path, launcher) as engine:
            session = str((await engine.ask(Create(directory="/", key=KEYS[0])))["session"]["id"])
            await engine.ask(Send(session=session, key=KEYS[1], text="go"))
            assert await engine.question(session) is not None
            claude = launcher.claudes[SessionId(session)]
            runner = engine.registry.runner(SessionId(session))
            for printed in (NOISE + b'{"type":"weather"}\n', LAST):
                claude.babble(printed)
                await engine.eventually(lambda: runner.feed.position[1] == len(claude.printed) and runner.feed.settled)
            stored = await engine.store.session(SessionId(session))
            assert stored is not None
            assert stored.offset < len(claude.printed), "some of it is read and not stored"
        return session

    async def second_life(session: str) -> None:
        launcher = PaperLauncher(sessions)
        async with running_engine(tmp_path, launcher) as engine:
            question = await engine.question(session)
            assert question is not None
            await engine.ask(Answer(permission=question.id, allow=True))
            await engine.until(session, lambda s: not s.messages)
            lines = (await engine.ask(Quarantine(session=session)))["lines"]
            start = launcher.claudes[SessionId(session)].printed.index(NOISE)
            assert [line["offset"] for line in lines[:3]] == [start, start + 6, start + 8]
            assert len(lines) == 2 * ROUNDS + 3
            drift = (await engine.ask(GetDrift()))["drift"]
            assert [(d.what, d.name, d.count) for d in drift] == [("kind", "weather", 1)]
            piece = await engine.ask(QuarantinedLine(session=session, run=1, offset=start, start=1))
            assert piece == {"data": "b2lzZQ==", "size": 5}

    asyncio.run(second_life(asyncio.run(first_life())))
