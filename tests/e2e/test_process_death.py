"""Keepers and claudes killed with -9, folders removed: at each point the same promise, with the real claude."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal

import pytest

from betcode.keeper.tree import start_ticks
from betcode.model.frames import Permissions
from betcode.testing.installation import Installation, installation, scripted, session_of, until, words
from betcode.testing.witness import WAIT_S, asked, come, look, outcome, pid_of, send, stored

TOOL = {"tool": {"name": "Bash", "input": {"command": "echo x >> counter.txt", "description": "w"}}}


@pytest.mark.req("INV-1")
@pytest.mark.req("INV-7")
@pytest.mark.req("PS-2")
@pytest.mark.parametrize("victim", ["keeper_pid", "claude_pid"])
def test_a_message_is_answered_once_when_its_process_dies_before_it_was_ready_or_right_after_the_ack(
    victim: str,
) -> None:
    async def run(made: Installation) -> None:
        async with made.client() as client, session_of(made, client) as session:
            answers = []
            for number in range(3):
                before = len(made.runs())
                text = {"words": 10, "prefix": f"t{number}x", "delta_ms": 20}
                key = await send(client, session, scripted(f"turn {number}", text))
                if number == 0:  # before `initialize` can have been answered: claude needs 0.4 s for it
                    await until(lambda: len(made.runs()) > before, within_s=WAIT_S, what="the run's file")  # noqa: B023
                    pid = made.runs()[-1][victim]
                else:  # the message is acknowledged and may be anywhere on its way
                    pid = await pid_of(client, session, victim)
                os.kill(pid, signal.SIGKILL)
                state, seen = await outcome(client, session, key)
                answers.append(words(10).replace("w", f"t{number}x"))
                assert state == "completed"
            assert [e["text"] for e in seen if e["kind"] == "assistant" and not e["interrupted"]] == answers
            assert all(count <= 2 for count in asked(made).values()), asked(made)
            told = [e for e in seen if e["kind"] == "notice"]
            if victim == "keeper_pid":  # without its keeper claude may finish a short answer, which people are told
                told = [e for e in told if e["code"] != "agent.answer_unread"]
            assert len(told) == 3
            assert all(e["message"].startswith("claude ended unexpectedly") for e in told)
            assert sum(start_ticks(run["claude_pid"]) is not None for run in made.runs()) == 1

    with installation() as made:
        asyncio.run(run(made))


@pytest.mark.req("INV-3")
@pytest.mark.req("PS-5")
@pytest.mark.parametrize("victim", ["keeper_pid", "claude_pid"])
def test_a_process_that_dies_with_a_question_open_runs_no_tool_and_the_next_one_is_told_so(victim: str) -> None:
    async def run(made: Installation) -> None:
        async with made.client() as client, session_of(made, client) as session:
            key = await send(client, session, scripted("ask", TOOL, {"text": "done"}, keep=True))
            await come(client, session, "permission_asked")
            await until(lambda: b'"tool_use"' in stored(made), within_s=WAIT_S, what="the stored call")
            os.kill((await look(client, session))[victim], signal.SIGKILL)
            state, seen = await outcome(client, session, key)
            assert state == "completed"
            assert [e["state"] for e in seen if e["kind"] == "permission_settled"] == ["CANCELLED"]
            assert (await client.request(Permissions()))["permissions"] == []
            # Without its keeper claude takes the closed pipe for a refusal, and may answer before it ends.
            finished = {"agent.answer_unread"} if victim == "keeper_pid" else set()
            told = {e["code"] for e in seen if e["kind"] == "notice"}
            assert told - finished <= {"agent.recovered", "agent.ended"}
            key = await send(client, session, scripted("go on", {"text": "fine"}))
            assert (await outcome(client, session, key))[0] == "completed"
            assert not (made.project / "counter.txt").exists()
            assert asked(made)["go on"] == 1

    with installation() as made:
        asyncio.run(run(made))


@pytest.mark.req("INV-7")
@pytest.mark.req("PS-6")
def test_a_session_whose_folder_was_removed_never_gets_a_second_claude_and_says_what_is_lost() -> None:
    async def run(made: Installation) -> None:
        async with made.client() as client, session_of(made, client) as session:
            key = await send(client, session, scripted("long", {"words": 600, "delta_ms": 100}))
            await come(client, session, "turn_started")
            [first] = made.runs()
            shutil.rmtree(made.paths.sessions / session)
            made.kill_daemon()
            state, seen = await outcome(client, session, key)
            # It was killed before this was told; a busy machine takes a moment to end what is killed.
            await until(lambda: start_ticks(first["claude_pid"]) is None, within_s=1.0, what="the end of the first")
            assert state == "unknown"
            assert [e["unit"] for e in seen if e["kind"] == "gap"] == ["bytes"]
            gone = [first["keeper_pid"], first["claude_pid"]]
            await until(lambda: all(start_ticks(p) is None for p in gone), within_s=WAIT_S, what="the end of both")
            key = await send(client, session, scripted("again", {"text": "fine"}))
            assert (await outcome(client, session, key))[0] == "completed"
            assert asked(made) == {"long": 1, "again": 1}

    with installation() as made:
        asyncio.run(run(made))


@pytest.mark.req("RS-3")
@pytest.mark.req("PS-11")
def test_a_daemon_whose_data_directory_was_removed_ends_and_leaves_no_process() -> None:
    async def run(made: Installation) -> None:
        await made.start_daemon()
        async with made.client(starts=False) as client, session_of(made, client) as session:
            await send(client, session, scripted("long", {"words": 600, "delta_ms": 100}))
            await come(client, session, "turn_started")
            pids = [made.runs()[0][name] for name in ("keeper_pid", "claude_pid")]
            daemon = made.daemon_pid()
            assert daemon
            shutil.rmtree(made.paths.data)
            pids.append(daemon)
            await until(lambda: all(start_ticks(p) is None for p in pids), within_s=WAIT_S, what="the end of all")
            assert not made.paths.socket.exists()

    with installation() as made:
        asyncio.run(run(made))


@pytest.mark.req("INV-7")
@pytest.mark.req("PS-6")
def test_a_stopped_keeper_is_replaced_by_the_next_daemon_and_its_message_is_not_answered_twice() -> None:
    async def run(made: Installation) -> None:
        async with made.client() as client, session_of(made, client) as session:
            key = await send(client, session, scripted("long", {"words": 400, "delta_ms": 100}))
            await come(client, session, "turn_started")
            [first] = made.runs()
            os.kill(first["keeper_pid"], signal.SIGSTOP)
            made.kill_daemon()
            await until(lambda: start_ticks(first["keeper_pid"]) is None, within_s=WAIT_S, what="its end")
            await until(lambda: len(made.runs()) == 2, within_s=WAIT_S, what="another claude")
            assert start_ticks(first["claude_pid"]) is None
            await come(client, session, "message_state", message_id=key, state="started")
            await until(lambda: asked(made) == {"long": 2}, within_s=WAIT_S, what="the second request")

    with installation() as made:
        asyncio.run(run(made))
