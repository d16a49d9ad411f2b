"""Looks at what the processes of a run use, again and again; `memory.py` decides what it means.

It also holds claude's open files, which needs to be done after its start: it raises its own limit to the largest that
it may have. Programs that need more than the usual limit may do the same.
"""

from __future__ import annotations

import os
import sys
import time

from betcode.keeper.bare import suppress
from betcode.keeper.census import Census, memory_of
from betcode.keeper.limits import MEMORY_LOOK_FAST_S, MEMORY_LOOK_PS_S, MEMORY_LOOK_S, MEMORY_LOOK_SHARE
from betcode.keeper.memory import CALM, OVER, MemoryWatch
from betcode.keeper.spec import Spec

MEASURED = "measured"
"""What claude itself needs is known now."""


class Guard:
    """Of one run. `wait_s` is the time until the next look is due."""

    def __init__(self, spec: Spec, claude_pid: int) -> None:
        self._claude_pid = claude_pid
        self._files_max = int(spec.files_max)
        self._watch = MemoryWatch(int(spec.memory_bytes_max))
        self._census = Census(os.getpid())
        self._events = _own_memory_events() if spec.scope else ""
        self._killed = self._kernel_kills()
        self.wait_s = MEMORY_LOOK_FAST_S

    def look(self, *, answered: bool) -> str:
        """HIGH, OVER or CALM of `memory.py`, or MEASURED, once. `answered`: claude has printed something."""
        begun = time.monotonic()
        unmeasured = self._watch.base_bytes is None
        if answered and unmeasured:
            self._on_answered()
        used = self._census.used(begun)
        if sys.platform == "linux" and self._watch.is_worth_a_close_look(used):
            used = self._census.used(begun, exactly=True)
        verdict = self._watch.judge(used, begun)
        took_s = time.monotonic() - begun
        usual_s = MEMORY_LOOK_FAST_S if self._watch.is_fast() else MEMORY_LOOK_S
        if sys.platform != "linux":
            usual_s = MEMORY_LOOK_PS_S
        self.wait_s = max(usual_s, took_s * MEMORY_LOOK_SHARE)
        if self.kernel_has_killed():
            return OVER
        return MEASURED if verdict == CALM and unmeasured and self._watch.base_bytes is not None else verdict

    def _on_answered(self) -> None:
        claude = memory_of(self._claude_pid) if sys.platform == "linux" else None
        if claude is None:
            found = [used for used in self._census.used(time.monotonic()) if used.pid == self._claude_pid]
            claude = found[0] if found else None
        if claude is not None:
            self._watch.measure_base(claude.size)
        if sys.platform == "linux":
            import resource  # noqa: PLC0415 - loaded at the start already, see `launch.py`

            with suppress(OSError):  # it has ended
                hard = resource.prlimit(self._claude_pid, resource.RLIMIT_NOFILE)[1]
                resource.prlimit(self._claude_pid, resource.RLIMIT_NOFILE, (min(self._files_max, hard), hard))

    def kernel_has_killed(self) -> bool:
        """Whether the kernel has ended a process because the keeper's scope had no memory left."""
        return self._kernel_kills() > self._killed

    def _kernel_kills(self) -> int:
        if not self._events:
            return 0
        try:
            with open(self._events, "rb") as file:
                counts = dict(line.split() for line in file)
            return int(counts.get(b"oom_kill", 0))
        except (OSError, ValueError):
            return 0  # not a scope of our own after all: the looks remain

    def fields(self) -> dict[str, object]:
        """See `MemoryWatch.fields`; `by_kernel` tells that the kernel was faster."""
        return {**self._watch.fields(), "by_kernel": self.kernel_has_killed()}


def _own_memory_events() -> str:
    """The file in which the kernel counts what became of this process's control group; empty without one."""
    try:
        with open("/proc/self/cgroup", "rb") as file:
            paths = [line[3:].strip().decode() for line in file if line.startswith(b"0::/")]
    except (OSError, ValueError):
        return ""  # no control groups
    return f"/sys/fs/cgroup{paths[0]}/memory.events" if paths else ""
