"""Rows of the way from claude to clients: latency, bursts, fifty clients, ingest."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import msgspec
import psutil

from bench.bare_relay import relayed
from bench.figures import Figure, Samples, figure, percentile
from bench.raw_socket import Fanned, fanned
from bench.setting import FLOOD, Watcher, cpu_s, daemon_of, direct, flooded, progress, send, watched, wish
from betcode.client.client import Client
from betcode.testing.installation import until

CLIENTS = 50
TURN_S = 300.0
"""The longest that one turn may take."""


def latency(pairs: int) -> list[Figure]:
    """100 deltas a second, one client, in turns with the pipe itself and with bare relays; ages in ms."""
    added, tails, pipes, hops, bare_tails, work = (Samples() for _ in range(6))
    count = 100

    async def measure() -> None:
        with flooded() as made:
            async with made.client() as client, watched(made, client, 1, turns=pairs + 1) as (session, [watcher]):
                await _turn(client, session, watcher, 20, 100)
                [run] = made.runs()
                ours = [psutil.Process(run["keeper_pid"]), daemon_of(made), psutil.Process()]
                for number in range(pairs):
                    progress(f"latency, pair {number + 1} of {pairs}")
                    plain, _ = await asyncio.to_thread(direct, count, 100)
                    watcher.ages_s.clear()
                    before = [cpu_s(process) for process in ours]
                    await _turn(client, session, watcher, count, 100)
                    used = sum(cpu_s(process) for process in ours) - sum(before)
                    bare = await relayed(made.home, 1, count, 100)
                    work.add(1000 * used / count)
                    pipes.add(1000 * median(plain))
                    added.add(1000 * (median(watcher.ages_s) - median(plain)))
                    hops.add(1000 * (median(bare.ages_s) - median(plain)))
                    tails.add(percentile(watcher.ages_s, 0.99) / percentile(plain, 0.99))
                    bare_tails.add(percentile(bare.ages_s, 0.99) / percentile(plain, 0.99))

    asyncio.run(measure())
    return [
        figure(
            "added latency, 100 deltas/s, one client, p50",
            "ms",
            added,
            at_most=0.3,
            anchor="bare relays in place of keeper and daemon add, ms",
            anchor_value=hops.median,
            ratio=added.median / hops.median,
            remark=f"The relays, with nothing of ours, add {hops.median:.2g} ms; the pipe alone takes"
            f" {pipes.median:.2g} ms. Keeper, daemon and client use {work.median:.2g} ms of processor time for a delta,"
            " some of it after it was sent.",
        ),
        figure(
            "the same, p99 by that of the pipe",
            "x",
            tails,
            at_most=1.0,
            anchor="bare relays by the pipe",
            anchor_value=bare_tails.median,
            ratio=tails.median / bare_tails.median,
            remark=f"The bare relays' is {bare_tails.median:.2g} times that of the pipe.",
        ),
    ]


async def _turn(client: Client, session: str, watcher: Watcher, count: int, hz: float, *, ready: bool = False) -> float:
    """One turn, to its end. Returns the seconds that it took from sending the message on."""
    before, begun = watcher.ended_s, time.monotonic()
    await send(client, session, wish(count, hz, ready=ready))
    await until(lambda: watcher.ended_after(before), within_s=TURN_S, what="the end of the turn")
    return watcher.ended_s - begun


def burst(pairs: int) -> list[Figure]:
    """2,000 deltas as fast as they come, one client: deltas a second by those of the pipe."""
    ratios, ways, rates, empty = Samples(), Samples(), Samples(), Samples()

    async def measure() -> None:
        with flooded() as made:
            async with made.client() as client, watched(made, client, 1, turns=2 * pairs + 1) as (session, [watcher]):
                await _turn(client, session, watcher, 20, 0)
                for number in range(pairs):
                    progress(f"burst, pair {number + 1} of {pairs}")
                    before = await asyncio.to_thread(direct, 2000, 0)
                    took = await _turn(client, session, watcher, 2000, 0)
                    alone = await _turn(client, session, watcher, 1, 0)
                    after = await asyncio.to_thread(direct, 2000, 0)
                    start_s = (await asyncio.to_thread(direct, 1, 0))[1]
                    pipe = max(1e-4, (before[1] + after[1]) / 2 - start_s)
                    rates.add(2000 / took)
                    ratios.add(pipe / took)
                    ways.add(pipe / max(1e-4, took - alone))
                    empty.add(1000 * alone)

    asyncio.run(measure())
    ways_name = "the same, less a turn of one delta (acknowledgement, commits)"
    return [
        figure(
            "burst of 2,000 deltas, one client, by the pipe",
            "x",
            ratios,
            at_least=0.95,
            anchor="pipe alone",
            ratio=ratios.median,
            remark=f"A turn of one delta takes {empty.median:.2g} ms; without it the way itself has {ways.median:.2f}"
            " of the pipe's speed.",
        ),
        figure(ways_name, "x", ways, anchor="a turn of one delta, ms", anchor_value=empty.median),
        figure("the same, deltas a second to the durable end of the turn", "1/s", rates),
    ]


STEADY, BURST = (300, 100), (2000, 0)
"""Count and deltas a second of the two turns with fifty clients."""


def fifty(pairs: int) -> list[Figure]:
    """Fifty clients in one process, which look at frames and do not read them: 100 deltas a second, then a burst.

    Each in turns with raw sockets, and with bare relays and the WebSocket library.
    """
    bare: dict[tuple[int, int], list[Fanned]] = {STEADY: [], BURST: []}
    own: dict[tuple[int, int], list[Fanned]] = {STEADY: [], BURST: []}
    raw: dict[tuple[int, int], list[Fanned]] = {STEADY: [], BURST: []}

    async def measure() -> None:
        with flooded() as made:
            async with (
                made.client() as client,
                watched(made, client, CLIENTS, turns=2 * pairs + 1, raw=True) as (session, watchers),
            ):
                await _turns(client, session, watchers, 20, 0)
                daemon = daemon_of(made)
                for number in range(pairs):
                    progress(f"fifty clients, round {number + 1} of {pairs}")
                    for count, hz in (STEADY, BURST):
                        own[count, hz].append(await _measured(client, session, watchers, daemon, count, hz))
                        raw[count, hz].append(await fanned(made.home, CLIENTS, count, hz))
                        bare[count, hz].append(await relayed(made.home, CLIENTS, count, hz))

    asyncio.run(measure())

    def beside(name: str, unit: str, turn: tuple[int, int], value: Callable[[Fanned], float], **limit: float) -> Figure:
        mine, anchor = Samples([value(f) for f in own[turn]]), Samples([value(f) for f in raw[turn]])
        relays = Samples([value(f) for f in bare[turn]]).median
        return figure(
            name,
            unit,
            mine,
            anchor=f"raw sockets, {unit}",
            anchor_value=anchor.median,
            ratio=mine.median / anchor.median,
            remark=f"Bare relays and the WebSocket library, with nothing of ours: {relays:.3g} {unit}.",
            **limit,
        )

    return [
        beside("50 clients, 100 deltas/s, p50", "ms", STEADY, lambda f: 1000 * median(f.ages_s), at_most=2.0),
        beside("50 clients, 100 deltas/s, p99", "ms", STEADY, _p99_ms, at_most=5.0),
        beside("50 clients, 100 deltas/s, daemon's CPU per 10,000 delivered", "s", STEADY, _cost_s, at_most=0.2),
        beside(
            "50 clients, burst of 2,000, deltas represented",
            "1/s",
            BURST,
            lambda f: len(f.ages_s) / f.took_s,
            at_least=120_000,
        ),
        beside("50 clients, burst of 2,000, age of the text, p99", "ms", BURST, _p99_ms, at_most=100),
        beside("50 clients, burst of 2,000, daemon's CPU per 10,000", "s", BURST, _cost_s, at_most=0.05),
    ]


def _p99_ms(run: Fanned) -> float:
    return 1000 * percentile(run.ages_s, 0.99)


def _cost_s(run: Fanned) -> float:
    """Processor seconds of the writing process for 10,000 deltas at a client."""
    return run.used_s * 10_000 / len(run.ages_s)


async def _turns(client: Client, session: str, watchers: list[Watcher], count: int, hz: float) -> None:
    """One turn, to its end at each watcher."""
    before = [w.ended_s for w in watchers]
    await send(client, session, wish(count, hz))
    seen = list(zip(watchers, before, strict=True))
    await until(lambda: all(w.ended_after(b) for w, b in seen), within_s=TURN_S, what="the end of the turn everywhere")


async def _measured(
    client: Client, session: str, watchers: list[Watcher], daemon: psutil.Process, count: int, hz: float
) -> Fanned:
    """One turn: ages at all clients, the daemon's processor seconds, and seconds in all."""
    for watcher in watchers:
        watcher.ages_s.clear()
    used = cpu_s(daemon)
    begun = time.monotonic()
    await _turns(client, session, watchers, count, hz)
    took = max(w.ended_s for w in watchers) - begun
    return Fanned([age for w in watchers for age in w.ages_s], cpu_s(daemon) - used, took)


