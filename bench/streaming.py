"""Rows of the way from claude to clients: latency, bursts, fifty clients, ingest."""

from __future__ import annotations

import asyncio
import time
from statistics import median

import psutil

from bench.figures import Figure, Samples, figure, percentile
from bench.setting import Watcher, cpu_s, daemon_of, direct, flooded, progress, send, watched, wish
from betcode.client.client import Client
from betcode.testing.installation import until

CLIENTS = 50
TURN_S = 300.0
"""The longest that one turn may take."""


def latency(pairs: int) -> list[Figure]:
    """100 deltas a second, one client, in interleaved pairs with the pipe itself; ages in ms."""
    added, tails, pipes = Samples(), Samples(), Samples()

    async def measure() -> None:
        with flooded() as made:
            async with made.client() as client, watched(made, client, 1, turns=pairs + 1) as (session, [watcher]):
                await _turn(client, session, watcher, 20, 100)
                for number in range(pairs):
                    progress(f"latency, pair {number + 1} of {pairs}")
                    plain, _ = await asyncio.to_thread(direct, 100, 100)
                    watcher.ages_s.clear()
                    await _turn(client, session, watcher, 100, 100)
                    pipes.add(1000 * median(plain))
                    added.add(1000 * (median(watcher.ages_s) - median(plain)))
                    tails.add(1000 * percentile(watcher.ages_s, 0.99) / (1000 * percentile(plain, 0.99)))

    asyncio.run(measure())
    return [
        figure(
            "added latency, 100 deltas/s, one client, p50",
            "ms",
            added,
            at_most=0.3,
            anchor="pipe alone, p50 ms",
            anchor_value=pipes.median,
        ),
        figure(
            "the same, p99 by that of the pipe", "x", tails, at_most=1.0, anchor="pipe alone, p99", ratio=tails.median
        ),
    ]


async def _turn(client: Client, session: str, watcher: Watcher, count: int, hz: float) -> None:
    """One turn, to its end."""
    before = watcher.ended_s
    await send(client, session, wish(count, hz))
    await until(lambda: watcher.ended_s != before, within_s=TURN_S, what="the end of the turn")


def burst(pairs: int) -> list[Figure]:
    """2,000 deltas as fast as they come, one client: deltas a second by those of the pipe."""
    ratios, rates = Samples(), Samples()

    async def measure() -> None:
        with flooded() as made:
            async with made.client() as client, watched(made, client, 1, turns=pairs + 1) as (session, [watcher]):
                await _turn(client, session, watcher, 20, 0)
                for number in range(pairs):
                    progress(f"burst, pair {number + 1} of {pairs}")
                    plain, _ = await asyncio.to_thread(direct, 2000, 0)
                    watcher.ages_s.clear()
                    begun = time.monotonic()
                    await _turn(client, session, watcher, 2000, 0)
                    took = watcher.ended_s - begun
                    whole = await asyncio.to_thread(direct, 2000, 0)
                    start_s = (await asyncio.to_thread(direct, 1, 0))[1]
                    rates.add(2000 / took)
                    ratios.add(max(1e-4, whole[1] - start_s) / took)
                    del plain

    asyncio.run(measure())
    return [
        figure(
            "burst of 2,000 deltas, one client, by the pipe",
            "x",
            ratios,
            at_least=0.95,
            anchor="pipe alone",
            ratio=ratios.median,
        ),
        figure("the same, deltas a second to the durable end of the turn", "1/s", rates),
    ]


def fifty(pairs: int) -> list[Figure]:
    """Fifty clients in one process, which look at frames and do not read them: 100 deltas a second, then a burst."""
    middle, tails, cost = Samples(), Samples(), Samples()
    rate, stale, burst_cost = Samples(), Samples(), Samples()

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
                    ages, used, _ = await _measured(client, session, watchers, daemon, 300, 100)
                    middle.add(1000 * median(ages))
                    tails.add(1000 * percentile(ages, 0.99))
                    cost.add(used * 10_000 / (300 * CLIENTS))
                    ages, used, took = await _measured(client, session, watchers, daemon, 2000, 0)
                    rate.add(2000 * CLIENTS / took)
                    stale.add(1000 * percentile(ages, 0.99))
                    burst_cost.add(used * 10_000 / (2000 * CLIENTS))

    asyncio.run(measure())
    return [
        figure("50 clients, 100 deltas/s, p50", "ms", middle, at_most=2.0),
        figure("50 clients, 100 deltas/s, p99", "ms", tails, at_most=5.0),
        figure("50 clients, 100 deltas/s, daemon's CPU per 10,000 delivered", "s", cost, at_most=0.2),
        figure("50 clients, burst of 2,000, deltas represented", "1/s", rate, at_least=120_000),
        figure("50 clients, burst of 2,000, age of the text, p99", "ms", stale, at_most=100),
        figure("50 clients, burst of 2,000, daemon's CPU per 10,000", "s", burst_cost, at_most=0.05),
    ]


async def _turns(client: Client, session: str, watchers: list[Watcher], count: int, hz: float) -> None:
    """One turn, to its end at each watcher."""
    before = [w.ended_s for w in watchers]
    await send(client, session, wish(count, hz))
    seen = list(zip(watchers, before, strict=True))
    await until(lambda: all(w.ended_s != b for w, b in seen), within_s=TURN_S, what="the end of the turn everywhere")


async def _measured(
    client: Client, session: str, watchers: list[Watcher], daemon: psutil.Process, count: int, hz: float
) -> tuple[list[float], float, float]:
    """Ages of all deltas at all clients, the daemon's CPU seconds, and seconds in all."""
    for watcher in watchers:
        watcher.ages_s.clear()
    used = cpu_s(daemon)
    begun = time.monotonic()
    await _turns(client, session, watchers, count, hz)
    took = max(w.ended_s for w in watchers) - begun
    return [age for w in watchers for age in w.ages_s], cpu_s(daemon) - used, took


def ingest(pairs: int) -> list[Figure]:
    """One noisy session: lines a second from claude to the stored end of the turn, while one client looks on."""
    rates, pipes = Samples(), Samples()
    count = 60_000

    async def measure() -> None:
        with flooded() as made:
            async with made.client() as client, watched(made, client, 1, turns=pairs + 1) as (session, [watcher]):
                await _turn(client, session, watcher, 20, 0)
                for number in range(pairs):
                    progress(f"ingest, pair {number + 1} of {pairs}")
                    _, whole = await asyncio.to_thread(direct, count, 0)
                    pipes.add(count / whole)
                    begun = time.monotonic()
                    await _turn(client, session, watcher, count, 0)
                    rates.add(count / (watcher.ended_s - begun))

    asyncio.run(measure())
    return [
        figure(
            "ingest of one noisy session, durable",
            "lines/s",
            rates,
            at_least=50_000,
            anchor="flood's pipe read and decoded alone, lines/s",
            anchor_value=pipes.median,
            ratio=rates.median / pipes.median,
        )
    ]
