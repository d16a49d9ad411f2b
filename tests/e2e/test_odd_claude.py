"""A `claude` that does everything wrong, beside healthy ones in one daemon: each session ends in a stated state.

While one misbehaves, a neighbour prints the time every 20 ms; how late that arrives is compared with how late it was
just before. The bounds are generous, for a machine that does other work as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from betcode.client.client import Client
from betcode.client.session_view import Increment
from betcode.keeper.limits import DRAIN_READS_MAX, LINE_OUT_BYTES_MAX, READ_BYTES, STRETCH_BYTES_MAX
from betcode.keeper.tree import find_tree, start_ticks
from betcode.model import limits
from betcode.model.frames import Answer, Close, Create, Events, Retry, Send, Show
from betcode.testing.claude_home import bundled_claude
from betcode.testing.installation import Installation, installation, scripted, until, words
from betcode.testing.odd_claude import install, order

WAIT_S = 90.0
MIB = 1024 * 1024
DAEMON_MIB_MAX = 64
"""How much the daemon may grow: a line of 10 MiB is in memory two or three times; 20 MiB were seen."""
KEEPER_MIB_MAX = 24
"""A keeper's largest size; 8 MiB were seen."""
LATER_MAX = 100
"""How many times later (nine in ten) the neighbour may be than undisturbed, where less than 2 ms count as 2 ms."""
FINAL = ("completed", "failed", "cancelled", "unknown")


@pytest.fixture(scope="module")
def made() -> Iterator[Installation]:
    with installation() as one:
        one.env |= {
            "BETCODE_CLAUDE": str(install(one.home, bundled_claude())),
            "BETCODE_AGENT_READY_WAIT_S": "5",
            "BETCODE_SUPERVISION_CRASHES_MAX": "1",
            "BETCODE_SUPERVISION_STOP_GRACE_S": "1",
            "BETCODE_DAEMON_SLOTS": "16",
        }
        asyncio.run(one.start_daemon())
        yield one


def memory(pid: int, name: str) -> int:
    """VmRSS or VmHWM of a process in bytes; 0 when it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return 0


def forget_the_peak(pid: int) -> None:
    """VmHWM of this process begins anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


@dataclass
class Seen:
    """One odd session, and what became of it. `keeper_bytes` is the largest size of its keeper that was seen."""

    client: Client
    made: Installation
    directory: Path
    session: str
    key: str = ""
    state: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)
    keeper_bytes: int = 0

    async def say(self, text: str = "go") -> None:
        """Send a message, which `outcome` is about from now on."""
        self.key, self.state = str(uuid.uuid4()), ""
        await self.client.request(Send(session=self.session, key=self.key, text=text))

    async def look(self) -> dict[str, Any]:
        """The session as it stands."""
        found: dict[str, Any] = (await self.client.request(Show(session=self.session)))["session"]
        pid = found.get("keeper_pid")
        self.keeper_bytes = max(self.keeper_bytes, memory(pid, "VmHWM") if pid else 0)
        return found

    async def read(self) -> None:
        """All events so far."""
        self.events = []
        body: dict[str, Any] = {"events": [{}]}
        while body["events"]:
            body = await self.client.request(Events(session=self.session, after=len(self.events), limit=500))
            self.events += body["events"]

    async def until(self, *states: str) -> None:
        """Wait until the session's events say that it is in one of these states."""
        end = time.monotonic() + WAIT_S
        while self.state not in states:
            assert time.monotonic() < end, f"{self.state}, not {states}"
            await asyncio.sleep(0.02)
            await self.look()
            await self.read()
            self.state = [e["state"] for e in self.events if e["kind"] == "status"][-1]

    async def outcome(self) -> str:
        """How the message ended."""
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            view = await self.look()
            await self.read()
            states = [e["state"] for e in self.events if e["kind"] == "message_state" and e["message_id"] == self.key]
            if states[-1:] and states[-1] in FINAL:
                return str(states[-1])
            await asyncio.sleep(0.05)
        raise AssertionError(f"no outcome: {view}, {self.events[-3:]}")

    @property
    def told(self) -> str:
        """All notices and errors."""
        shown = [e for e in self.events if e["kind"] in ("notice", "error")]
        assert all(e["hint"] for e in shown if e.get("severity") != "info"), shown
        return "\n".join(f"{e['code']}: {e['message']}" for e in shown)

    @property
    def journal_bytes(self) -> int:
        """What all its runs printed."""
        return sum(p.stat().st_size for p in (self.made.paths.sessions / self.session).glob("*.out"))

    def alive(self) -> list[int]:
        """Its processes, keepers not counted."""
        runs = {r["claude_pid"] for r in self.made.runs() if r["mark"].startswith(f"{self.session}.")}
        marks = {r["mark"] for r in self.made.runs() if r["mark"].startswith(f"{self.session}.")}
        found = {p.pid for mark in marks for p in find_tree(-1, mark)} | runs
        with contextlib.suppress(FileNotFoundError):
            found |= {int(pid) for pid in (self.directory / "forked").read_text().split()}
        return [pid for pid in found if start_ticks(pid) is not None]

    async def close(self) -> None:
        """Close it: nothing of it is left."""
        self.state = ""
        await self.client.request(Close(session=self.session))
        await self.until("CLOSED")
        await until(lambda: not self.alive(), within_s=WAIT_S, what="the end of all its processes")


