"""A claude that says nothing: a stalled API is told from a hang and from a tool that takes its time."""

from __future__ import annotations

import asyncio
import json
import os
import signal

import pytest

from betcode.keeper.tree import start_ticks
from betcode.testing.installation import Installation, installation, scripted, session_of, until
from betcode.testing.witness import WAIT_S, come, events, look, notices, outcome, send

STALL_S, HANG_S = 30, 60
"""The shortest that can be set."""


def settings(made: Installation) -> None:
    made.paths.config.mkdir(parents=True)
    chosen = {"supervision": {"stall_s": STALL_S, "hang_s": HANG_S, "interrupt_grace_s": 1, "stop_grace_s": 1}}
    (made.paths.config / "settings.json").write_text(json.dumps(chosen))


@pytest.mark.req("PS-4")
@pytest.mark.limit(150)
def test_a_stalled_answer_is_interrupted_and_goes_on_while_a_tool_and_a_question_may_take_their_time() -> None:
    async def run(made: Installation) -> None:
        settings(made)
        pause = {"name": "Bash", "input": {"command": 'python3 -c "import time; time.sleep(70)"', "description": "w"}}
        async with (
            made.client() as client,
            session_of(made, client, allow=("Bash",)) as slow,
            session_of(made, client) as asks,
            session_of(made, client) as stalls,
        ):
            tool = await send(client, slow, scripted("tool", {"tool": pause}, {"text": "done"}))
            await send(client, asks, scripted("ask", {"tool": pause}, {"text": "done"}))
            stalled = {"words": 20, "stall_s": 500, "after": 5}
            key = await send(client, stalls, scripted("stall", stalled, {"text": "on"}, keep=True))
            state, seen = await outcome(client, stalls, key, within_s=STALL_S + WAIT_S)
            assert state == "completed"
            assert notices(seen) == ["agent.stall"]
            assert "BACKING_OFF" in [e["state"] for e in seen if e["kind"] == "status"]
            texts = [(e["text"], e["interrupted"]) for e in seen if e["kind"] == "assistant"]
            assert texts[-1] == ("on", False)
            assert texts[0][1]
            assert len(made.runs()) == 3, "the process goes on"
            state, seen = await outcome(client, slow, tool, within_s=100)
            assert (state, notices(seen)) == ("completed", [])
            assert (await look(client, asks))["questions"] == 1
            assert notices(await events(client, asks)) == []

    with installation() as made:
        asyncio.run(run(made))


@pytest.mark.req("PS-4", "PS-2", "INV-1")
@pytest.mark.limit(180)
def test_a_claude_that_hangs_and_obeys_nothing_is_killed_and_its_message_goes_on() -> None:
    async def run(made: Installation) -> None:
        settings(made)
        async with made.client() as client, session_of(made, client) as session:
            key = await send(client, session, scripted("work", {"words": 600, "delta_ms": 100}))
            await come(client, session, "turn_started")
            journal = made.paths.sessions / session / "1.0.out"
            await until(lambda: b"text_delta" in journal.read_bytes(), within_s=WAIT_S, what="the first text")
            [run] = made.runs()
            os.kill(run["claude_pid"], signal.SIGSTOP)
            seen = await come(client, session, "notice", code="agent.stall")
            seen = await come(client, session, "notice", code="agent.hang")
            assert "did not obey" in [e["message"] for e in seen if e["kind"] == "notice"][-1]
            await until(
                lambda: start_ticks(run["claude_pid"]) is None, within_s=WAIT_S, what="the end of the stopped one"
            )
            await come(client, session, "turn_started", count=2)
            assert notices(await events(client, session)) == ["agent.stall", "agent.hang", "agent.ended"]
            assert key

    with installation() as made:
        asyncio.run(run(made))
