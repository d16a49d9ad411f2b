"""The breaker before writes of the database: a disk that fails is not asked by every session at once (CB-2)."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from betcode.adapters.sqlite.errors import StoreError
from betcode.core.breaker import Breaker, Change, Ticket, Wait
from betcode.model.breaker_limits import SQLITE

PASSING = frozenset({"io", "full", "busy", "nomem", "cantopen", "intake_io", "intake_full"})
"""Error types that may pass by themselves; others say nothing about the next write."""

TOGETHER_S = 0.2
"""Failures within so long of each other are of one group of transactions."""


class StoreGate:
    """One store's. What it turns away was not tried: nothing of it is stored."""

    def __init__(
        self,
        now_s: Callable[[], float],
        rng: Random,
        *,
        told: Callable[[Change], None] = lambda change: None,
        on_error: Callable[[Exception], None] = lambda error: None,
    ) -> None:
        """`now_s` reads a clock; `told` gets each change, and `on_error` what it raises."""
        self._now_s = now_s
        self._last: StoreError | None = None
        self._failed_s = float("-inf")
        self.breaker = Breaker(SQLITE, rng, on_error=on_error)
        self.breaker.listen(told)

    def enter(self) -> Ticket:
        """To be called before each write. Raises StoreError of the kind that failed last, at once."""
        now_s = self._now_s()
        ticket = self.breaker.ask(now_s)
        if isinstance(ticket, Wait):
            last = self._last
            what = str(last) if last is not None else "writes failed"
            raise StoreError(
                f"{what}; it is tried again in {max(0.0, ticket.retry_at_s - now_s):.0f} s",
                hint=last.hint if last is not None else "Look at the disk.",
                error_type=last.error_type if last is not None else "other",
            )
        return ticket

    def passed(self, ticket: Ticket) -> None:
        """The write went well."""
        self.breaker.succeeded(ticket, self._now_s())

    def failed(self, ticket: Ticket, error: StoreError) -> None:
        """It did not."""
        if error.error_type not in PASSING:
            self.breaker.dropped(ticket, self._now_s())
            return
        now_s = self._now_s()
        together = now_s - self._failed_s < TOGETHER_S
        self._last, self._failed_s = error, now_s
        if together and not ticket.probe:
            self.breaker.dropped(ticket, now_s)  # one commit of several sessions is one failure
        else:
            self.breaker.failed(ticket, now_s, reason=str(error))

    def dropped(self, ticket: Ticket) -> None:
        """Nobody knows what became of it."""
        self.breaker.dropped(ticket, self._now_s())
