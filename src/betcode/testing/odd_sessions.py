"""Sessions of an odd claude (`odd_claude`) in a whole BetCode, and a healthy neighbour that shows whether they disturb.

While one misbehaves, the neighbour prints the time every 20 ms; how late that arrives is compared with how late it was
just before. The bounds are generous, for a machine that does other work as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from betcode.client.client import Client
from betcode.client.session_view import Increment
from betcode.keeper.tree import find_tree, start_ticks
from betcode.model.frames import Close, Create, Events, Send, Show
from betcode.model.limits import READY_WAIT_S
from betcode.testing.installation import Installation, scripted, until
from betcode.testing.odd_claude import order

WAIT_S = 90.0
"""Longest wait for anything."""
MIB = 1024 * 1024
DAEMON_MIB_MAX = 64
"""How much the daemon may grow: a line of 10 MiB is in memory two or three times; 20 MiB were seen."""
KEEPER_MIB_MAX = 24
"""A keeper's largest size; 8 MiB were seen."""
LATER_MAX = 100
"""How many times later (nine in ten) the neighbour may be than undisturbed, where less than 2 ms count as 2 ms."""
FINAL = ("completed", "failed", "cancelled", "unknown")
"""States of a message that has its outcome."""


async def ready_within(made: Installation, seconds: float) -> None:
    """Have the daemon wait this long for the first answer of each claude that it starts from now on."""
    before = made.paths.log.read_text().count("settings read again")
    made.paths.config.mkdir(exist_ok=True)
    made.paths.settings.write_text(json.dumps({"agent": {"ready_wait_s": seconds}}))
    daemon = made.daemon_pid()
    assert daemon
    os.kill(daemon, signal.SIGHUP)
    await until(
        lambda: made.paths.log.read_text().count("settings read again") > before, within_s=WAIT_S, what="new settings"
    )


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
async def beside_a_neighbour(
    made: Installation, do: str, *, ready_s: float = READY_WAIT_S, **orders: Any
) -> AsyncIterator[Seen]:
    """An odd session whose message is on its way. At the end: memory, the neighbour, and the processes left."""
    async with made.client() as client:
        neighbour = Neighbour(await session_in(made, client, "ticks", every_s=0.02))
        await neighbour.seen.say()
        listening = asyncio.get_running_loop().create_task(neighbour.listen())
        await neighbour.come(10)
        neighbour.undisturbed_s = await neighbour.come(25)
        if ready_s != READY_WAIT_S:
            await ready_within(made, ready_s)
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
