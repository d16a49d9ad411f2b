"""What was spent, against what may be."""

from __future__ import annotations

from dataclasses import dataclass

RAISE = "raise it in settings.json, then: betcode daemon restart"


@dataclass(frozen=True, slots=True)
class Spent:
    """What one session and all sessions of today have cost, in dollars, and what they may; 0: there is no limit."""

    session_usd: float = 0.0
    day_usd: float = 0.0
    """Kept up only while there is a limit for it."""
    total_usd: float = 0.0
    """claude's own running total in the session's newest result."""
    session_max_usd: float = 0.0
    day_max_usd: float = 0.0

    @property
    def stop(self) -> str:
        """Why no turn may begin, for people; empty: it may."""
        if 0 < self.session_max_usd <= self.session_usd:
            return (
                f"the session has cost the {dollars(self.session_max_usd)} that `limits.cost_per_session_usd` allows;"
                f" {RAISE}"
            )
        if 0 < self.day_max_usd <= self.day_usd:
            return (
                f"all sessions have cost the {dollars(self.day_max_usd)} that `limits.cost_per_day_usd` allows today;"
                f" it goes on tomorrow, or {RAISE}"
            )
        return ""


NOTHING_SPENT = Spent()


def dollars(amount: float) -> str:
    """An amount for people: cents, and below a cent as much as tells it from nothing."""
    return f"${amount:,.2f}" if amount >= 0.01 or amount == 0 else f"${amount:.5f}"
