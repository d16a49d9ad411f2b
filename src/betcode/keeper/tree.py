"""The processes of a run: found by their parents and by the mark in their environment, ended for good.

A tool runs in a session of its own and may outlive claude; a double-forked one has another parent. On Linux
both kinds are found, since orphans come to the keeper (child-subreaper) and the mark is inherited. On macOS the
environment of others cannot be read, so an orphan that has left its parent escapes.
"""

from __future__ import annotations

import os
import sys
import time

from betcode.keeper.bare import signals
from betcode.keeper.limits import KILL_ROUND_S, KILL_ROUNDS_MAX

MARK_NAME = "SESSION_KEEPER_MARK"


class Process:
    """One line of the process table; `start` (kernel ticks, None off Linux) tells a pid from its next owner."""

    __slots__ = ("parent", "pid", "start")

    def __init__(self, pid: int, parent: int, start: int | None) -> None:
        self.pid = pid
        self.parent = parent
        self.start = start


def start_ticks(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot; None if it is gone, a zombie, or this is not Linux."""
    process = read_stat(pid)
    return process.start if process else None


def read_stat(pid: int) -> Process | None:
    """A line of the process table (Linux); None if the process is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # the name before it may hold anything
    except OSError:
        return None
    if not fields or fields[0] in b"ZX":
        return None
    return Process(pid, int(fields[1]), int(fields[19]))


def processes() -> dict[int, Process]:
    """All processes that run or could run; zombies are none."""
    if sys.platform != "linux":
        return _processes_by_ps()
    table = {}
    for name in os.listdir("/proc"):
        if name.isdecimal() and (process := read_stat(int(name))) is not None:
            table[process.pid] = process
    return table


def _processes_by_ps() -> dict[int, Process]:
    with os.popen("ps -axo pid=,ppid=,stat=") as output:  # noqa: S605 - a fixed command of the system
        rows = [line.split() for line in output]
    return {int(row[0]): Process(int(row[0]), int(row[1]), None) for row in rows if len(row) > 2 and row[2][0] != "Z"}


def has_mark(pid: int, mark: str) -> bool:
    """Whether the process was started with this mark. False if it cannot be known (another user's, macOS)."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environ = file.read()
    except OSError:
        return False
    return b"\0%b=%b\0" % (MARK_NAME.encode(), mark.encode()) in b"\0%b\0" % environ


def find_tree(root: int, mark: str) -> list[Process]:
    """Descendants of `root` and whatever bears the mark, with their descendants; never `root` or this process."""
    table = processes()
    children: dict[int, list[int]] = {}
    for process in table.values():
        children.setdefault(process.parent, []).append(process.pid)
    wanted = [root, *(pid for pid in table if has_mark(pid, mark))]
    found: dict[int, Process] = {}
    while wanted:
        pid = wanted.pop()
        if pid in table and pid not in found:
            found[pid] = table[pid]
        wanted += children.pop(pid, [])
    return [process for process in found.values() if process.pid not in (root, os.getpid())]


def kill(process: Process, signal: int) -> bool:
    """Signal exactly this process; False if it is gone, or its number belongs to another one by now."""
    try:
        if process.start is None or not hasattr(os, "pidfd_open"):
            os.kill(process.pid, signal)
            return True
        fd = os.pidfd_open(process.pid)
        try:
            if start_ticks(process.pid) != process.start:
                return False
            signals.pidfd_send_signal(fd, signal)
            return True
        finally:
            os.close(fd)
    except (ProcessLookupError, PermissionError):
        return False  # gone, or a set-uid program of another user: not ours to end


def kill_tree(root: int, mark: str) -> list[int]:
    """SIGKILL everything that `find_tree` finds, again and again until nothing new appears. Pids that were hit.

    Blocks for at most KILL_ROUNDS_MAX rounds (a scan of the process table each). `root` itself is spared.
    """
    hit: list[int] = []
    for _ in range(KILL_ROUNDS_MAX):
        found = find_tree(root, mark)
        if not found:
            break
        hit += [process.pid for process in found if kill(process, signals.SIGKILL) and process.pid not in hit]
        time.sleep(KILL_ROUND_S)
    return hit
