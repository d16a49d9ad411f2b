"""The real clocks."""

from __future__ import annotations

import time
from datetime import datetime

from betcode.core.instant import Instant

_steady = getattr(time, "CLOCK_BOOTTIME", None)


class SystemClock:
    """Wall clock, and a clock that only grows: on Linux the one that counts sleep, elsewhere the monotonic one."""

    def now(self) -> Instant:
        """The time of this call."""
        steady_s = time.clock_gettime(_steady) if _steady is not None else time.monotonic()
        return Instant(time.time(), steady_s)


def local_day(unix_s: float) -> str:
    """The day of a time by the calendar of this machine's time zone: `2026-11-27`."""
    return datetime.fromtimestamp(unix_s).astimezone().date().isoformat()
