"""How many retries a dependency gets: a share of what it answers, so that retries cannot multiply its load (CB-4)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from betcode.core.token_bucket import TokenBucket
from betcode.model import breaker_limits as limits


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """Of one dependency at one time. A retry takes one token; an answer brings a part of one, and so does time."""

    bucket: TokenBucket

    @classmethod
    def full(cls, now_s: float) -> RetryBudget:
        """Nothing was retried lately."""
        return cls(TokenBucket.full(limits.RETRIES_MAX, limits.RETRIES_PER_S, now_s))

    def answered(self) -> RetryBudget:
        """It answered a request."""
        tokens = min(self.bucket.capacity, self.bucket.tokens + limits.RETRIES_SHARE)
        return RetryBudget(replace(self.bucket, tokens=tokens))

    def retry(self, now_s: float) -> RetryBudget | float:
        """The budget after one more retry; or in how many seconds there may be one."""
        left = self.bucket.take(now_s)
        return RetryBudget(left) if isinstance(left, TokenBucket) else left
