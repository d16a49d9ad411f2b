"""Delays between attempts."""

from __future__ import annotations

from random import Random


def delay_s(attempt: int, *, first_s: float, max_s: float, rng: Random) -> float:
    """Delay before retry number `attempt` (1 for the first), between half and all of the doubled value.

    Half the delay is fixed, so that a restart is never immediate; the other half is jitter, so that many
    sessions do not come back together.

    Raises:
        ValueError: attempt < 1, a caller's defect.
    """
    if attempt < 1:
        raise ValueError(f"attempt counts from 1, got {attempt}")
    doublings = min(attempt - 1, 62)  # 2.0**1024 overflows; 62 is past any cap
    full = min(max_s, first_s * 2.0**doublings)
    return full / 2 + rng.uniform(0.0, full / 2)
