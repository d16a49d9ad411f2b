"""What rows measure on: an installation whose claude is the flood, and its daemon."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
from websockets.asyncio.client import unix_connect

from bench.flood import DIGITS
from betcode.client.client import Client
from betcode.client.session_view import Durable, Increment
from betcode.model.frames import PROTOCOL, Attach, Hello, Send
from betcode.testing.installation import Installation, installation, session_of
from betcode.wire.client_api import encode_request

STAMP = re.compile(rb"\d{13,15}(?= )")
"""A delta of the flood as it stands in a frame."""
FLOOD = Path(__file__).with_name("flood.py")


@contextlib.contextmanager
def flooded() -> Iterator[Installation]:
    """An installation whose claude is the flood."""
    with installation() as made:
        program = made.home / "claude"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {FLOOD} "$@"\n')
        program.chmod(0o700)
        made.env["BETCODE_CLAUDE"] = str(program)
        yield made


def wish(count: int, hz: float, *, ready: bool = False) -> str:
    """The text of a message that asks for so many deltas; `ready`: all made before the first is printed."""
    return json.dumps({"count": count, "hz": hz, "ready": ready})


class Watcher:
    """One client of a session: how old each delta was when it came."""

    def __init__(self) -> None:
        self.ages_s: list[float] = []
        self.ended_s = 0.0
        self.printed_s = 0.0
        """When the flood began to print the last turn."""
        self.failed = ""
        """Why a message failed: then no turn will end."""

    async def watch(self, made: Installation, session: str, ready: asyncio.Event, *, turns: int = 1) -> None:
        """Until so many turns have ended."""
        async with made.client() as client:
            async for news in client.stream(session):
                ready.set()
                if isinstance(news, Increment):
                    self._take(news.text)
                elif isinstance(news, Durable) and news.event["kind"] == "assistant":
                    self._take(news.event["text"][len(news.shown) :])  # what no preview had shown before
                elif isinstance(news, Durable) and news.event["kind"] == "turn_ended":
                    turns -= 1
                    self.ended_s = time.monotonic()
                    self.printed_s = int(news.event["text"]) / 1e9
                    if not turns:
                        return
                elif isinstance(news, Durable) and news.event.get("state") == "failed":
                    self.failed = news.event["reason"]

    async def watch_raw(self, made: Installation, session: str, ready: asyncio.Event, *, turns: int = 1) -> None:
        """The same without the client library: frames are looked at and not read, so that fifty cost little."""
        async with unix_connect(str(made.paths.socket), compression=None, max_size=None, ping_interval=None) as socket:
            for request in (Hello(id=1, protocol=[PROTOCOL]), Attach(id=2, session=session, from_end=True)):
                await socket.send(encode_request(request), text=True)
            newest = 0
            while turns:
                frame = await socket.recv(decode=False)
                now_ns = time.monotonic_ns()
                ready.set()
                if b'"kind":"turn_ended"' in frame:
                    turns -= 1
                    self.ended_s = time.monotonic()
                if b'"state":"failed"' in frame:
                    self.failed = frame.decode()
                new = [stamp for stamp in map(int, STAMP.findall(frame)) if stamp > newest]  # they only grow
                newest = max(new, default=newest)
                self.ages_s += [(now_ns - stamp) / 1e9 for stamp in new]

    def ended_after(self, before_s: float) -> bool:
        """Whether a turn has ended since. Raises RuntimeError when its message failed."""
        if self.failed:
            raise RuntimeError(f"nothing to measure: the message failed: {self.failed}")
        return self.ended_s != before_s

    def _take(self, text: str) -> None:
        now_ns = time.monotonic_ns()
        for start in range(0, len(text) - len(text) % DIGITS, DIGITS):
            self.ages_s.append((now_ns - int(text[start : start + DIGITS])) / 1e9)


@contextlib.asynccontextmanager
async def watched(
    made: Installation, client: Client, clients: int, *, turns: int, raw: bool = False
) -> AsyncIterator[tuple[str, list[Watcher]]]:
    """A session of the flood that has started, and so many watchers that end with the last turn."""
    async with session_of(made, client) as session:
        watchers = [Watcher() for _ in range(clients)]
        ready = [asyncio.Event() for _ in range(clients)]
        tasks = [
            asyncio.create_task((w.watch_raw if raw else w.watch)(made, session, r, turns=turns))
            for w, r in zip(watchers, ready, strict=True)
        ]
        for one in ready:
            await one.wait()
        yield session, watchers
        await asyncio.gather(*tasks)


async def send(client: Client, session: str, text: str) -> None:
    """A message with a key of its own."""
    await client.request(Send(session=session, key=str(uuid.uuid4()), text=text))


def direct(count: int, hz: float) -> tuple[list[float], float]:
    """The anchor: ages of deltas read straight from the flood's pipe, and the seconds that all of it took."""
    ages = []
    begun = time.monotonic()
    argv = [sys.executable, "-I", "-S", str(FLOOD), "direct", wish(count, hz)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            value = json.loads(line)
            if value.get("event", {}).get("type") == "content_block_delta":
                ages.append((time.monotonic_ns() - int(value["event"]["delta"]["text"])) / 1e9)
    return ages, time.monotonic() - begun


def daemon_of(made: Installation) -> psutil.Process:
    """The daemon's process."""
    pid = made.daemon_pid()
    if pid is None:
        raise RuntimeError("no daemon runs")
    return psutil.Process(pid)


def cpu_s(process: psutil.Process) -> float:
    """Seconds of processor time that it has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


def run_s(argv: list[str], env: dict[str, str] | None = None) -> float:
    """Seconds that a command takes; it must succeed."""
    begun = time.perf_counter()
    subprocess.run(argv, env=env or dict(os.environ), check=True, capture_output=True)
    return time.perf_counter() - begun


def progress(text: str) -> None:
    """What is being measured, for whoever waits."""
    sys.stderr.write(f"bench: {text}\n")
    sys.stderr.flush()
