"""How often a database is repaired by itself, and how long a repair that could not be made is waited with (INV-5)."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from betcode.core.backoff import delay_s
from betcode.model import rescue_limits


@dataclass(frozen=True, slots=True)
class Patience:
    """What was tried so far. Times are of a clock that only goes forward, in seconds."""

    begun_s: tuple[float, ...] = ()
    """When the repairs of the last `REPAIRS_WITHIN_S` began."""
    failed: int = 0
    """How many in a row could not be made."""

    def may_begin(self, now_s: float) -> bool:
        """False when the database was damaged again too often: then a person must look at the disk."""
        return len(self._recent(now_s)) < rescue_limits.REPAIRS_MAX

    def began(self, now_s: float) -> Patience:
        """A repair of newly found damage begins."""
        return Patience((*self._recent(now_s), now_s), self.failed)

    def ended(self, *, well: bool) -> Patience:
        """It was made, or it could not be."""
        return Patience(self.begun_s, 0 if well else self.failed + 1)

    def wait_s(self, rng: Random) -> float:
        """Until it is tried again after `failed` failures."""
        return delay_s(
            max(1, self.failed), first_s=rescue_limits.RETRY_FIRST_S, max_s=rescue_limits.RETRY_MAX_S, rng=rng
        )

    def _recent(self, now_s: float) -> tuple[float, ...]:
        return tuple(s for s in self.begun_s if now_s - s < rescue_limits.REPAIRS_WITHIN_S)
