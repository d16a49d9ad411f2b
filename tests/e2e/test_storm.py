"""A storm of kill -9 on the daemon and on clients while ten sessions work and fifty clients look on (real claude)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from betcode.model.frames import Send
from betcode.testing.installation import Installation, installation, scripted, session_of, until, words

KILLS = int(os.environ.get("BETCODE_KILLS", "20"))
"""`make storm` has a hundred; these are what the tests of every change have time for."""
SEED = int(os.environ.get("BETCODE_STORM_SEED", "20261124"))
SESSIONS = 10
GROUPS = 5
"""Client processes, each with one client for each session."""
WORDS = 20
DELTA_MS = 100
"""Ten deltas a second and session: ten real claude on two slow cores keep up with it."""
AHEAD = 2
"""Messages of a session without an outcome that the test keeps under way."""
PAUSE_S = (0.1, 3.0)
"""Between two kills: from the middle of the daemon's start to the middle of a turn."""
LAST_S = 120.0
CLIENT = Path(__file__).with_name("storm_client.py")


@dataclass
class Turn:
    """One message and the answer it must get, once."""

    session: str
    key: str
    number: int
    acked: bool = False
    ended: bool = False

    @property
    def prefix(self) -> str:
        return f"t{self.number}x"

    @property
    def prompt(self) -> str:
        step = {"words": WORDS, "prefix": self.prefix, "delta_ms": DELTA_MS}
        return scripted(f"turn {self.number}.", step)

    @property
    def answer(self) -> str:
        return words(WORDS).replace("w", self.prefix)


class Group:
    """A process of clients; killed, it is replaced by one that knows nothing and must see everything again."""

    def __init__(self, storm: Storm, number: int) -> None:
        self.storm = storm
        self.number = number
        self.lives = 0
        self.process: asyncio.subprocess.Process | None = None
        self.reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        seed = 1000 * self.number + 100_000 * self.lives
        self.lives += 1
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(CLIENT),
            str(seed),
            *self.storm.sessions,
            env=self.storm.made.env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=64 * 1024 * 1024,
        )
        self.reading = asyncio.create_task(self._read(self.process))

    async def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    def ask(self, **fields: Any) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        with contextlib.suppress(ConnectionError):  # it was killed at this moment: the message is sent by another one
            self.process.stdin.write(json.dumps(fields).encode() + b"\n")

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self.storm.heard(self.number, json.loads(line) if line.endswith(b"\n") else {})


class Storm:
    """Ten sessions under way, fifty clients, and what was acknowledged to whom."""

    def __init__(self, made: Installation, sessions: list[str], rng: Random) -> None:
        self.made = made
        self.sessions = sessions
        self.rng = rng
        self.turns: dict[str, Turn] = {}
        self.groups = [Group(self, n) for n in range(GROUPS)]
        self.reports: dict[int, dict[str, Any]] = {}
        self.failures: list[str] = []
        self.kills: Counter[str] = Counter()
        self.resent = 0

    def heard(self, number: int, said: dict[str, Any]) -> None:
        if "acked" in said:
            self.turns[said["acked"]].acked = True
        elif "ended" in said:
            for key in said["ended"]:
                self.turns[key].ended = True
        elif "report" in said:
            self.reports[number] = said
        elif "failed" in said:
            self.failures.append(said["failed"])

    def send(self, turn: Turn) -> None:
        self.rng.choice(self.groups).ask(send=turn.key, session=turn.session, text=turn.prompt)

    def keep_busy(self) -> None:
        for session in self.sessions:
            under_way = [t for t in self.turns.values() if t.session == session and not t.ended]
            if len(under_way) < AHEAD and all(t.acked for t in under_way):
                turn = Turn(session, str(uuid.uuid4()), len(self.turns))
                self.turns[turn.key] = turn
                self.send(turn)

    async def strike(self) -> None:
        """Kill the daemon or a process of clients; what nobody acknowledged is sent again with the same key."""
        if self.rng.random() < 0.65:
            self.kills["daemon"] += bool(self.made.kill_daemon())
        else:
            group = self.rng.choice(self.groups)
            await group.kill()
            self.kills["ten clients"] += 1
            await group.start()
            for turn in self.turns.values():
                if not turn.acked:
                    self.resent += 1
                    self.send(turn)

    async def run(self, kills: int) -> None:
        for group in self.groups:
            await group.start()
        self.keep_busy()
        await until(lambda: any(t.acked for t in self.turns.values()), within_s=LAST_S, what="the first message")
        while sum(self.kills.values()) < kills:
            await asyncio.sleep(self.rng.uniform(*PAUSE_S))  # the storm's own pace, not a wait for something
            self.keep_busy()
            await self.strike()
            assert self.failures == []
        await until(lambda: all(t.acked for t in self.turns.values()), within_s=LAST_S, what="all acknowledgements")
        await until(lambda: all(t.ended for t in self.turns.values()), within_s=LAST_S, what="all answers")

    async def views(self) -> list[dict[str, Any]]:
        """What every client has seen, once all have everything."""
        number = 0
        end = asyncio.get_running_loop().time() + LAST_S
        while True:
            number += 1
            self.reports.clear()
            for group in self.groups:
                group.ask(report=number)
            await until(lambda: len(self.reports) == GROUPS, within_s=LAST_S, what="the clients' reports")
            found = [view for report in self.reports.values() for view in report["views"]]
            whole = all(v["kinds"].get("turn_ended", 0) == len(self.of(v["session"])) for v in found)
            same = {v["session"]: {w["seq"] for w in found if w["session"] == v["session"]} for v in found}
            if (whole and all(len(seqs) == 1 for seqs in same.values())) or asyncio.get_running_loop().time() > end:
                return found

    def of(self, session: str) -> list[Turn]:
        return [t for t in self.turns.values() if t.session == session]

    async def close(self) -> None:
        for group in self.groups:
            if group.process is not None and group.process.returncode is None:
                await group.kill()