def ingest(pairs: int) -> list[Figure]:
    """One noisy session: lines a second from claude to the stored end of the turn, while one client looks on."""
    rates, pipes, rows = Samples(), Samples(), Samples()
    count = 60_000

    async def measure() -> None:
        with flooded() as made:
            lines = made.home / "lines"
            await asyncio.to_thread(_print_to, lines, count)
            async with made.client() as client, watched(made, client, 1, turns=pairs + 1) as (session, [watcher]):
                await _turn(client, session, watcher, 20, 0)
                for number in range(pairs):
                    progress(f"ingest, pair {number + 1} of {pairs}")
                    pipes.add(await asyncio.to_thread(_piped_per_s, lines))
                    rows.add(await asyncio.to_thread(_rows_per_s, made.home / "rows.db"))
                    await _turn(client, session, watcher, count, 0, ready=True)
                    rates.add(count / (watcher.ended_s - watcher.printed_s))

    asyncio.run(measure())
    return [
        figure(
            "ingest of one noisy session, durable",
            "lines/s",
            rates,
            at_least=50_000,
            anchor="the same lines through a pipe and decoded, lines/s",
            anchor_value=pipes.median,
            ratio=rates.median / pipes.median,
            remark="Durable in the keeper's journal, and the turn in the database. SQLite alone stores"
            f" {rows.median:.3g} rows/s of 200 bytes here; deltas make no rows, the answer makes one.",
        )
    ]


def _print_to(path: Path, count: int) -> None:
    """The lines of so many deltas into a file."""
    with path.open("wb") as file:
        subprocess.run([sys.executable, "-I", "-S", str(FLOOD), "direct", wish(count, 0)], stdout=file, check=True)


def _piped_per_s(lines: Path) -> float:
    """Lines a second of this file through a pipe, each read as JSON."""
    begun, count = time.monotonic(), 0
    with subprocess.Popen(["cat", str(lines)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            msgspec.json.decode(line)
            count += 1
    return count / (time.monotonic() - begun)


def _rows_per_s(path: Path) -> float:
    """Rows a second that SQLite stores, 1,000 in each transaction, durable."""
    count, body = 20_000, b"x" * 200
    path.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("PRAGMA synchronous = full")
        connection.execute("CREATE TABLE rows (seq INTEGER PRIMARY KEY, body BLOB)")
        begun = time.monotonic()
        for first in range(0, count, 1000):
            connection.execute("BEGIN")
            connection.executemany("INSERT INTO rows VALUES (?, ?)", [(first + n, body) for n in range(1000)])
            connection.execute("COMMIT")
        return count / (time.monotonic() - begun)