async def session_in(made: Installation, client: Client, do: str, **orders: Any) -> Seen:
    """A session in a directory of its own, where claude is told what to do."""
    directory = made.home / f"{do}-{uuid.uuid4().hex[:8]}"
    directory.mkdir()
    order(directory, do, **orders)
    body = await client.request(Create(directory=str(directory), options=made.options()))
    return Seen(client, made, directory, str(body["session"]["id"]))


class Neighbour:
    """A healthy session that prints the time; `delays_s` is how late each came here since `undisturbed` was set."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.delays_s: list[float] = []
        self.undisturbed_s = 0.0

    async def listen(self) -> None:
        """Collect until the turn ends."""
        async for news in self.seen.client.stream(self.seen.session):
            if isinstance(news, Increment) and news.text[0].isdigit():
                self.delays_s.append(time.monotonic() - float(news.text.split()[0]))
            elif getattr(news, "event", {}).get("kind") == "turn_ended":
                return

    async def come(self, count: int) -> float:
        """The delay that nine in ten of the next `count` do not reach."""
        self.delays_s.clear()
        await until(lambda: len(self.delays_s) >= count, within_s=WAIT_S, what="the neighbour's words")
        return sorted(self.delays_s)[len(self.delays_s) * 9 // 10]

    def check(self) -> None:
        """It was not much later than before."""
        assert self.delays_s, "nothing came"
        late_s = sorted(self.delays_s)[len(self.delays_s) * 9 // 10]
        most_s = LATER_MAX * max(self.undisturbed_s, 0.002)
        assert late_s < most_s, f"{late_s:.3f} s late; {self.undisturbed_s:.3f} s undisturbed"


@contextlib.asynccontextmanager
async def beside_a_neighbour(made: Installation, do: str, **orders: Any) -> AsyncIterator[Seen]:
    """An odd session whose message is on its way. At the end: memory, the neighbour, and the processes left."""
    async with made.client() as client:
        neighbour = Neighbour(await session_in(made, client, "ticks", every_s=0.02))
        await neighbour.seen.say()
        listening = asyncio.get_running_loop().create_task(neighbour.listen())
        await neighbour.come(10)
        neighbour.undisturbed_s = await neighbour.come(25)
        seen = await session_in(made, client, do, **orders)
        daemon = made.daemon_pid()
        assert daemon
        forget_the_peak(daemon)
        before = memory(daemon, "VmRSS")
        neighbour.delays_s.clear()
        await seen.say(scripted("go", {"text": "healthy again"}))
        try:
            yield seen
        except BaseException:
            listening.cancel()
            raise
        if len(neighbour.delays_s) < 10:
            await neighbour.come(10)
        neighbour.check()
        assert made.daemon_pid() == daemon, "the daemon was started anew"
        assert memory(daemon, "VmHWM") - before < DAEMON_MIB_MAX * MIB
        assert seen.keeper_bytes < KEEPER_MIB_MAX * MIB
        (neighbour.seen.directory / "stop").touch()
        await listening
        assert await neighbour.seen.outcome() == "completed"
        await neighbour.seen.close()
        await seen.close()


def name(do: str, orders: dict[str, Any]) -> str:
    """What a case is called."""
    return " ".join([do, *(f"{key}={str(value).strip()[:10]}" for key, value in orders.items())])


GOES_ON: list[tuple[str, dict[str, Any], list[str]]] = [
    ("binary", {"mib": 10}, ["ndjson.invalid_utf8: a line of", " such lines in this turn"]),
    ("endless", {"mib": 40}, ["ndjson.oversize: a line of 41943040 bytes"]),
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
        async with beside_a_neighbour(made, do, **orders) as seen:
            await seen.until("CRASHED")
            assert not seen.alive()
            assert "agent.crashed: claude ended unexpectedly" in seen.told
            assert ended in seen.told
            assert told in seen.told
            assert len(seen.told) < 20_000
            drained = (DRAIN_READS_MAX + 2) * READ_BYTES
            assert seen.journal_bytes < (LINE_OUT_BYTES_MAX if do == "endless" else STRETCH_BYTES_MAX) + drained
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
            while not [e for e in seen.events if e["kind"] == "permission_asked"]:
                await asyncio.sleep(0.02)
                await seen.read()
            [asked] = [e for e in seen.events if e["kind"] == "permission_asked"]
            await client.request(Answer(permission=asked["permission_id"], allow=allow))
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