@contextlib.asynccontextmanager
async def storm_of(made: Installation, seed: int) -> AsyncIterator[Storm]:
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(made.client())
        sessions = [await stack.enter_async_context(session_of(made, client)) for _ in range(SESSIONS)]
        storm = Storm(made, sessions, Random(seed))
        try:
            yield storm
        finally:
            await storm.close()


async def look(made: Installation, *command: str) -> tuple[int, str, str]:
    """Run one command of BetCode as a script would."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "betcode",
        *command,
        env=made.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, out.decode(), err.decode()


async def keep_looking(made: Installation, sessions: list[str], looks: Counter[str]) -> None:
    """What scripts read must be well-formed at any moment, or there is no daemon at this one."""
    for number in range(1_000_000):
        code, out, err = await look(made, "status", "--json")
        if code == 0:
            assert {s["id"] for s in json.loads(out)["sessions"]} == set(sessions)
        else:
            assert (code, json.loads(out)["error"]["code"]) == (2, "daemon.unreachable"), (code, out, err)
        looks[f"status {code}"] += 1
        code, out, err = await look(made, "sessions", "show", sessions[number % SESSIONS], "--json")
        events = [json.loads(line) for line in out.splitlines()]
        assert code == 0, (code, out, err)
        assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
        looks[f"show {code}"] += 1
        await asyncio.sleep(1.0)  # these are clients of ten sessions on two cores, not the load of the test


@pytest.mark.req("INV-1")
@pytest.mark.req("INV-2")
@pytest.mark.req("INV-4")
@pytest.mark.req("PS-6")
@pytest.mark.limit(120 + 6 * KILLS)
def test_a_storm_of_kills_loses_no_message_answers_none_twice_and_shows_all_the_same() -> None:
    async def run(made: Installation) -> None:
        async with storm_of(made, seed=SEED) as storm:
            looks: Counter[str] = Counter()
            looking = asyncio.create_task(keep_looking(made, storm.sessions, looks))
            await storm.run(KILLS)
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking
            views = await storm.views()
            check(storm, views)
            print(
                f"\n{dict(storm.kills)}, {len(storm.turns)} turns, {storm.resent} sent again, {dict(looks)}, "
                f"{sum(v['seq'] for v in views)} events seen by {len(views)} clients"
            )

    with installation() as made:
        made.env["BETCODE_DAEMON_SLOTS"] = str(SESSIONS)  # as `--slots 10`, for every daemon that anybody starts
        asyncio.run(run(made))


@pytest.mark.req("PS-8")
@pytest.mark.req("INV-8")
def test_no_more_turns_run_at_the_same_time_than_there_are_slots_even_when_the_daemon_dies() -> None:
    slots = 2
    busiest = 0

    async def watch(made: Installation) -> None:
        nonlocal busiest
        while True:
            stats = await asyncio.to_thread(made.model.stats)
            busiest = max(busiest, stats["active"])
            await asyncio.sleep(0.05)  # a sample; two turns that overlap do so for seconds

    async def run(made: Installation) -> None:
        code, out, err = await look(made, "daemon", "start", "--slots", str(slots), "--json")
        assert code == 0, out + err
        made.env["BETCODE_DAEMON_SLOTS"] = str(slots)
        async with contextlib.AsyncExitStack() as stack:
            client = await stack.enter_async_context(made.client())
            sessions = [await stack.enter_async_context(session_of(made, client)) for _ in range(5)]
            watching = asyncio.create_task(watch(made))
            turns = [Turn(session, str(uuid.uuid4()), n) for n, session in enumerate(sessions)]
            for turn in turns:
                await client.request(Send(session=turn.session, key=turn.key, text=turn.prompt))
            await until(lambda: busiest == slots, within_s=LAST_S, what="two turns")
            made.kill_daemon()
            reasons = set()
            for turn in turns:
                stream = client.stream(turn.session)
                async for news in stream:
                    event = getattr(news, "event", {})
                    reasons.add(event.get("reason"))
                    if event.get("kind") == "turn_ended":
                        assert event["text"] == turn.answer
                        break
                await stream.aclose()
            watching.cancel()
            assert busiest == slots
            assert "other sessions have all slots; it goes on by itself" in reasons
            assert made.model.stats()["requests_total"] == len(turns)

    with installation() as made:
        asyncio.run(run(made))


def check(storm: Storm, views: list[dict[str, Any]]) -> None:
    """Every client has the script's answers in order and nothing else; the model was asked once for each."""
    assert len(views) == GROUPS * SESSIONS
    for view in views:
        expected = [t.answer for t in storm.of(view["session"])]
        assert view["faults"] == []
        assert view["notices"] == []
        assert view["finals"] == expected
        assert view["texts"] == expected
        assert view["kinds"]["user_message"] == len(expected)
    for session in storm.sessions:
        assert len({view["seq"] for view in views if view["session"] == session}) == 1
    asked = Counter(r["prompt"] for r in storm.made.model.stats()["requests"] if not r["background"])
    assert asked == Counter(t.prompt[:200] for t in storm.turns.values())
    assert len(storm.made.runs()) == SESSIONS, "a claude was replaced"
