"""What the memory of a run's processes means: nothing, a warning, or the end. Pure, without IO and without a clock.

    calm --80 % of the limit--> high --100 %--> over: the run's processes are ended
      ^--below half of it, and 10 min later--|

The limit is what claude itself was measured to need once it had given its first answer, and `above_bytes` more for
whatever comes on top of that: its own growth, its tools, MCP servers. Rules:
  1. Nothing is over below the limit, and everything is from the limit on.
  2. The base is measured once and has a bound: neither a slow leak nor a greedy start moves the limit away.
  3. What is high is told once, and again only after it was calm.
"""

from __future__ import annotations

from betcode.keeper.limits import (
    BASE_BYTES_MAX,
    MEMORY_AGAIN_S,
    MEMORY_CALM,
    MEMORY_HIGH,
    MEMORY_NAMED_MAX,
)

HIGH = "high"
OVER = "over"
CALM = ""


class Used:
    """Memory of one process, in RAM and swap. `name` is the system's short name for it."""

    __slots__ = ("name", "pid", "size")

    def __init__(self, pid: int, name: str, size: int) -> None:
        self.pid = pid
        self.name = name
        self.size = size


class MemoryWatch:
    """One run. `used_bytes` and `most` (the largest processes first) are those of the last judgement."""

    def __init__(self, above_bytes: int) -> None:
        self._above_bytes = above_bytes
        self._high_since: float | None = None
        self.base_bytes: int | None = None
        self.used_bytes = 0
        self.most: list[Used] = []

    @property
    def limit_bytes(self) -> int:
        """What all processes of the run together may use; with the largest base while that is not measured."""
        return (BASE_BYTES_MAX if self.base_bytes is None else self.base_bytes) + self._above_bytes

    def measure_base(self, claude_bytes: int) -> None:
        """This much claude itself needs. Only the first measurement counts."""
        if self.base_bytes is None:
            self.base_bytes = min(claude_bytes, BASE_BYTES_MAX)

    def is_worth_a_close_look(self, used: list[Used]) -> bool:
        """Whether to measure again without counting shared memory twice, which costs more."""
        return sum(process.size for process in used) >= MEMORY_HIGH * self.limit_bytes

    def is_fast(self) -> bool:
        """Whether so much is used that the limit may be near soon."""
        return self.base_bytes is None or self.used_bytes >= MEMORY_CALM * self.limit_bytes

    def judge(self, used: list[Used], now: float) -> str:
        """HIGH when that is to be told, OVER at the limit, else CALM. `now`: seconds on any monotonic clock."""
        self.used_bytes = sum(process.size for process in used)
        self.most = sorted(used, key=lambda process: -process.size)[:MEMORY_NAMED_MAX]
        if self.used_bytes >= self.limit_bytes:
            return OVER
        if self._high_since is not None:
            calm = self.used_bytes < MEMORY_CALM * self.limit_bytes
            if calm and now - self._high_since >= MEMORY_AGAIN_S:
                self._high_since = None
        elif self.used_bytes >= MEMORY_HIGH * self.limit_bytes:
            self._high_since = now
            return HIGH
        return CALM

    def fields(self) -> dict[str, object]:
        """For BEAT and the exit report; sizes in bytes, `most` as [pid, name, size]."""
        return {
            "used": self.used_bytes,
            "limit": self.limit_bytes,
            "base": self.base_bytes,
            "high": self._high_since is not None,
            "most": [[process.pid, process.name, process.size] for process in self.most],
        }
