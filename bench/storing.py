"""Rows of the database: acknowledgement, attaching to a long session, starting with a large file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
import uuid
from pathlib import Path
from random import Random

from bench.figures import Figure, Samples, figure, percentile
from bench.setting import flooded, progress, send, wish
from betcode.adapters.sqlite.store import SqliteStore
from betcode.client.session_view import Durable
from betcode.model import limits
from betcode.model.frames import Clear, Send
from betcode.model.rows import Transaction
from betcode.testing.installation import Installation, session_of
from betcode.testing.sample_rows import event_row, session_row

SESSION = "aaaaaaaaaa"
WAITING = 50
"""Messages sent to a busy session before they are withdrawn again."""


def acknowledgement(pairs: int) -> list[Figure]:
    """From sending a message to the reply that it is stored, while another session prints 1,000 deltas a second."""
    middle, tails, syncs, hops = Samples(), Samples(), Samples(), Samples()

    async def measure() -> None:
        with flooded() as made:
            async with made.client() as client, session_of(made, client) as noisy, session_of(made, client) as session:
                await send(client, noisy, wish(1000 * (5 + 3 * pairs), 1000))
                await send(client, session, wish(100_000, 10))
                for number in range(pairs):
                    progress(f"acknowledgement, round {number + 1} of {pairs}")
                    syncs.add(1000 * await asyncio.to_thread(_sync_s, made.home / "anchor"))
                    hops.add(1000 * await _hand_over_s())
                    took = []
                    for _ in range(WAITING):
                        begun = time.perf_counter()
                        await client.request(Send(session=session, key=str(uuid.uuid4()), text="later"))
                        took.append(1000 * (time.perf_counter() - begun))
                    await client.request(Clear(session=session))
                    middle.add(percentile(took, 0.5))
                    tails.add(percentile(took, 0.99))

    asyncio.run(measure())
    return [
        figure(
            "durable acknowledgement of a message under load, p50",
            "ms",
            middle,
            at_most=2.0,
            anchor="append of 4 KiB and fdatasync, ms",
            anchor_value=syncs.median,
            ratio=middle.median / syncs.median,
            remark=f"Handing over to a thread and back takes {hops.median:.2g} ms here, and it happens three times: for"
            " the key, for others at work on the conversation, and for the writing.",
        ),
        figure("the same, p99", "ms", tails, at_most=20.0),
    ]


async def _hand_over_s() -> float:
    """Seconds from this thread to another one and back, the middle of 20."""
    took = []
    for _ in range(20):
        begun = time.perf_counter()
        await asyncio.to_thread(int)
        took.append(time.perf_counter() - begun)
    return percentile(took, 0.5)


def _sync_s(path: Path) -> float:
    """Seconds of one append of 4 KiB with fdatasync, the middle of 20."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        took = []
        for _ in range(20):
            begun = time.perf_counter()
            os.write(fd, b"x" * 4096)
            os.fdatasync(fd) if hasattr(os, "fdatasync") else os.fsync(fd)
            took.append(time.perf_counter() - begun)
        return percentile(took, 0.5)
    finally:
        os.close(fd)


async def _fill(made: Installation, events: int, size: int) -> None:
    """A database with one session of so many events of `size` bytes each."""
    made.paths.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = await SqliteStore.open(made.paths.database, rng=Random(1))
    row = session_row(SESSION, directory=str(made.project), state="IDLE")
    await store.commit(Transaction(session=row, creates=True))
    step = max(1, min(5_000, 20_000_000 // size))
    for first in range(1, events + 1, step):
        last = min(events, first + step - 1)
        batch = tuple(event_row(SESSION, seq, size=size) for seq in range(first, last + 1))
        row = session_row(SESSION, directory=str(made.project), state="IDLE", seq=last)
        await store.commit(Transaction(session=row, events=batch))
    await store.close()


def attaching(pairs: int) -> list[Figure]:
    """From attaching near the end of a session of 100,000 events to its last 50 events."""
    first, anchor = Samples(), Samples()

    async def measure() -> None:
        with flooded() as made:
            progress("attach: storing 100,000 events")
            await _fill(made, 100_000, 200)
            async with made.client():
                pass
            for _ in range(pairs):
                anchor.add(1000 * await asyncio.to_thread(_scan_s, made.paths.database))
                async with made.client() as client:
                    begun = time.perf_counter()
                    got = 0
                    async for news in client.stream(SESSION, epoch=1, seq=100_000 - 50):
                        got += isinstance(news, Durable)
                        if got == 50:
                            break
                    first.add(1000 * (time.perf_counter() - begun))

    asyncio.run(measure())
    return [
        figure(
            "attach to a session of 100,000 events, first screen",
            "ms",
            first,
            at_most=100,
            anchor="10,000 rows read from the file, ms",
            anchor_value=anchor.median,
            ratio=first.median / anchor.median,
        )
    ]


def _scan_s(path: Path) -> float:
    """Seconds for reading the last 10,000 events with nothing but SQLite."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        begun = time.perf_counter()
        found = connection.execute(
            "SELECT seq, body FROM events WHERE session = ? AND epoch = 1 AND seq BETWEEN 90001 AND 100000", (SESSION,)
        )
        assert len(found.fetchall()) == 10_000
        return time.perf_counter() - begun


GIGABYTES = 1.0


def large_start(pairs: int) -> list[Figure]:
    """Start of the daemon with a database of a gigabyte and with an empty one, until it answers."""
    large, empty, checks = Samples(), Samples(), Samples()

    async def measure() -> None:
        with flooded() as full, flooded() as fresh:
            progress(f"start with a database of {GIGABYTES:g} GB: filling it")
            await _fill(full, int(GIGABYTES * 1e9 / 64_000), 64_000)
            for number in range(pairs):
                progress(f"start with a large database, pair {number + 1} of {pairs}")
                for made, samples in ((fresh, empty), (full, large)):
                    begun = time.perf_counter()
                    await made.start_daemon()
                    samples.add(time.perf_counter() - begun)
                    made.kill_daemon()
            for _ in range(3):
                checks.add(await asyncio.to_thread(_check_s, full.paths.database))

    asyncio.run(measure())
    return [
        figure(
            f"start with a database of {GIGABYTES:g} GB until it answers (a large one is not checked yet)",
            "s",
            large,
            at_most=0.5,
            anchor="start with an empty one, s",
            anchor_value=empty.median,
            ratio=large.median / empty.median,
            note=f"Above {limits.QUICK_CHECK_BYTES_MAX >> 20} MiB the start runs no `quick_check`, at no time: the one"
            f" in the background is not built yet. On this file it takes {checks.median:.2g} s by itself, so the figure"
            " says that such a start is quick, not that the file was found sound.",
        )
    ]


def _check_s(path: Path) -> float:
    """Seconds of a `quick_check` with nothing but SQLite."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        begun = time.perf_counter()
        assert connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
        return time.perf_counter() - begun
