"""Which processes belong to a run, and how much memory each of them uses, at a cost that can be paid each second.

The keeper is the child-subreaper, so all that claude starts stays below it. A look lists /proc and reads the parents
of new numbers only: 0.1 ms with 100 processes on the machine, where reading all takes 2 ms; and 0.05 ms for each
process of the run. On macOS it is one call of `ps`.
"""

from __future__ import annotations

import os
import sys

from betcode.keeper.limits import CENSUS_S, PROCESS_NAME_CHARS_MAX
from betcode.keeper.memory import Used
from betcode.keeper.tree import read_stat


class Census:
    """The processes below `root`, without `root` itself."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._others: set[int] = set()
        self._forget_at = 0.0

    def members(self, now: float) -> list[int]:
        """Their pids. `now`: seconds on the monotonic clock."""
        if now >= self._forget_at:  # a number may have a new owner
            self._others.clear()
            self._forget_at = now + CENSUS_S
        parents = {}
        for name in os.listdir("/proc"):
            if name.isdecimal() and (pid := int(name)) not in self._others:
                process = read_stat(pid)
                if process is not None:
                    parents[pid] = process.parent
        ours = {self._root}
        for pid in parents:
            line: list[int] = []
            above = pid
            while above in parents and above not in ours and above not in line:
                line.append(above)
                above = parents[above]
            if above in ours:
                ours.update(line)
            elif above in self._others or above <= 1:
                self._others.update(line)  # else its parent has just ended: the next look will tell
        ours.discard(self._root)
        return list(ours)

    def used(self, now: float, *, exactly: bool = False) -> list[Used]:
        """Memory of each. `exactly`: what several processes share is divided among them (Linux; 5 ms for claude)."""
        if sys.platform != "linux":
            return self._used_by_ps()
        found = (memory_of(pid, exactly=exactly) for pid in self.members(now))
        return [used for used in found if used is not None]

    def _used_by_ps(self) -> list[Used]:
        with os.popen("ps -axo pid=,ppid=,rss=,ucomm=") as output:  # noqa: S605 - a fixed command of the system
            rows = [line.split(None, 3) for line in output]
        children: dict[int, list[Used]] = {}
        for row in rows:
            if len(row) == 4:
                used = Used(int(row[0]), plain(row[3]), int(row[2]) * 1024)
                children.setdefault(int(row[1]), []).append(used)
        found = []
        wanted = [self._root]
        while wanted:
            below = children.pop(wanted.pop(), [])
            found += below
            wanted += [used.pid for used in below]
        return found


def memory_of(pid: int, *, exactly: bool = False) -> Used | None:
    """One process; None if it has ended."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            status = file.read()
        size = kib(status, b"\nVmRSS:") + kib(status, b"\nVmSwap:")
        if exactly:
            with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
                rollup = file.read()
            size = kib(rollup, b"\nPss:") + kib(rollup, b"\nSwapPss:")
    except FileNotFoundError:
        return None
    except OSError:
        if not exactly:
            return None
        return memory_of(pid)  # of another user, or ending: the larger number will do
    name = status.partition(b"\n")[0].removeprefix(b"Name:\t").decode("ascii", "replace")
    return Used(pid, plain(name), size)


def kib(text: bytes, label: bytes) -> int:
    """The bytes that a line of /proc names in kB; 0 without the line."""
    at = text.find(label)
    return int(text[at + len(label) :].split(None, 1)[0]) * 1024 if at >= 0 else 0


def plain(name: str) -> str:
    """A process chooses its name itself: nothing but printable ASCII, and not much of it."""
    letters = (letter if letter.isascii() and letter.isprintable() else "?" for letter in name.strip())
    return "".join(letters)[:PROCESS_NAME_CHARS_MAX]
