"""Whether the disk of the database is to be looked at: it fails too often, or too many operations fail (SQ-3).

More than `ERRORS_MAX` errors of the disk within `ERRORS_WITHIN_S`, or more than one in a hundred operations within the
last `OPERATIONS_WITHIN_S`, are told to people; both end by themselves.
"""

from __future__ import annotations

from collections import deque
from typing import Final

ERRORS_MAX: Final = 3
"""SQLITE_IOERR within a minute that may be an accident (SQ-3)."""
ERRORS_WITHIN_S: Final = 60.0
SHARE_MAX: Final = 0.01
"""Of the operations that may fail (SQ-3)."""
OPERATIONS_WITHIN_S: Final = 300.0
"""Over which the share is taken: a busy daemon does thousands in it."""
OPERATIONS_MIN: Final = 100
"""Fewer say nothing about a share of one in a hundred."""
_DISK: Final = frozenset({"io", "intake_io"})
_OURS: Final = frozenset({"defect", "closed", "constraint", "toobig"})
"""Failures that say nothing about the disk."""


class DiskHealth:
    """Counts in buckets of a second, so that memory is bounded however much is done."""

    def __init__(self) -> None:
        """Nothing was done yet."""
        self._seconds: deque[list[float]] = deque()
        """[second, operations, failures, errors of the disk]"""

    def worked(self, now_s: float) -> None:
        """An operation was done."""
        self._bucket(now_s)[1] += 1

    def failed(self, error_type: str, now_s: float) -> None:
        """An operation failed with this label of `StoreError`."""
        if error_type in _OURS:
            return
        bucket = self._bucket(now_s)
        bucket[1] += 1
        bucket[2] += 1
        bucket[3] += error_type in _DISK

    def must_look(self, now_s: float) -> bool:
        """Whether the disk failed so often that it is to be tried."""
        return self._sum(3, now_s - ERRORS_WITHIN_S) > ERRORS_MAX

    def warning(self, now_s: float) -> str:
        """A sentence for people, or nothing."""
        errors = int(self._sum(3, now_s - ERRORS_WITHIN_S))
        if errors > ERRORS_MAX:
            return f"the disk of the database failed {errors} times within a minute: look at it (dmesg, smartctl)"
        done, failures = (self._sum(at, now_s - OPERATIONS_WITHIN_S) for at in (1, 2))
        if done >= OPERATIONS_MIN and failures > SHARE_MAX * done:
            return f"{int(failures)} of the last {int(done)} operations of the database failed"
        return ""

    def _bucket(self, now_s: float) -> list[float]:
        second = float(int(now_s))
        while self._seconds and self._seconds[0][0] < now_s - OPERATIONS_WITHIN_S - 1:
            self._seconds.popleft()
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append([second, 0, 0, 0])
        return self._seconds[-1]

    def _sum(self, at: int, since_s: float) -> float:
        return sum(bucket[at] for bucket in self._seconds if bucket[0] >= since_s)
