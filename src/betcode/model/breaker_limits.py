"""Figures of the circuit breakers, each with its reason (CB-2)."""

from __future__ import annotations

from dataclasses import dataclass

from betcode.model import upstream_limits


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """When one breaker opens, for how long, and how it is tried again. All times in seconds."""

    failures: int
    """So many within `window_s` open it."""
    window_s: float
    open_s: float
    """First pause, when nothing else names one."""
    open_max_s: float
    """Longest pause of those that double."""
    probes: int = 1
    """Tries under way at the same time while it is half open."""
    probe_wait_s: float = 60.0
    """A probe without an outcome for that long frees its place."""
    jitter: float = 0.1
    """Each pause is longer by up to this share of it, at random: never shorter than what was asked for."""


API = BreakerSettings(
    failures=3,
    window_s=60.0,
    open_s=upstream_limits.OPEN_S,
    open_max_s=upstream_limits.OPEN_MAX_S,
    probe_wait_s=upstream_limits.PROBE_WAIT_S,
)
"""The API upstream."""
SQLITE = BreakerSettings(failures=3, window_s=60.0, open_s=10.0, open_max_s=10.0, probe_wait_s=30.0)
"""Writes of the database: the first write after the pause is the probe. It does not double: people wait for the room
that they have just made."""
SPAWN = BreakerSettings(failures=5, window_s=60.0, open_s=30.0, open_max_s=300.0, probe_wait_s=90.0)
"""Starts of claude that fail in several sessions (one session's own are PS-3's)."""
SPAWN_SESSIONS = 3
"""Sessions whose starts must fail before all wait: fewer say nothing about the others."""
TUNNEL = BreakerSettings(failures=5, window_s=300.0, open_s=30.0, open_max_s=300.0, probe_wait_s=30.0)
"""Reconnections to a relay."""
FAILURES_KEPT = 64
"""Times of failures that a breaker remembers; more than any of them needs to open."""
OPEN_KEPT_S = 8 * 86_400.0
"""Longest pause that anything may ask for: a usage window is a week."""
RETRIES_MAX = 20.0
"""Retries in a burst, while a dependency is in use: a network that is away for a moment costs each of 20 turns one."""
RETRIES_SHARE = 0.2
"""Retries for each answer: where every fifth request fails, waiting serves everybody better than asking again."""
RETRIES_PER_S = 0.02
"""Retries that time alone allows."""
