"""Rows of single processes: how fast they start and how much memory they hold."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from bench.figures import Figure, Samples, figure
from bench.setting import daemon_of, flooded, progress, run_s
from betcode.testing.keeper_process import KeeperProcess

MIB = 1024 * 1024


def daemon(pairs: int) -> list[Figure]:
    """The daemon: ready, memory when idle, memory with 50 clients."""
    ready, anchor, idle, busy, plain = Samples(), Samples(), Samples(), Samples(), Samples()

    async def measure() -> None:
        with flooded() as made:
            for number in range(pairs):
                progress(f"daemon, round {number + 1} of {pairs}")
                anchor.add(run_s([sys.executable, "-c", "import asyncio"]))
                plain.add(_memory_of("import asyncio"))
                begun = time.perf_counter()
                await made.start_daemon()
                ready.add(time.perf_counter() - begun)
                idle.add(daemon_of(made).memory_info().rss / MIB)
                async with contextlib.AsyncExitStack() as stack:
                    for seed in range(50):
                        await stack.enter_async_context(made.client(seed=seed))
                    busy.add(daemon_of(made).memory_info().rss / MIB)
                made.kill_daemon()

    asyncio.run(measure())
    return [
        figure(
            "daemon ready",
            "s",
            ready,
            at_most=0.3,
            anchor="python -c 'import asyncio', s",
            anchor_value=anchor.median,
            ratio=ready.median / anchor.median,
        ),
        figure(
            "daemon, memory when idle",
            "MiB",
            idle,
            at_most=40,
            anchor="import asyncio, MiB",
            anchor_value=plain.median,
            ratio=idle.median / plain.median,
        ),
        figure("daemon, memory with 50 clients", "MiB", busy, at_most=55),
    ]


def keeper(pairs: int) -> list[Figure]:
    """A keeper beside a bare Python: start to claude's start, and memory."""
    starts, bare, ratios, memory, plain = Samples(), Samples(), Samples(), Samples(), Samples()
    for number in range(pairs):
        progress(f"keeper, pair {number + 1} of {pairs}")
        bare.add(run_s([sys.executable, "-I", "-S", "-c", "pass"]))
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            with KeeperProcess(Path(folder), ["/bin/cat"]) as made:
                starts.add(time.perf_counter() - begun)
                memory.add(psutil.Process(made.keeper_pid).memory_info().rss / MIB)
        ratios.add(starts.values[-1] / bare.values[-1])
        plain.add(_memory_of("pass", "-I", "-S"))
    return [
        figure("keeper, start", "s", starts, anchor="python -I -S -c pass, s", anchor_value=bare.median),
        figure(
            "keeper, start by that of a bare Python",
            "x",
            ratios,
            at_most=2.0,
            anchor="bare Python",
            ratio=ratios.median,
        ),
        figure(
            "keeper, memory",
            "MiB",
            memory,
            at_most=16,
            anchor="bare Python, MiB",
            anchor_value=plain.median,
            ratio=memory.median / plain.median,
        ),
    ]


def _memory_of(statement: str, *flags: str) -> float:
    """MiB of a Python that has done this and waits."""
    argv = [sys.executable, *flags, "-c", f"{statement}; print(flush=True); input()"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        size = psutil.Process(process.pid).memory_info().rss / MIB
        process.communicate(b"\n")
    return size


def status(pairs: int) -> list[Figure]:
    """`betcode status` beside a Python that only imports click."""
    took, anchor = Samples(), Samples()

    async def start() -> None:
        await made.start_daemon()

    with flooded() as made:
        asyncio.run(start())
        env = {**os.environ, **made.env}
        for number in range(pairs):
            progress(f"betcode status, pair {number + 1} of {pairs}")
            anchor.add(1000 * run_s([sys.executable, "-c", "import click"]))
            took.add(1000 * run_s([sys.executable, "-P", "-m", "betcode", "status", "--json"], env))
    return [
        figure(
            "betcode status",
            "ms",
            took,
            at_most=150,
            anchor="python -c 'import click', ms",
            anchor_value=anchor.median,
            ratio=took.median / anchor.median,
        )
    ]
