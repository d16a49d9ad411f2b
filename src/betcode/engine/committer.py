"""Commits what a session's loop has decided, beside the loop: events and rows first, then the effects, in order.

Everything that came while the last commit ran is joined in the next transaction. Nothing is shown, answered or done
before it is durable. An error of the store ends `run`; the session then begins again from what is committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from betcode.core.draft import Decision
from betcode.core.effects import Effect, StartProcess
from betcode.engine.feed import Feed
from betcode.engine.oddities import Oddities
from betcode.engine.ports import Log
from betcode.engine.world import World
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.events import Event, Gap
from betcode.model.ids import SessionId
from betcode.model.rows import EventRow, Mark, Message, Permission, SessionRow, Transaction

_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class _Pending:
    """Decided, not yet committed. `size` is that of the events in bytes."""

    events: list[EventRow] = field(default_factory=list)
    rows: list[Message | Permission] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    size: int = 0


class Committer:
    """The way from a session's decisions to the store, its feed and its effects."""

    def __init__(
        self,
        feed: Feed,
        world: World,
        log: Log,
        row: Callable[[], SessionRow],
        do: Callable[[Effect], None],
        odd: Oddities,
    ) -> None:
        """`row` gives the session's present row; `do` carries out an effect without waiting; `odd` is stored too."""
        self._feed = feed
        self._world = world
        self._log = log
        self._row = row
        self._do = do
        self._pending = _Pending()
        self._something = asyncio.Event()
        self._done = asyncio.Event()
        self.odd = odd
        self._marked_s = float("-inf")
        self._work = 0
        self.committed = False
        """Whether anything was committed since `forget`: what begins again without it waits longer each time."""

    def add(self, decision: Decision) -> None:
        """Keep a decision for the next `flush`."""
        session = decision.session.id
        for event in decision.events:
            row = event_row(session, event)
            self._pending.events.append(row)
            if isinstance(event, Gap):
                note_gap(self._world, self._log, event)
            self._pending.size += len(row.body)
        self._world.spending.keep(decision.session, self._today)
        self._pending.rows += decision.rows
        self._pending.effects += decision.effects

    def _today(self) -> str:
        return self._world.day_of(self._world.clock.now().unix_s)

    def flush(self) -> None:
        """What was added may be committed: the session's row agrees with it now."""
        pending = self._pending
        if pending.events or pending.rows or pending.effects:
            self._feed.settled = False
            self._something.set()

    async def breathe(self, work: int) -> None:
        """Let what was added be committed; wait while too much is not; let others work from time to time.

        `work` is the number of lines or requests since the last call: of many small ones not each gives way.
        """
        self.flush()
        self._work += work
        if self._work >= limits.INGEST_LINES_AT_ONCE:
            self._work = 0
            await asyncio.sleep(0)
        pending = self._pending
        while pending.size > limits.INGEST_BYTES_AHEAD or len(pending.events) > limits.INGEST_EVENTS_AHEAD:
            self._done.clear()
            await self._done.wait()
            pending = self._pending

    def forget(self) -> None:
        """Drop what is not committed: the session begins again."""
        self._pending = _Pending()
        self.odd.forget()
        self.committed = False
        self._something.clear()
        self._feed.settled = True
        self._done.set()

    async def run(self) -> None:
        """Commit until cancelled. Raises BetcodeError `store.failed`: then that batch is not committed."""
        while True:
            await self._something.wait()
            self._something.clear()
            batch, self._pending = self._pending, _Pending()
            row = self._row()
            if batch.events or batch.rows or any(isinstance(e, StartProcess) for e in batch.effects):
                quarantine, drift = self.odd.take()
                await self._world.store.commit(
                    Transaction(
                        session=row,
                        quarantine=quarantine,
                        drift=drift,
                        events=tuple(batch.events),
                        messages=tuple(r for r in batch.rows if isinstance(r, Message)),
                        permissions=tuple(r for r in batch.rows if isinstance(r, Permission)),
                    )
                )
                self.committed = True
            self._feed.publish(tuple(batch.events))
            self._feed.settled = not (self._pending.events or self._pending.rows)
            self._feed.wake()
            if batch.events:
                self._world.changed(row.id)
            for effect in batch.effects:
                self._do(effect)
            self._done.set()
            await self._mark(batch.events, row)

    async def _mark(self, events: list[EventRow], row: SessionRow) -> None:
        """Write down outside the database how far it is, at each turn's end and at most once a second besides."""
        now_s = self._world.clock.now().steady_s
        if not events or (now_s - self._marked_s < limits.MARK_S and all(e.kind != "turn_ended" for e in events)):
            return
        self._marked_s = now_s
        mark = Mark(events[-1].epoch, events[-1].seq, row.run, row.offset)
        try:
            await asyncio.to_thread(self._world.marks.write, row.id, mark)
        except BetcodeError as error:
            self._log.warning("the mark could not be written", error_type=error.code, detail=str(error))


def note_gap(world: World, log: Log, gap: Gap) -> None:
    """Count and log what is missing (ND-8)."""
    world.meter.gap(gap.unit)
    log.error(f"{gap.unit} are missing", first=gap.first, last=gap.last, cause=gap.cause, error_type="gap")


def event_row(session: SessionId, event: Event) -> EventRow:
    """A durable event as stored and sent."""
    kind = str(type(event).__struct_config__.tag)
    return EventRow(session, event.epoch, event.seq, kind, event.time, _encode(event))
