"""A circuit breaker: whether a dependency that fails may be asked again (CB-1).

    closed -- `failures` within `window_s` --> open until T -- time --> half open -- a probe succeeds --> closed
                                                ^                          | a probe fails: the pause doubles
                                                +--------------------------+

Who asks gets a ticket and reports its outcome with it. The generation grows with every change of state, and an outcome
of an older one changes nothing: what began before the pause says nothing about what came after it. Pure: the caller
brings the time, of a clock that outlives a restart (Unix seconds). One that is set back does not prolong a pause: it
never lasts longer than it was meant to from the new time on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from msgspec import Struct

from betcode.model.breaker_limits import FAILURES_KEPT, OPEN_KEPT_S, BreakerSettings


class State(StrEnum):
    """Of one breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Ticket:
    """One attempt that the breaker let through."""

    generation: int
    number: int
    probe: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """It does not let anybody through now."""

    retry_at_s: float
    """When to ask again; for a probe under way: when its place becomes free at the latest."""
    reason: str


@dataclass(frozen=True, slots=True)
class Change:
    """The breaker went over into another state."""

    before: State
    after: State
    at_s: float
    reason: str
    retry_at_s: float


class Snapshot(Struct, frozen=True, kw_only=True):
    """A breaker as it is stored. Tickets do not survive: who held one is gone."""

    state: State
    failures_s: tuple[float, ...] = ()
    opened_s: float = 0.0
    retry_at_s: float = 0.0
    pauses: int = 0
    generation: int = 0
    reason: str = ""


Listener = Callable[[Change], None]


