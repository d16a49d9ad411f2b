"""Looks at the process table all the time: two claudes on one conversation, and processes that nobody owns any more.

Everything of an installation is known by its home: HOME in the environment, which tools inherit, or, for keepers, whose
environment is empty, an open file below it.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from betcode.keeper.tree import Process, kill, processes
from betcode.testing.limits import CLEAN_ROUNDS_MAX, PROCESS_LOOK_S

_CONVERSATION = re.compile(rb"\0--(?:session-id|resume)[=\0]([0-9a-f-]{36})\0")


class ProcessWatch:
    """Samples from `__enter__` to `__exit__`, in a thread of its own."""

    def __init__(self, home: Path, claude: Path, *, spared: int) -> None:
        """`home` of the installation; `claude`: the program as on its command line; `spared`: a pid to leave out."""
        self._home = home
        self._claude = os.fsencode(claude)
        self._spared = (os.getpid(), spared)
        self._known: dict[tuple[int, int | None], str] = {}
        """(pid, start) -> the conversation of this claude, "" for everything else."""
        self._mark = b"\0HOME=%b\0" % os.fsencode(home)
        self._own: set[str] = set()
        """Conversations of this installation; others run claude at the same time."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="process watch", daemon=True)
        self.doubles: set[str] = set()
        """Conversations with two living claudes at the same time, with their pids."""
        self.samples = 0
        self.most = 0
        """The most conversations of this installation with a living claude at the same time."""
        self.claudes: set[int] = set()
        """Pids of all that were seen."""

    def __enter__(self) -> ProcessWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(PROCESS_LOOK_S):
            self.look()

    def look(self) -> None:
        """Take one sample."""
        table = processes()
        living: dict[str, list[Process]] = {}
        for process in table.values():
            key = (process.pid, process.start)
            if key not in self._known:
                self._known[key] = self._conversation(process.pid)
                if self._known[key] and self._mark in _environment(process.pid):
                    self._own.add(self._known[key])
            if conversation := self._known[key]:
                living.setdefault(conversation, []).append(process)
        self.samples += 1
        self.most = max(self.most, len(self._own & living.keys()))
        for conversation, found in living.items():
            self.claudes.update(p.pid for p in found)
            pids = {p.pid for p in found}
            apart = [p for p in found if p.parent not in pids]  # a fork of claude bears its name until it executes
            if (
                conversation in self._own and len(apart) > 1 and all(arguments(p.pid) for p in apart)
            ):  # one that is ending has none left
                self.doubles.add(f"{conversation}: pids {sorted(p.pid for p in apart)}")

    def _conversation(self, pid: int) -> str:
        line = arguments(pid)
        if not line.startswith(self._claude + b"\0"):
            return ""
        found = _CONVERSATION.search(line)
        return found[1].decode() if found else ""

    def belonging(self) -> list[Process]:
        """All processes of the installation that live now, this one left out."""
        below = f"{self._home}/"
        found = []
        for process in processes().values():
            if process.pid not in self._spared and (
                self._mark in _environment(process.pid) or _holds_file(process.pid, below)
            ):
                found.append(process)
        return found

    def strangers(self, owned: Iterable[int]) -> list[str]:
        """Processes of the installation that are neither in `owned` nor below one of these, in words."""
        found = self.belonging()
        parents = {p.pid: p.parent for p in found}
        mine = set(owned)

        def is_owned(pid: int) -> bool:
            while pid in parents and pid not in mine:
                pid = parents[pid]
            return pid in mine

        return [f"{p.pid}: {_shown(p.pid)}" for p in found if not is_owned(p.pid)]

    def end_all(self) -> list[str]:
        """End whatever of the installation lives. What that was, in words; by pid, each checked by its start time."""
        ended: list[str] = []
        for _ in range(CLEAN_ROUNDS_MAX):
            found = self.belonging()
            if not found:
                break
            ended += [f"{p.pid}: {_shown(p.pid)}" for p in found]
            for process in found:
                kill(process, signal.SIGKILL)
            time.sleep(PROCESS_LOOK_S)
        return ended


def arguments(pid: int) -> bytes:
    """Command line of a process, a NUL after each argument; empty for one that is ending or gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _shown(pid: int) -> str:
    return arguments(pid).replace(b"\0", b" ").decode("utf-8", "replace")[:120]


def _environment(pid: int) -> bytes:
    try:
        return b"\0" + Path(f"/proc/{pid}/environ").read_bytes() + b"\0"
    except OSError:
        return b""


def _holds_file(pid: int, below: str) -> bool:
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False
    for name in names:
        try:
            if os.readlink(f"/proc/{pid}/fd/{name}").startswith(below):
                return True
        except OSError:
            continue
    return False
