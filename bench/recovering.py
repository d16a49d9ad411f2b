"""Rows of recovery: kill -9 of the daemon with ten running turns, and of the real claude in mid-turn."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path

from bench.figures import Figure, Samples, figure
from bench.setting import flooded, progress, send, wish
from betcode.client.client import Client
from betcode.client.session_view import Durable, Increment
from betcode.model import limits
from betcode.model.frames import GetStatus
from betcode.testing.installation import Installation, installation, scripted, session_of, until

TURNS = 10
HZ = 20
"""Deltas a second of each turn."""


class _Stream:
    """One running turn, looked at by a client of its own."""

    def __init__(self) -> None:
        self.last_s = 0.0
        self.text = ""

    async def watch(self, made: Installation, session: str) -> None:
        async with made.client() as client:
            async for news in client.stream(session):
                if isinstance(news, Increment):
                    self.text = self.text[: news.offset] + news.text
                    self.last_s = time.monotonic()

    def lost_and_doubled(self) -> tuple[int, int]:
        """How many deltas are missing and how many came twice, from the first to the last one seen.

        Each delta is the time of its printing, so one that came twice shows as it is. The flood keeps its schedule, so
        one that is missing shows as a shift of all later ones by a whole interval.
        """
        words = self.text.split()[:-1]
        printed_s = sorted(int(word) / 1e9 for word in set(words))
        late_s = [moment - number / HZ for number, moment in enumerate(printed_s)]
        shift_s = min(late_s[-20:]) - min(late_s[:20])
        return max(0, round(shift_s * HZ)), len(words) - len(set(words))


def daemon_killed(rounds: int) -> list[Figure]:
    """From kill -9 of the daemon until all of ten running turns are seen to go on."""
    again, start, lost, doubled = Samples(), Samples(), Samples(), Samples()

    async def measure() -> None:
        with flooded() as made:
            made.env["BETCODE_DAEMON_SLOTS"] = str(TURNS)
            begun = time.monotonic()
            await made.start_daemon()
            start.add(time.monotonic() - begun)
            async with made.client() as client, contextlib.AsyncExitStack() as stack:
                streams = [_Stream() for _ in range(TURNS)]
                tasks = []
                for stream in streams:
                    session = await stack.enter_async_context(session_of(made, client))
                    tasks.append(asyncio.create_task(stream.watch(made, session)))
                    await send(client, session, wish(100_000, HZ))
                await _all_after(streams, 0.0)
                for number in range(rounds):
                    progress(f"kill -9 of the daemon, round {number + 1} of {rounds}")
                    await asyncio.sleep(limits.RECONNECT_MAX_S)  # a client that lost its daemon just now waits longer
                    made.kill_daemon()
                    killed = time.monotonic()
                    # What was on its way at the kill does not count.
                    again.add(await _all_after(streams, killed + 0.1) - killed)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                counts = [stream.lost_and_doubled() for stream in streams]
                lost.add(sum(missing for missing, _ in counts))
                doubled.add(sum(twice for _, twice in counts))

    asyncio.run(measure())
    return [
        figure(
            "kill -9 of the daemon, ten running turns, all streaming again",
            "s",
            again,
            at_most=1.0,
            anchor="start of a daemon, s",
            anchor_value=start.median,
            ratio=again.median / start.median,
        ),
        figure(f"the same, deltas lost in all of these {rounds} kills and {TURNS} turns", "", lost, at_most=0),
        figure(f"the same, deltas doubled in all of these {rounds} kills and {TURNS} turns", "", doubled, at_most=0),
    ]


async def _all_after(streams: list[_Stream], moment_s: float) -> float:
    """Wait until each has something newer than `moment_s`; returns when the last one had."""
    await until(lambda: all(s.last_s > moment_s for s in streams), within_s=120, what="all turns streaming")
    return time.monotonic()


def claude_killed(rounds: int) -> list[Figure]:
    """From kill -9 of the real claude in mid-answer until the answer comes again, less the CLI's own start.

    Before the answer a tool ran, which leaves a line in a file: it must not run again.
    """
    beyond, starts, again = Samples(), Samples(), Samples()

    async def measure() -> None:
        with installation() as made:
            async with made.client() as client:
                for number in range(rounds):
                    progress(f"kill -9 of claude, round {number + 1} of {rounds}")
                    took, start = await _kill(made, client, made.project / f"ran-{number}.txt")
                    starts.add(start)
                    beyond.add(took - start)
                ran = [len(file.read_text().splitlines()) for file in made.project.glob("ran-*.txt")]
                assert len(ran) == rounds, "a tool did not run at all"
                again.add(sum(ran) - rounds)

    asyncio.run(measure())
    return [
        figure(
            "kill -9 of claude in mid-turn until it goes on, beyond the CLI's start",
            "s",
            beyond,
            at_most=2.0,
            anchor="from sending the first message to its first text, s",
            anchor_value=starts.median,
            ratio=beyond.median / starts.median,
        ),
        figure(f"the same, tools run twice in all of these {rounds} kills", "", again, at_most=0),
    ]


async def _kill(made: Installation, client: Client, file: Path) -> tuple[float, float]:
    """Seconds from the kill to the first text after it, and from sending to the first text before it.

    Returns when the turn has ended, so that a tool that runs twice has left its line.
    """
    command = {"command": f"echo ran >> {file}", "description": "leave a line"}
    answer = {"words": 80, "delta_ms": 50}
    async with session_of(made, client, allow=("Bash",)) as session:
        stream = client.stream(session)
        sent = time.monotonic()
        prompt = scripted("long", {"text": "first", "tool": {"name": "Bash", "input": command}}, answer)
        await send(client, session, prompt)
        first = killed = again = 0.0
        crashed = False
        async for news in stream:
            text = isinstance(news, Increment) or (isinstance(news, Durable) and news.event["kind"] == "assistant")
            if text and not first:
                first = time.monotonic() - sent
            elif isinstance(news, Increment) and not killed and news.offset > 40:
                summaries = (await client.request(GetStatus()))["sessions"]
                [pid] = [s["claude_pid"] for s in summaries if s["id"] == session]
                os.kill(pid, signal.SIGKILL)
                killed = time.monotonic()
            elif isinstance(news, Durable) and news.event["kind"] == "status" and killed:
                crashed = crashed or news.event["state"] == "BACKING_OFF"
            elif isinstance(news, Increment) and crashed and not again:
                again = time.monotonic() - killed
            elif isinstance(news, Durable) and news.event["kind"] == "turn_ended" and again:
                break
        await stream.aclose()
        return again, first
