"""The one pool of a daemon (`core.pool`), and each session's seat in it.

All calls come from one event loop, and nothing is awaited between a question to the pool and what follows from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from betcode.core import pool as core
from betcode.core.inputs import Input, MakeRoom, Retry, Saw, Tick
from betcode.core.instant import Instant
from betcode.core.life import Session
from betcode.core.pool import Effect, Pool, Stance
from betcode.core.stance import stance_of
from betcode.engine.upstreams import Access, Upstreams
from betcode.model import limits


class Slots:
    """Who works, who waits, and whose processes live."""

    def __init__(
        self,
        slots: int = limits.SLOTS,
        queue: int = limits.SLOTS_QUEUE,
        processes_per_slot: int = limits.PROCESSES_PER_SLOT,
    ) -> None:
        """`slots` turns at the same time, at most `queue` sessions that wait, so many processes for each slot."""
        self.pool = Pool(slots, queue, slots * processes_per_slot)
        self.persons: dict[str, int] = {}
        """Clients with a person, by the session that they are attached to."""
        self._seats: dict[str, Seat] = {}

    def resize(self, slots: int, queue: int, processes_per_slot: int) -> None:
        """Other bounds. What works goes on."""
        processes = slots * processes_per_slot
        self._become(*core.resize(self.pool, slots=slots, waiting_max=queue, processes=processes))

    def close(self) -> None:
        """The daemon ends its sessions: from here on no turn begins, and what waits stays stored."""
        self.resize(0, self.pool.waiting_max, 0)

    def room_for(self, processes: int | None) -> None:
        """How many processes there is memory for in all, as somebody measured it; None: that is not known.

        When more live, those that rest are ended, and none is started. One may always live.
        """
        self._become(*core.measured(self.pool, processes))

    def attend(self, session: str, change: int) -> None:
        """So many more clients with a person are attached to this session, or fewer."""
        count = self.persons.get(session, 0) + change
        if count > 0:
            self.persons[session] = count
        else:
            self.persons.pop(session, None)
        seat, member = self._seats.get(session), self.pool.members.get(session)
        if seat is not None and member is not None:
            self.settle(seat, replace(member.stance, background=seat.is_background), member.since_s)

    def settle(self, seat: Seat, stance: Stance, now_s: float) -> None:
        """A session stands so from here on."""
        self._seats[seat.session] = seat
        self._become(*core.settle(self.pool, seat.session, stance, now_s))

    def leave(self, session: str) -> None:
        """A session has no loop any more."""
        if (seat := self._seats.pop(session, None)) is not None:
            self._become(*core.settle(self.pool, session, Stance(), 0.0))
            seat.moved(0)

    def view(self) -> dict[str, int]:
        """The pool as people see it."""
        pool = self.pool
        return {
            "slots": pool.slots,
            "working": pool.held,
            "waiting": len(pool.queue),
            "processes": pool.alive,
            "processes_max": pool.processes,
        }

    def _become(self, pool: Pool, effects: tuple[Effect, ...]) -> None:
        before, self.pool = self.pool.queue, pool
        for effect in effects:
            if (seat := self._seats.get(effect.session)) is not None:
                seat.tell(Tick() if isinstance(effect, core.Wake) else MakeRoom())
        if before != pool.queue:
            places = {session: number for number, session in enumerate(pool.queue, 1)}
            for session in dict.fromkeys((*before, *pool.queue)):
                if (seat := self._seats.get(session)) is not None:
                    seat.moved(places.get(session, 0))


class Shared(Protocol):
    """What the sessions of a daemon share."""

    slots: Slots
    upstreams: Upstreams


class Seat:
    """One session's way to the pool, and before that to its upstream."""

    def __init__(
        self,
        session: str,
        world: Shared,
        *,
        background: bool,
        ring: Callable[[], None],
        moved: Callable[[], None],
    ) -> None:
        """Take part.

        Args:
            session: its id.
            world: whose pool and upstreams.
            background: whether a program made it.
            ring: called when there is something to `take`; it must not decide at once.
            moved: called when its place in the queue is another one, or it has waited long.
        """
        self.session = session
        self.place = 0
        """In the queue, from 1; 0: it does not wait."""
        self.late = False
        """It has waited long."""
        self._slots = world.slots
        self._background = background
        self._ring = ring
        self._moved = moved
        self._decided_s = 0.0
        self._told: dict[type[Any], Input] = {}
        self.access = Access(session, world.upstreams, ring=lambda: self.tell(Tick()), moved=moved)

    def due_s(self, now: Instant) -> float | None:
        """When it must decide again: it will have waited long by then, or may ask the API again."""
        late_s = core.late_s(self._slots.pool, self.session)
        late_s = late_s if late_s is not None and late_s > self._decided_s else None
        return min((t for t in (late_s, self.access.due_s(now)) if t is not None), default=None)

    @property
    def is_background(self) -> bool:
        """Made by a program, and no person looks on."""
        return self._background and self.session not in self._slots.persons

    def gated(self, session: Session, now: Instant, news: Input) -> Session:
        """The session with what its upstream and the pool let it do now; to be called before it decides on `news`."""
        if isinstance(news, Saw):
            self.access.hear(news.fact, session, now)
        if isinstance(news, Retry) and news.model:
            self.access.runs_on(news.model)
        session = self.access.gated(session, now, forced=isinstance(news, Retry))
        gate = core.gate(self._slots.pool, self.session, now.steady_s, background=self.is_background)
        return session if session.gate == gate else replace(session, gate=gate)

    def settle(self, session: Session, now: Instant) -> None:
        """What it has decided."""
        now_s = self._decided_s = now.steady_s
        self.access.settle(session, now, background=self.is_background)
        self._slots.settle(self, stance_of(session, watched=not self.is_background), now_s)
        due_s = core.late_s(self._slots.pool, self.session)
        if self.late is not (due_s is not None and due_s <= now_s):
            self.late = not self.late
            self._moved()

    def leave(self, now: Instant) -> None:
        """It decides no more for now."""
        self._told.clear()
        self._slots.leave(self.session)
        self.access.leave(now)

    def take(self) -> list[Input]:
        """What the pool has for it, once."""
        told, self._told = list(self._told.values()), {}
        return told

    def tell(self, news: Input) -> None:
        """Have it decide on this soon."""
        self._told[type(news)] = news
        self._ring()

    def moved(self, place: int) -> None:
        """Its place in the queue."""
        if place != self.place:
            self.place = place
            self._moved()
