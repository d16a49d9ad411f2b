"""How much memory the processes of a session use, and all sessions together (PS-9)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """One session, as its keeper measured it. Sizes in bytes, in RAM and swap."""

    used: int
    limit: int
    base: int = 0
    """What claude itself needs; 0 while that is not measured."""
    most: tuple[tuple[int, str, int], ...] = ()
    """(pid, name, size) of the largest processes, the largest first."""
    high: bool = False
    """It is so much that people are told."""
    by_kernel: bool = False
    """The kernel has ended one of them, since the session's scope had no memory left."""


@dataclass(frozen=True, slots=True)
class MemoryTotal:
    """All sessions. Memory that processes of several sessions share is counted for each."""

    used: int
    limit: int

    processes: int = 0
    """Sessions whose use is known."""

    @property
    def is_full(self) -> bool:
        """Whether no further process should be started."""
        return self.used >= self.limit

    @property
    def room(self) -> int | None:
        """How many sessions' processes there is memory for in all, if each to come needs as much as those that live.

        At least one; None while nothing is known.
        """
        if not self.used:
            return None
        each = max(1, self.used // max(1, self.processes))
        return max(1, self.processes + (self.limit - self.used) // each)
