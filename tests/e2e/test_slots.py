"""More sessions than slots, with the real claude: all are served, what rests gives its process back, and comes back."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os

import pytest

from betcode.client.client import Client
from betcode.core.resting import ENDED
from betcode.model.frames import Create, Interrupt, ListSessions
from betcode.testing.command import Command
from betcode.testing.installation import Installation, installation, scripted, until, words
from betcode.testing.witness import WAIT_S, asked, come, events, look, notices, outcome, send

SESSIONS, SLOTS, PER_SLOT = 6, 2, 2
STEPS = {"turn_started": 1, "turn_ended": -1}


def settings(made: Installation, idle_process_s: float) -> None:
    made.paths.config.mkdir(parents=True, exist_ok=True)
    daemon = {"slots": SLOTS, "processes_per_slot": PER_SLOT}
    chosen = {"supervision": {"idle_process_s": idle_process_s}, "daemon": daemon}
    (made.paths.config / "settings.json").write_text(json.dumps(chosen))


def alive(made: Installation) -> list[int]:
    """The claudes that live, by pid."""
    pids = [run["claude_pid"] for run in made.runs()]
    return [pid for pid in pids if os.path.exists(f"/proc/{pid}")]


@pytest.mark.req("PS-8", "PS-5", "INV-1")
@pytest.mark.limit(240)
def test_six_sessions_share_two_slots_give_their_processes_back_and_go_on_with_one_answer_each() -> None:
    async def run(made: Installation) -> None:
        settings(made, idle_process_s=1)
        most = 0
        turns: list[tuple[str, int]] = []

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, len(await asyncio.to_thread(alive, made)))
                await asyncio.sleep(0.05)  # a sample; a process lives for a second at least

        async with contextlib.AsyncExitStack() as stack:
            client = await stack.enter_async_context(made.client())
            create = Create(directory=str(made.project), options=made.options(background=True))
            sessions = [str((await client.request(create))["session"]["id"]) for _ in range(SESSIONS)]
            watching = asyncio.create_task(watch())
            keys = [
                await send(client, session, scripted(f"first {n}", {"words": 30, "delta_ms": 20}))
                for n, session in enumerate(sessions)
            ]
            for session, key in zip(sessions, keys, strict=True):
                state, seen = await outcome(client, session, key, within_s=2 * WAIT_S)
                assert state == "completed"
                assert [e["text"] for e in seen if e["kind"] == "turn_ended"] == [words(30)]
                turns += [(e["time"], STEPS[e["kind"]]) for e in seen if e["kind"] in STEPS]
            await until(lambda: not alive(made), within_s=WAIT_S, what="the end of all processes")
            watching.cancel()
            running = list(itertools.accumulate(step for _, step in sorted(turns)))
            assert (max(running), running[-1]) == (SLOTS, 0)
            assert SLOTS <= most <= SLOTS * PER_SLOT
            for session in sessions:
                seen = await come(client, session, "status", reason=ENDED)
                assert notices(seen) == ["session.rests"]
                assert [e["severity"] for e in seen if e["kind"] == "notice"] == ["info"]
                assert (await look(client, session))["state"] == "IDLE"
            for session in sessions[:2]:
                key = await send(client, session, scripted(f"second {session}", {"text": "again"}))
                assert (await outcome(client, session, key))[0] == "completed"
                texts = [e["text"] for e in await events(client, session) if e["kind"] == "turn_ended"]
                assert texts == [words(30), "again"]
                assert asked(made)[f"second {session}"] == 1
        assert len(made.runs()) == SESSIONS + 2

    with installation() as made:
        asyncio.run(run(made))


@pytest.mark.req("PS-8")
@pytest.mark.limit(180)
def test_a_script_is_told_its_place_and_waits_behind_a_person_who_came_later() -> None:
    async def run(made: Installation) -> None:
        settings(made, idle_process_s=0)
        made.env["BETCODE_DAEMON_SLOTS"] = "1"
        betcode = Command(made.env, made.project)
        async with contextlib.AsyncExitStack() as stack:
            client = await stack.enter_async_context(made.client())
            create = Create(directory=str(made.project), options=made.options())
            busy, person = [str((await client.request(create))["session"]["id"]) for _ in range(2)]
            first = await send(client, busy, scripted("busy", {"words": 5_000, "delta_ms": 20}))
            await come(client, busy, "turn_started")
            script = await asyncio.to_thread(betcode.start, "run", scripted("script", {"text": "of the script"}))
            await _waits(client, 1)
            key = await send(client, person, scripted("person", {"text": "of the person"}))
            waits = await asyncio.to_thread(betcode, "sessions", "queue", person)
            assert "the session waits for a slot: place 1 of 2" in waits.out
            status = await asyncio.to_thread(betcode, "status")
            assert "1 of 1 slots taken, 2 sessions waiting; 1 of 2 claude processes" in status.out
            await client.request(Interrupt(session=busy))
            assert (await outcome(client, busy, first))[0] == "cancelled"
            assert (await outcome(client, person, key))[0] == "completed"
            out, err = await asyncio.to_thread(script.communicate, timeout=WAIT_S)
            assert (script.returncode, out.decode().strip()) == (0, "of the script")
            assert "-- waits for a slot, place 1" in err.decode()
            assert "-- waits for a slot, place 2" in err.decode()
            order = [r["prompt"].partition(" @")[0] for r in made.model.stats()["requests"] if not r["background"]]
            assert order == ["busy", "person", "script"]

    with installation() as made:
        asyncio.run(run(made))


async def _waits(client: Client, count: int) -> None:
    """Wait until so many sessions wait for a slot."""
    end = asyncio.get_running_loop().time() + WAIT_S
    while asyncio.get_running_loop().time() < end:
        found = (await client.request(ListSessions()))["sessions"]
        if sum(bool(session["place"]) for session in found) == count:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"not {count} sessions wait")
