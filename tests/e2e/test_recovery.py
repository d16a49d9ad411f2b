"""Every cell of the decision table: the real claude killed at that moment, a side effect that is counted on disk."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from betcode.client.client import Client
from betcode.keeper.tree import start_ticks
from betcode.model.frames import Answer, Permissions
from betcode.testing.installation import Installation, installation, scripted, session_of, until, words
from betcode.testing.witness import WAIT_S, asked, come, look, notices, outcome, send, stored

LONG = 'python3 -c "import time; time.sleep(100)"'
"""A tool that is still running when its claude is killed; the CLI refuses a plain `sleep`."""


def bash(command: str) -> dict[str, Any]:
    return {"tool": {"name": "Bash", "input": {"command": command, "description": "w"}}}


QUICK = bash("echo x >> counter.txt")
SLOW = bash(f"echo x >> counter.txt; {LONG}")


def count(made: Installation, name: str = "counter.txt") -> int:
    """How often the tool had its effect."""
    file: Path = made.project / name
    return len(file.read_text("ascii").split()) if file.exists() else 0


async def kill(made: Installation, client: Client, session: str, victim: str = "claude_pid") -> None:
    os.kill((await look(client, session))[victim], signal.SIGKILL)


def with_session(test: Callable[[Installation, Client, str], Awaitable[None]], **options: Any) -> None:
    """Run a test in a fresh installation with one session."""

    async def run(made: Installation) -> None:
        async with made.client() as client, session_of(made, client, **options) as session:
            await test(made, client, session)
            pids = [run["claude_pid"] for run in made.runs()]
            assert sum(start_ticks(pid) is not None for pid in pids) <= 1, "two claudes live"

    with installation() as made:
        asyncio.run(run(made))


@pytest.mark.req("PS-5", "INV-1", "INV-2")
@pytest.mark.parametrize("victim", ["claude_pid", "keeper_pid"])
def test_a_message_whose_answer_was_cut_is_sent_again_and_the_text_so_far_stays_marked(victim: str) -> None:
    async def test(made: Installation, client: Client, session: str) -> None:
        key = await send(client, session, scripted("long", {"words": 40, "delta_ms": 50}))
        async with made.client(seed=1) as other:
            async for news in other.stream(session):
                if getattr(news, "text", ""):
                    break
        await kill(made, client, session, victim)
        state, seen = await outcome(client, session, key)
        assert state == "completed"
        texts = [(e["text"], e["interrupted"]) for e in seen if e["kind"] == "assistant"]
        assert texts[-1] == (words(40), False)
        if asked(made)["long"] == 1:  # without its keeper claude may finish its answer before it ends
            assert victim == "keeper_pid"
            assert "agent.answer_unread" in notices(seen)
            assert len(texts) == 1
        else:
            [(text, cut)] = texts[:-1]
            assert cut
            assert words(40).startswith(text)

    with_session(test)


@pytest.mark.req("PS-5", "INV-1", "INV-3")
def test_a_question_that_died_with_its_process_is_asked_anew_by_the_model_and_runs_once() -> None:
    async def test(made: Installation, client: Client, session: str) -> None:
        key = await send(client, session, scripted("ask", QUICK, QUICK, {"text": "done"}, keep=True))
        await come(client, session, "permission_asked")
        await until(lambda: b'"tool_use"' in stored(made), within_s=WAIT_S, what="the stored call")
        await kill(made, client, session)
        seen = await come(client, session, "permission_asked", count=2)
        assert [e["state"] for e in seen if e["kind"] == "permission_settled"] == ["CANCELLED"]
        assert count(made) == 0
        [question] = (await client.request(Permissions()))["permissions"]
        await client.request(Answer(permission=question["id"], allow=True))
        state, seen = await outcome(client, session, key)
        assert state == "completed"
        assert count(made) == 1
        assert "agent.recovered" in notices(seen)

    with_session(test)


@pytest.mark.req("PS-5", "INV-1", "PS-11")
@pytest.mark.parametrize("victim", ["claude_pid", "keeper_pid"])
def test_a_tool_that_was_running_is_not_run_again_and_claude_is_told_that_its_outcome_is_unknown(victim: str) -> None:
    async def test(made: Installation, client: Client, session: str) -> None:
        see = {"text": "I see"}
        # The call itself may be missing in the transcript: then the model knows of it from what it is told.
        key = await send(client, session, scripted("work", SLOW, see, keep=True, told=see))
        await until(lambda: count(made) == 1, within_s=WAIT_S, what="the effect")
        await kill(made, client, session, victim)
        state, seen = await outcome(client, session, key)
        assert state == "completed"
        assert count(made) == 1
        assert "agent.unknown_outcome" in notices(seen)
        assert [e["text"] for e in seen if e["kind"] == "assistant"][-1] == "I see"
        told = [r for r in made.model.stats()["requests"] if not r["background"]]
        assert len(told) == 2

    with_session(test, allow=("Bash",))


@pytest.mark.req("PS-5", "INV-1")
def test_a_second_death_in_a_tool_of_the_same_message_is_put_to_the_user() -> None:
    async def test(made: Installation, client: Client, session: str) -> None:
        key = await send(client, session, scripted("work", SLOW, SLOW, {"text": "no"}, keep=True))
        for number in (1, 2):
            await until(lambda: count(made) == number, within_s=WAIT_S, what="the effect")  # noqa: B023
            await kill(made, client, session)
        state, seen = await outcome(client, session, key)
        assert state == "unknown"
        assert count(made) == 2
        assert notices(seen)[-2:] == ["agent.unknown_outcome", "agent.ended"]
        key = await send(client, session, scripted("and now", {"text": "on"}))
        assert (await outcome(client, session, key))[0] == "completed"
        assert count(made) == 2

    with_session(test, allow=("Bash",))


@pytest.mark.req("PS-5", "INV-1")
def test_the_user_is_asked_at_once_when_the_settings_say_so() -> None:
    async def test(made: Installation, client: Client, session: str) -> None:
        key = await send(client, session, scripted("work", SLOW, {"text": "no"}, keep=True))
        await until(lambda: count(made) == 1, within_s=WAIT_S, what="the effect")
        await kill(made, client, session)
        assert (await outcome(client, session, key))[0] == "unknown"
        assert count(made) == 1

    async def run(made: Installation) -> None:
        made.paths.config.mkdir(parents=True)
        (made.paths.config / "settings.json").write_text('{"supervision": {"unknown_outcome": "ask"}}')
        async with made.client() as client, session_of(made, client, allow=("Bash",)) as session:
            await test(made, client, session)

    with installation() as made:
        asyncio.run(run(made))


@pytest.mark.req("PS-5", "INV-1")
@pytest.mark.parametrize("flushed", [True, False])
def test_a_finished_tool_is_not_run_again_whether_its_result_was_stored_or_not(flushed: bool) -> None:
    async def test(made: Installation, client: Client, session: str) -> None:
        answer = {"words": 100, "delta_ms": 50}
        # The call itself may be missing in the transcript too: then the model knows of it from what it is told.
        key = await send(client, session, scripted("work", QUICK, answer, keep=True, told=answer))
        seen = await come(client, session, "tool_result")
        if flushed:
            await until(lambda: b'"tool_result"' in stored(made), within_s=WAIT_S, what="the stored result")
        await kill(made, client, session)
        state, seen = await outcome(client, session, key)
        assert state == "completed"
        assert count(made) == 1
        assert [e["text"] for e in seen if e["kind"] == "assistant"][-1] == words(100)
        assert len([e for e in seen if e["kind"] == "tool_call"]) == 1

    with_session(test, allow=("Bash",))


@pytest.mark.req("PS-5", "INV-1")
def test_a_death_after_the_turns_end_repeats_nothing() -> None:
    async def test(made: Installation, client: Client, session: str) -> None:
        key = await send(client, session, scripted("work", QUICK, {"text": "done"}))
        assert (await outcome(client, session, key))[0] == "completed"
        await kill(made, client, session)
        await until(lambda: all(start_ticks(r["claude_pid"]) is None for r in made.runs()), within_s=WAIT_S, what="end")
        key = await send(client, session, scripted("next", {"text": "fine"}))
        state, seen = await outcome(client, session, key)
        assert state == "completed"
        assert count(made) == 1
        assert set(notices(seen)) <= {"agent.ended"}  # it may not have called itself idle yet
        assert asked(made) == {"work": 2, "next": 1}

    with_session(test, allow=("Bash",))


@pytest.mark.req("PS-5", "INV-1")
def test_claude_is_told_when_a_background_task_ended_with_its_process() -> None:
    async def test(made: Installation, client: Client, session: str) -> None:
        task = {"tool": {"name": "Bash", "input": {"command": LONG, "description": "w", "run_in_background": True}}}
        key = await send(client, session, scripted("start it", task, {"text": "started"}, {"text": "I see"}, keep=True))
        assert (await outcome(client, session, key))[0] == "completed"
        await kill(made, client, session)
        seen = await come(client, session, "user_message", client="betcode")
        own = [e for e in seen if e["kind"] == "user_message"][-1]
        assert "background" in own["text"]
        state, seen = await outcome(client, session, own["message_id"])
        assert state == "completed"
        assert "agent.unknown_outcome" in notices(seen)
        assert len([e for e in seen if e["kind"] == "tool_call"]) == 1

    with_session(test, allow=("Bash",))


@pytest.mark.req("PS-5", "INV-1", "INV-6")
def test_a_turn_whose_journal_was_lost_is_put_to_the_user() -> None:
    async def test(made: Installation, client: Client, session: str) -> None:
        key = await send(client, session, scripted("work", SLOW, {"text": "no"}, keep=True))
        await until(lambda: count(made) == 1, within_s=WAIT_S, what="the effect")
        made.kill_daemon()
        for file in (made.paths.sessions / session).glob("*.out"):
            file.unlink()
        for run in made.runs():
            os.kill(run["keeper_pid"], signal.SIGKILL)
        state, seen = await outcome(client, session, key)
        assert state == "unknown"
        assert count(made) == 1
        assert [e["unit"] for e in seen if e["kind"] == "gap"] == ["bytes"]

    with_session(test, allow=("Bash",))


@pytest.mark.req("PS-5", "INV-1")
def test_an_answer_that_claude_finished_unseen_is_not_given_a_second_time() -> None:
    async def test(made: Installation, client: Client, session: str) -> None:
        key = await send(client, session, scripted("long", {"words": 20, "delta_ms": 30}))
        await come(client, session, "turn_started")
        [run] = made.runs()
        os.kill(run["keeper_pid"], signal.SIGSTOP)  # claude goes on; what it prints stays in the pipe
        await until(lambda: b'"end_turn"' in stored(made), within_s=WAIT_S, what="the end of the answer")
        made.kill_daemon()
        for victim in ("claude_pid", "keeper_pid"):
            os.kill(run[victim], signal.SIGKILL)
        state, seen = await outcome(client, session, key)
        assert state == "completed"
        assert "agent.answer_unread" in notices(seen)
        assert asked(made) == {"long": 1}
        assert [e["text"] for e in seen if e["kind"] == "assistant"] == [words(20)]

    with_session(test)


@pytest.mark.req("PS-2", "PS-5")
def test_an_interrupted_turn_whose_process_dies_is_not_continued() -> None:
    async def test(made: Installation, client: Client, session: str) -> None:
        from betcode.model.frames import Interrupt

        key = await send(client, session, scripted("work", SLOW, {"text": "no"}, keep=True))
        await until(lambda: count(made) == 1, within_s=WAIT_S, what="the effect")
        os.kill((await look(client, session))["claude_pid"], signal.SIGSTOP)
        await client.request(Interrupt(session=session))
        await kill(made, client, session)
        assert (await outcome(client, session, key))[0] == "cancelled"
        assert count(made) == 1

    with_session(test, allow=("Bash",))