class Breaker:
    """One dependency's."""

    def __init__(self, settings: BreakerSettings, rng: Random, *, on_error: Callable[[Exception], None]) -> None:
        """Closed. `on_error` gets what a listener raises: it can neither stop the breaker nor be lost."""
        self.settings = settings
        self.reason = ""
        self.retry_at_s = 0.0
        self._rng = rng
        self._on_error = on_error
        self._state = State.CLOSED
        self._failures_s: tuple[float, ...] = ()
        self._opened_s = 0.0
        self._pauses = 0
        """Pauses in a row without a success between them."""
        self._generation = 0
        self._issued = 0
        self._probes: dict[int, float] = {}
        """When each probe under way began, by its number."""
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Have every change told."""
        self._listeners.append(listener)

    # --- asking -------------------------------------------------------------------------------------------------

    def state(self, now_s: float) -> State:
        """What it is at this time."""
        self._advance(now_s)
        return self._state

    def ask(self, now_s: float) -> Ticket | Wait:
        """Whether one attempt may be made now."""
        self._advance(now_s)
        if self._state is State.OPEN:
            return Wait(self.retry_at_s, self.reason)
        if self._state is State.HALF_OPEN and len(self._probes) >= self.settings.probes:
            return Wait(min(self._probes.values()) + self.settings.probe_wait_s, self.reason)
        self._issued += 1
        ticket = Ticket(self._generation, self._issued, probe=self._state is State.HALF_OPEN)
        if ticket.probe:
            self._probes[ticket.number] = now_s
        return ticket

    def ticket(self, now_s: float) -> Ticket | None:
        """One for an attempt that is made anyway; None unless the breaker is closed: then it would prove nothing."""
        found = self.ask(now_s) if self.state(now_s) is State.CLOSED else None
        return found if isinstance(found, Ticket) else None

    def due_s(self, now_s: float) -> float | None:
        """When time alone lets somebody through; None when it does already, or never."""
        match self.state(now_s):
            case State.OPEN:
                return self.retry_at_s
            case State.HALF_OPEN if len(self._probes) >= self.settings.probes:
                return min(self._probes.values()) + self.settings.probe_wait_s
            case _:
                return None

    # --- outcomes -----------------------------------------------------------------------------------------------

    def succeeded(self, ticket: Ticket, now_s: float) -> None:
        """The attempt went well."""
        self._advance(now_s)
        if ticket.generation != self._generation or not self._had(ticket):
            return
        self._pauses = 0
        if self._state is State.HALF_OPEN:
            self._become(State.CLOSED, now_s, "a probe succeeded")

    def failed(self, ticket: Ticket, now_s: float, *, retry_after_s: float | None = None, reason: str = "") -> None:
        """The attempt failed; `retry_after_s` is what the dependency asked for."""
        self._advance(now_s)
        if ticket.generation != self._generation or not self._had(ticket):
            return
        self._failures_s = (*self._failures_s, now_s)[-FAILURES_KEPT:]
        recent = [t for t in self._failures_s if abs(now_s - t) < self.settings.window_s]
        if self._state is State.HALF_OPEN or len(recent) >= self.settings.failures:
            self._open(now_s, reason or f"{len(recent)} failures in {self.settings.window_s:.0f} s", retry_after_s)

    def dropped(self, ticket: Ticket, now_s: float) -> None:
        """The attempt ended without an outcome: a probe's place is free again."""
        self._advance(now_s)
        self._had(ticket)

    def _had(self, ticket: Ticket) -> bool:
        """Whether its outcome counts; a probe's only once, and not after its time."""
        return self._probes.pop(ticket.number, None) is not None if ticket.probe else True

    # --- by hand ------------------------------------------------------------------------------------------------

    def force_open(self, now_s: float, until_s: float, reason: str) -> None:
        """Let nobody through before this time: whoever calls knows better than the counts."""
        self._advance(now_s)
        self.retry_at_s = now_s + min(max(0.0, until_s - now_s), OPEN_KEPT_S)
        self._opened_s, self.reason = now_s, reason
        self._become(State.OPEN, now_s, reason)

    def reset(self, now_s: float, reason: str = "reset by hand") -> None:
        """Forget all failures."""
        self._pauses = 0
        self._become(State.CLOSED, now_s, reason)

    # --- storing ------------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """What survives a restart."""
        return Snapshot(
            state=self._state,
            failures_s=self._failures_s,
            opened_s=self._opened_s,
            retry_at_s=self.retry_at_s,
            pauses=self._pauses,
            generation=self._generation,
            reason=self.reason,
        )

    def restore(self, stored: Snapshot) -> None:
        """Become what was stored. A half-open one is probed anew; nobody holds a ticket."""
        self._state, self._failures_s = stored.state, stored.failures_s[-FAILURES_KEPT:]
        self._opened_s, self.reason = stored.opened_s, stored.reason
        self.retry_at_s = min(stored.retry_at_s, stored.opened_s + OPEN_KEPT_S)
        self._pauses, self._generation = max(0, stored.pauses), max(self._generation, stored.generation) + 1
        self._probes.clear()

    # --- inside -------------------------------------------------------------------------------------------------

    def _advance(self, now_s: float) -> None:
        """What time alone changes."""
        if self._state is State.OPEN:
            if now_s < self._opened_s:  # the clock was set back: wait as long as was meant, from now
                self.retry_at_s, self._opened_s = now_s + self.retry_at_s - self._opened_s, now_s
            if now_s >= self.retry_at_s:
                self._become(State.HALF_OPEN, now_s, "the pause is over")
        for number, began_s in list(self._probes.items()):
            if abs(now_s - began_s) >= self.settings.probe_wait_s:
                del self._probes[number]

    def _open(self, now_s: float, reason: str, retry_after_s: float | None) -> None:
        doubled = self.settings.open_s * 2.0 ** min(self._pauses, 32)
        pause = min(self.settings.open_max_s, doubled)
        if retry_after_s is not None:
            pause = min(max(0.0, retry_after_s), OPEN_KEPT_S)
        self._pauses += 1
        self.retry_at_s = now_s + pause * (1 + self._rng.uniform(0, self.settings.jitter))
        self._opened_s, self.reason = now_s, reason
        self._become(State.OPEN, now_s, reason)

    def _become(self, state: State, now_s: float, reason: str) -> None:
        before, self._state = self._state, state
        self._generation += 1
        self._probes.clear()
        if state is State.CLOSED:
            self._failures_s, self.retry_at_s, self.reason = (), 0.0, ""
        change = Change(before, state, now_s, reason, self.retry_at_s)
        for listener in self._listeners:
            try:
                listener(change)
            except Exception as error:  # noqa: BLE001 - a listener only looks on
                self._on_error(error)
