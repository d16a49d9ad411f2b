"""A whole BetCode in a temporary home: real daemon, real claude, scripted model; for end-to-end tests and drills."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random
from typing import Any

from betcode.client.client import Client
from betcode.client.start import start_daemon
from betcode.config.paths import Paths
from betcode.keeper.report import read_report
from betcode.keeper.tree import Process, find_tree, kill, processes
from betcode.model import limits
from betcode.model.rows import Options
from betcode.testing.claude_home import RunningModelServer, bundled_claude, clean_env, model_server

_POLL_S = 0.01
_ROUNDS = 20
"""Looks for processes that were being started while the others were ended."""


class Installation:
    """Directories, environment and model server of one test. `daemon_pids` are all that were seen."""

    def __init__(self, home: Path, model: RunningModelServer) -> None:
        """`home` exists and is empty."""
        self.home = home
        self.model = model
        self.paths = Paths(config=home / "config", data=home / "data", runtime=home / "run")
        self.recorded = home / "requests.ndjson"
        self.project = home / "project"
        self.project.mkdir()
        self.env = clean_env(home, model.url, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}") | {
            "BETCODE_CONFIG_DIR": str(self.paths.config),
            "BETCODE_DATA_DIR": str(self.paths.data),
            "BETCODE_RUNTIME_DIR": str(self.paths.runtime),
            "BETCODE_CLAUDE": str(bundled_claude()),
            "XDG_RUNTIME_DIR": str(home / "xdg"),  # so that nothing meets the systemd of whoever runs the tests
        }
        self._mark = f"BETCODE_DATA_DIR={self.paths.data}\0".encode()
        """In the environment of the daemon and of all clients."""

    async def start_daemon(self) -> None:
        """Start a daemon in the background, as a client would; returns when it answers."""
        self.paths.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        await start_daemon(
            [sys.executable, "-P", "-m", "betcode.daemon"],
            env=self.env,
            stderr_path=self.paths.stderr,
            socket_path=self.paths.socket,
        )

    def client(self, *, seed: int = 0, starts: bool = True, longest_pause_s: float = limits.RECONNECT_MAX_S) -> Client:
        """A client that comes back by itself, and starts the daemon when there is none."""
        return Client(
            self.paths.socket,
            start_daemon=self.start_daemon if starts else None,
            rng=Random(seed),
            longest_pause_s=longest_pause_s,
        )

    def options(self, **changes: Any) -> Options:
        """Options of a session that finds the tools of this machine."""
        return Options(path=self.env["PATH"], **changes)

    def daemon_pid(self) -> int | None:
        """The daemon that holds the lock now, if it lives."""
        try:
            pid = int(self.paths.lock.read_text(encoding="ascii") or "0")
        except (FileNotFoundError, ValueError):
            return None
        return pid if pid and self._mark in _environment(pid) else None  # a number may have a new owner

    def kill_daemon(self) -> int:
        """kill -9 the daemon. Returns its pid; 0 if none lived."""
        pid = self.daemon_pid()
        if pid:
            os.kill(pid, signal.SIGKILL)
        return pid or 0

    def runs(self) -> list[dict[str, Any]]:
        """What the keepers wrote when they started claude."""
        found = (read_report(str(file)) for file in self.paths.sessions.glob("*/*.run"))
        return [run for run in found if run is not None]

    def _kill_own(self) -> None:
        """End the daemon and all clients, and whatever they are starting at this moment."""
        for _ in range(_ROUNDS):
            found = [p for p in processes().values() if self._mark in _environment(p.pid) and kill(p, signal.SIGKILL)]
            if not found:
                return
            time.sleep(_POLL_S)

    def clean_up(self) -> None:
        """End everything that this installation started and that still lives, by pid and mark."""
        self._kill_own()
        for run in self.runs():
            for who in ("keeper", "claude"):
                if run[f"{who}_start"] is not None:  # else it had ended before its keeper wrote this
                    kill(Process(run[f"{who}_pid"], 0, run[f"{who}_start"]), signal.SIGKILL)
            for process in find_tree(-1, run["mark"]):
                kill(process, signal.SIGKILL)


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes() + b"\0"
    except OSError:
        return b""  # gone, or not ours


@contextlib.contextmanager
def installation(*, record: bool = False) -> Iterator[Installation]:
    """A fresh installation with its model server; ended and removed afterwards.

    `record`: every model request is written to `Installation.recorded`, a line of JSON each.
    """
    with (
        tempfile.TemporaryDirectory(prefix="betcode-test-", ignore_cleanup_errors=True) as folder,
        model_server(record=Path(folder) / "requests.ndjson" if record else None) as model,
    ):
        made = Installation(Path(folder), model)
        try:
            yield made
        finally:
            made.clean_up()


@contextlib.asynccontextmanager
async def session_of(made: Installation, client: Client, **options: Any) -> AsyncIterator[str]:
    """A new session in the installation's project; yields its id."""
    from betcode.model.frames import Create

    body = await client.request(Create(directory=str(made.project), options=made.options(**options)))
    yield str(body["session"]["id"])


async def until(condition: Any, *, within_s: float, what: str) -> None:
    """Wait for a condition (a plain function) with a deadline."""
    loop = asyncio.get_running_loop()
    end = loop.time() + within_s
    while not condition():
        if loop.time() >= end:
            raise AssertionError(f"{what} did not come within {within_s} s")
        await asyncio.sleep(_POLL_S)


def scripted(text: str, *steps: dict[str, Any], **top: Any) -> str:
    """A prompt that carries the model's script."""
    return f"{text} @script {json.dumps({'steps': list(steps)} | top)}"


def words(count: int) -> str:
    """What the model answers to {"words": count}."""
    return " ".join(f"w{i}" for i in range(count))
