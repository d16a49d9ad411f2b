"""What sessions have cost so far: read from the store once, then counted on, for the limits of `core.cost`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from betcode.core import usage
from betcode.core.inputs import Tick
from betcode.core.instant import Instant, unix_s_of
from betcode.core.life import Session
from betcode.core.spent import Spent
from betcode.engine.ports import Store
from betcode.model.ids import SessionId
from betcode.model.policy import Policy
from betcode.model.usage_limits import COST_LOOK_S


class Runner(Protocol):
    """A session's loop, as far as `watch_costs` needs it."""

    session: Session

    def tell(self, news: Tick) -> None:
        """Have it decide on this. Raises asyncio.QueueFull."""
        ...


@dataclass(frozen=True, slots=True)
class _Known:
    session_usd: float = 0.0
    total_usd: float = 0.0


_NOTHING = _Known()


class Spending:
    """Of all sessions of one daemon. A session that failed to store something is read again by its own `load`."""

    def __init__(self) -> None:
        """Nothing is known before `open`."""
        self.changed = asyncio.Event()
        """Set when a limit may be another one, so that those whom it stops look at once."""
        self._known: dict[SessionId, _Known] = {}
        self._day = ""
        self._day_usd = 0.0

    async def open(self, store: Store, now: Instant, day_of: Callable[[float], str]) -> None:
        """Read what was spent today. Raises BetcodeError `store.failed`."""
        self._day = day_of(now.unix_s)
        rows = await store.turns(usage.read_from(self._day))
        found = usage.turns(rows, lambda time: day_of(unix_s_of(time)))
        self._day_usd = sum(turn.use.cost_usd for turn in found if turn.day == self._day)

    async def load(self, store: Store, session: SessionId) -> None:
        """Read what one session has spent, before its first step. Raises BetcodeError `store.failed`."""
        rows = await store.turns("", session)
        cost = sum(turn.use.cost_usd for turn in usage.turns(rows, lambda time: ""))
        if (known := self._known.get(session)) is not None:  # what could not be stored did not happen
            self._day_usd = max(0.0, self._day_usd + cost - known.session_usd)
        self._known[session] = _Known(cost, rows[-1].cost_usd if rows else 0.0)

    def counted(self, session: Session, policy: Policy, now: Instant, day_of: Callable[[float], str]) -> Session:
        """The session with what is spent, and the limits; to be called before each decision."""
        known = self._known.get(session.id, _NOTHING)
        day_usd = self._today(day_of(now.unix_s)) if policy.cost_per_day_usd else 0.0
        spent = Spent(known.session_usd, day_usd, known.total_usd, policy.cost_per_session_usd, policy.cost_per_day_usd)
        return session if session.spent == spent else replace(session, spent=spent)

    def keep(self, session: Session, day: Callable[[], str]) -> None:
        """After a decision: what it has counted. `day` tells the present one, and is asked only when a turn ended."""
        known = self._known.get(session.id, _NOTHING)
        now = _Known(session.spent.session_usd, session.spent.total_usd)
        if now != known:
            self._known[session.id] = now
            self._today(day())
            self._day_usd += now.session_usd - known.session_usd

    def _today(self, day: str) -> float:
        if day != self._day:
            self._day, self._day_usd = day, 0.0
        return self._day_usd


async def watch_costs(running: Callable[[], Iterable[Runner]], changed: asyncio.Event) -> None:
    """Let those decide again that a limit stops: when it may have been changed, and from time to time: the day ends."""
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(COST_LOOK_S):
                await changed.wait()
        changed.clear()
        for runner in running():
            if runner.session.spent.stop and runner.session.waiting:
                with suppress(asyncio.QueueFull):  # then it decides soon anyway
                    runner.tell(Tick())
