"""When to try again, and when to give up: the decisions of a client whose daemon does not answer.

Pure: the time and the randomness are handed in.
"""

from __future__ import annotations

from random import Random

from betcode.core.backoff import delay_s
from betcode.model import limits


class Patience:
    """Counts attempts in a row. A connection that held for `limits.RECONNECT_MAX_S` makes the count begin anew.

    A shorter one does not: a daemon that dies at each connection must not be started again without an end.
    """

    def __init__(self, rng: Random, longest_s: float = limits.RECONNECT_MAX_S) -> None:
        """`longest_s`: no pause is longer, in seconds."""
        self._rng = rng
        self._longest_s = longest_s
        self._failures = 0
        self._since_s: float | None = None

    def opened(self, now_s: float) -> None:
        """A connection is there. `now_s` is any clock that only grows."""
        self._since_s = now_s

    def failed(self, now_s: float) -> float | None:
        """An attempt failed, or the connection was lost. Returns seconds to wait, or None: give up."""
        if self._since_s is not None and now_s - self._since_s >= limits.RECONNECT_MAX_S:
            self._failures = 0
        self._since_s = None
        self._failures += 1
        if self._failures >= limits.RECONNECT_TRIES:
            return None
        return delay_s(self._failures, first_s=limits.RECONNECT_FIRST_S, max_s=self._longest_s, rng=self._rng)
