"""Starts of claude that fail in several sessions at once: not each of them goes on trying alone (CB-2).

A session whose own starts fail has its own delays (PS-3). When at least three sessions had five failures within a
minute, the cause is the machine or claude itself: nothing is started for half a minute, then one session tries.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random

from betcode.core.breaker import Breaker, State, Ticket
from betcode.core.life import SPAWN_FAILED
from betcode.model.breaker_limits import FAILURES_KEPT, SPAWN, SPAWN_SESSIONS
from betcode.model.upstream import FREE, Passage


class Spawns:
    """All sessions' of one daemon. Times are those of the caller's clock."""

    def __init__(self, rng: Random, on_error: Callable[[Exception], None]) -> None:
        """Nothing has failed yet."""
        self.breaker = Breaker(SPAWN, rng, on_error=on_error)
        self._failures: deque[tuple[float, str]] = deque(maxlen=FAILURES_KEPT)
        self._probe: tuple[str, Ticket] | None = None
        self._why = ""

    def failed(self, session: str, why: str, now_s: float) -> None:
        """A process did not come up, or died before it was ready."""
        self._why = why
        self._failures.append((now_s, session))
        if self._probe is not None and self._probe[0] == session:
            ticket, self._probe = self._probe[1], None
            self.breaker.failed(ticket, now_s, reason=why)
            return
        recent = [name for at_s, name in self._failures if abs(now_s - at_s) < SPAWN.window_s]
        closed = self.breaker.state(now_s) is State.CLOSED
        if closed and len(recent) >= SPAWN.failures and len(set(recent)) >= SPAWN_SESSIONS:
            self.breaker.force_open(now_s, now_s + SPAWN.open_s, why)

    def succeeded(self, session: str, now_s: float) -> bool:
        """A process is ready. Returns whether others that wait may go on now."""
        self._failures.clear()
        if self._probe is None or self._probe[0] != session:
            return False
        self.breaker.succeeded(self._probe[1], now_s)
        self._probe = None
        return True

    def passage(self, session: str, now_s: float) -> Passage:
        """Whether a session that has no process and wants one may have it; after a pause the first that asks tries."""
        state = self.breaker.state(now_s)
        if state is State.CLOSED or (self._probe is not None and self._probe[0] == session):
            return FREE
        ticket = self.breaker.ask(now_s)
        if isinstance(ticket, Ticket):
            self._probe = (session, ticket)
            return FREE
        why = f"claude could not be started in several sessions, so none is for a while. The last time: {self._why}"
        return Passage(begins=False, code=SPAWN_FAILED, why=why, until_unix_s=ticket.retry_at_s)

    def due_s(self, now_s: float) -> float | None:
        """When time alone lets one try."""
        return self.breaker.due_s(now_s)
