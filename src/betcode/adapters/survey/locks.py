"""Who holds a lock, without taking it: taking a lock even for a moment can keep a daemon from starting.

Linux lists all locks in /proc/locks. There a missing line proves that a lock is free, except in a container, where
locks whose first owner has ended are left out. Where nothing is proved the lock is tried, shared and for microseconds.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from betcode.core.diagnosis.daemon import Held, Lock
from betcode.keeper.tree import start_ticks

_INITIAL_NAMESPACE = "pid:[4026531836]"
"""What /proc/self/ns/pid is outside of containers; a constant of the kernel."""

Place = tuple[int, int, int]
"""Device numbers and inode of a locked file."""


@dataclass(frozen=True, slots=True)
class Locks:
    """The kernel's list at one moment: pids by file. `devices` are those of plain file systems."""

    pids: Mapping[Place, tuple[int, ...]]
    devices: frozenset[tuple[int, int]]

    def look(self, path: Path) -> Lock:
        """Whether anybody holds the lock of this file."""
        try:
            found = path.stat()
        except FileNotFoundError:
            return Lock(Held.NO_FILE)
        except OSError as error:
            return Lock(Held.HIDDEN, problem=str(error.strerror))
        device = os.major(found.st_dev), os.minor(found.st_dev)
        pids = self.pids.get((*device, found.st_ino))
        if pids is not None:
            return Lock(Held.HELD, tuple(pid for pid in pids if pid > 0 and lives(pid)))
        return Lock(Held.FREE) if device in self.devices else _try(path)


def read_locks() -> Locks:
    """The list of now; empty where the system has none."""
    pids: dict[Place, tuple[int, ...]] = {}
    try:
        lines = Path("/proc/locks").read_text("ascii", "replace").splitlines()
        mounts = Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines()
        everything = os.readlink("/proc/self/ns/pid") == _INITIAL_NAMESPACE
    except OSError:
        return Locks({}, frozenset())
    for line in lines:
        words = line.split()
        if "FLOCK" in words[1:3] and "->" not in words:  # an arrow marks one that waits
            place, pid = _place(words[-3]), int(words[-4])
            pids[place] = (*pids.get(place, ()), pid)
    devices = {_device(line) for line in mounts} if everything else set()
    return Locks(pids, frozenset(device for device in devices if device is not None))


def _place(text: str) -> Place:
    """`fe:00:123`: device in hexadecimal, inode in decimal."""
    major, minor, inode = text.split(":")
    return int(major, 16), int(minor, 16), int(inode)


def _device(line: str) -> tuple[int, int] | None:
    """The device of a line of mountinfo, unless files of it have other numbers in /proc/locks than in `stat`."""
    before, _, after = line.partition(" - ")
    if after.split(" ")[0] in ("overlay", "btrfs", "aufs", "zfs", "bcachefs"):
        return None
    major, _, minor = before.split(" ")[2].partition(":")
    return int(major), int(minor)


def _try(path: Path) -> Lock:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return Lock(Held.HIDDEN, problem=str(error.strerror))
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return Lock(Held.HELD)
    except OSError as error:
        return Lock(Held.HIDDEN, problem=str(error.strerror))
    finally:
        os.close(fd)
    return Lock(Held.FREE)


def lives(pid: int, start: object = None) -> bool:
    """Whether this process runs; with its start time (kernel ticks) also that the number has no new owner."""
    if sys.platform != "linux":
        return psutil.pid_exists(pid)
    ticks = start_ticks(pid)
    return ticks is not None and (not isinstance(start, int) or ticks == start)
