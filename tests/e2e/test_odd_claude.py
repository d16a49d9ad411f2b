"""A `claude` that does everything wrong, beside healthy ones in one daemon: each session ends in a stated state."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from betcode.keeper.limits import DRAIN_READS_MAX, LINE_OUT_BYTES_MAX, READ_BYTES, STRETCH_BYTES_MAX
from betcode.model import limits
from betcode.model.frames import Answer, Retry
from betcode.testing.claude_home import bundled_claude
from betcode.testing.installation import Installation, installation, scripted, until, words
from betcode.testing.odd_claude import install, order
from betcode.testing.odd_sessions import (
    DAEMON_MIB_MAX,
    MIB,
    WAIT_S,
    beside_a_neighbour,
    memory,
    ready_within,
    session_in,
)
from betcode.testing.witness import question


@pytest.fixture(scope="module")
def made() -> Iterator[Installation]:
    with installation() as one:
        one.env |= {
            "BETCODE_CLAUDE": str(install(one.home, bundled_claude())),
            "BETCODE_SUPERVISION_CRASHES_MAX": "1",
            "BETCODE_SUPERVISION_STOP_GRACE_S": "1",
            "BETCODE_DAEMON_SLOTS": "16",
        }
        asyncio.run(one.start_daemon())
        yield one


def name(do: str, orders: dict[str, Any]) -> str:
    """What a case is called."""
    return " ".join([do, *(f"{key}={str(value).strip()[:10]}" for key, value in orders.items())])


GOES_ON: list[tuple[str, dict[str, Any], list[str]]] = [
    ("binary", {"mib": 10}, ["ndjson.invalid_utf8: a line of", " such lines in this turn"]),
    ("endless", {"mib": 100}, ["ndjson.oversize: a line of 104857600 bytes"]),
    ("empty", {}, []),
    ("shapes", {"rounds": 1000}, ["ndjson.schema: a line of"]),
    ("foreign", {"rounds": 4000}, ["ndjson.invalid_json", f"ndjson.unknown: {2 * limits.UNKNOWN_LINES_TOLD} lines of"]),
    ("chatter", {"mib": 20, "size": 8}, []),
    ("stderr", {"mib": 100}, []),
    ("single_bytes", {}, []),
    ("nuls", {}, ["ndjson.invalid_json: a line of 4096 bytes"]),
    ("stranger", {}, []),
    ("twice", {}, []),
    ("odd_request", {}, []),
    (
        "odd_request",
        {"length": 300, "wait_s": 0.5},
        ["ndjson.schema: a line of 438 bytes could not be read: request_id"],
    ),
]


@pytest.mark.req("ND-1", "ND-7", "INV-4", "INV-8")
@pytest.mark.parametrize("do, orders, told", GOES_ON, ids=[name(row[0], row[1]) for row in GOES_ON])
def test_a_claude_that_prints_nonsense_and_goes_on_completes_its_turn_and_disturbs_nobody(
    made: Installation, do: str, orders: dict[str, Any], told: list[str]
) -> None:
    async def run() -> None:
        async with beside_a_neighbour(made, do, **orders) as seen:
            before = made.paths.database.stat().st_size
            assert await seen.outcome() == "completed"
            await seen.until("IDLE")
            assert all(text in seen.told for text in told), seen.told[:3000]
            assert bool(told) == bool(seen.told)
            assert made.paths.database.stat().st_size - before < 16 * MIB
            await seen.say()
            assert await seen.outcome() == "completed", "the next message"

    asyncio.run(run())


ENDED: list[tuple[str, dict[str, Any], str, str]] = [
    ("exit", {"when": "start", "code": 0, "stderr": "good bye\n"}, "exit code 0", "good bye"),
    (
        "exit",
        {"when": "start", "code": 1, "stderr": "no\nlicence\n"},
        "exit code 1",
        "claude's last words: no | licence",
    ),
    ("exit", {"when": "initialize", "code": 3, "stderr": "x" * 10**6}, "exit code 3", "claude's last words: xxx"),
    ("exit", {"code": 0, "stderr": "enough\n"}, "exit code 0", "enough"),
    ("fork", {"code": 1}, "exit code 1", ""),
    ("half", {}, "exit code 0", "ndjson.invalid_json: a line of 50 bytes"),
    ("sleep", {"when": "start"}, "signal 15", "claude did not answer within 5 s of its start"),
    ("sleep", {"when": "initialize"}, "signal 15", "claude did not answer within 5 s of its start"),
    ("deaf", {"when": "initialize"}, "signal 9", "claude did not answer within 5 s of its start"),
    ("close_stdout", {}, "it closed its output and lived on", ""),
    ("close_stdout", {"when": "start"}, "", ""),
    ("close_stdin", {"when": "start"}, "it closed its input and lived on", ""),
    ("endless", {}, "it printed one line without an end", ""),
    ("chatter", {"size": 60_000}, "it printed without an end", ""),
]


@pytest.mark.req("PS-3", "PS-4", "PS-11", "INV-4", "INV-8")
@pytest.mark.parametrize("do, orders, ended, told", ENDED, ids=[name(row[0], row[1]) for row in ENDED])
def test_a_claude_that_is_of_no_use_is_ended_with_its_tree_and_the_session_works_with_a_healthy_one(
    made: Installation, do: str, orders: dict[str, Any], ended: str, told: str
) -> None:
    async def run() -> None:
        ready_s = 5.0 if "within 5 s" in told else limits.READY_WAIT_S
        async with beside_a_neighbour(made, do, ready_s=ready_s, **orders) as seen:
            await seen.until("CRASHED")
            assert not seen.alive()
            assert "agent.crashed: claude ended unexpectedly" in seen.told
            assert ended in seen.told
            assert told in seen.told
            assert len(seen.told) < 20_000
            drained = (DRAIN_READS_MAX + 2) * READ_BYTES
            assert seen.journal_bytes < (LINE_OUT_BYTES_MAX if do == "endless" else STRETCH_BYTES_MAX) + drained
            if ready_s != limits.READY_WAIT_S:
                await ready_within(made, limits.READY_WAIT_S)
            order(seen.directory, "real")
            await seen.client.request(Retry(session=seen.session))
            state = await seen.outcome()
            if do in ("half", "endless", "chatter"):  # the half line at the end may have been a tool call
                assert state == "unknown"
                await seen.say(scripted("go on", {"text": "healthy again"}))
                state = await seen.outcome()
            assert state == "completed"
            assert [e["text"] for e in seen.events if e["kind"] == "assistant"][-1] == "healthy again"

    asyncio.run(run())


@pytest.mark.req("PS-4", "PS-11")
@pytest.mark.parametrize("do", ["deaf", "fork", "sleep"])
def test_closing_a_session_ends_a_claude_that_ignores_it_and_what_it_left_behind(made: Installation, do: str) -> None:
    async def run() -> None:
        async with made.client() as client:
            seen = await session_in(made, client, do)
            await seen.say()
            await seen.until("ACTIVE", "IDLE")
            if do == "fork":
                assert await seen.outcome() == "completed"
                assert len(seen.alive()) == 4
            await seen.close()

    asyncio.run(run())


@pytest.mark.req("INV-3")
@pytest.mark.parametrize("allow", [True, False])
def test_a_question_with_the_id_of_an_answered_one_is_denied_and_asked_of_nobody(
    made: Installation, allow: bool
) -> None:
    async def run() -> None:
        async with made.client() as client:
            seen = await session_in(made, client, "ask_twice", wait_s=30.0)
            await seen.say()
            await seen.until("ACTIVE")
            await client.request(Answer(permission=await question(client, seen.session), allow=allow))
            assert await seen.outcome() == "completed"
            assert [e["text"] for e in seen.events if e["kind"] == "assistant"] == [
                "allow deny" if allow else "deny deny"
            ]
            assert [e["kind"] for e in seen.events if e["kind"].startswith("permission")] == [
                "permission_asked",
                "permission_settled",
            ]
            await seen.close()

    asyncio.run(run())


@pytest.mark.req("INV-4")
def test_the_real_claude_answers_beside_floods_and_floods_of_several_sessions_are_borne(made: Installation) -> None:
    async def run() -> None:
        async with beside_a_neighbour(made, "binary", mib=10) as seen:
            client = seen.client
            others = [await session_in(made, client, "foreign", rounds=4000) for _ in range(2)]
            real = await session_in(made, client, "real")
            for other in others:
                await other.say()
            await real.say(scripted("count", {"words": 100, "delta_ms": 20}))
            assert await real.outcome() == "completed"
            assert [e["text"] for e in real.events if e["kind"] == "assistant"] == [words(100)]
            for other in (seen, *others):
                assert await other.outcome() == "completed"
            for other in (real, *others):
                await other.close()

    asyncio.run(run())


@pytest.mark.req("PS-6", "INV-8")
def test_a_daemon_that_is_killed_in_a_flood_comes_back_and_reads_on(made: Installation) -> None:
    async def run() -> None:
        async with made.client() as client:
            seen = await session_in(made, client, "chatter", mib=60, size=800)
            await seen.say()
            await until(lambda: seen.journal_bytes > 8 * MIB, within_s=WAIT_S, what="the flood")
            made.kill_daemon()
            assert await seen.outcome() == "completed"
            daemon = made.daemon_pid()
            assert daemon
            assert memory(daemon, "VmHWM") < 3 * DAEMON_MIB_MAX * MIB
            await seen.close()

    asyncio.run(run())
