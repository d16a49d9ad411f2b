"""The real clocks."""

from __future__ import annotations

import time

from betcode.core.instant import Instant

_steady = getattr(time, "CLOCK_BOOTTIME", None)


class SystemClock:
    """Wall clock, and a clock that only grows: on Linux the one that counts sleep, elsewhere the monotonic one."""

    def now(self) -> Instant:
        """The time of this call."""
        steady_s = time.clock_gettime(_steady) if _steady is not None else time.monotonic()
        return Instant(time.time(), steady_s)
