"""A token bucket: how often something may happen, with short bursts (pure; whoever asks brings the time).

A bucket holds at most `capacity` tokens and gains `per_s` each second. So in any stretch of `t` seconds at most
`capacity + per_s * t` are taken, whatever is asked for and in which order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

_ROUNDING = 1e-6
"""Tokens that may be owed, so that one who waits as long as told is not refused for the rounding of a division."""


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """One bucket at one time. `take` gives the next."""

    capacity: float
    """Most tokens it holds; one request may not cost more."""
    per_s: float
    """Tokens that it gains each second."""
    tokens: float
    at_s: float
    """Latest time at which anybody asked, of any clock that is not set back while it runs."""

    @classmethod
    def full(cls, capacity: float, per_s: float, now_s: float = 0.0) -> TokenBucket:
        """One that nobody has taken from. Raises ValueError for numbers that are not above 0."""
        if capacity <= 0 or per_s <= 0:
            raise ValueError(f"a bucket of {capacity} tokens with {per_s} each second lets nothing through")
        return cls(capacity, per_s, capacity, now_s)

    def take(self, now_s: float, cost: float = 1.0) -> TokenBucket | float:
        """The bucket without `cost` tokens; or how many seconds to wait until there are as many.

        A clock that went back gives nothing twice: the time counts on when it has come to `at_s` again.

        Raises:
            ValueError: `cost` is negative, or more than the bucket can ever hold.
        """
        if not 0 <= cost <= self.capacity:
            raise ValueError(f"{cost} tokens of a bucket of {self.capacity}")
        at_s = max(self.at_s, now_s)
        tokens = min(self.capacity, self.tokens + (at_s - self.at_s) * self.per_s)
        if tokens + _ROUNDING >= cost:
            return replace(self, tokens=tokens - cost, at_s=at_s)
        return (at_s - now_s) + (cost - tokens) / self.per_s
