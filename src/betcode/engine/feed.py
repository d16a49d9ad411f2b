"""What the clients of one session can see: the newest durable events in memory, and the open previews.

Fan-out is by cursor: a feed holds no client's queue. Each `Subscription` knows how far its client is and takes all
that is new when its connection can send; a slow client gets merged previews and slows nobody.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

import msgspec

from betcode.core.transcript import Transcript
from betcode.engine.ports import Store
from betcode.model import limits
from betcode.model.events import Passing, Preview
from betcode.model.frames import SessionFrame
from betcode.model.ids import SessionId
from betcode.model.rows import EventRow

_encode = msgspec.json.Encoder().encode


class Feed:
    """Published state of one session. Only its runner changes it; all in one event loop."""

    def __init__(self, session: SessionId, epoch: int, seq: int) -> None:
        """`epoch`, `seq`: the last event that is durable."""
        self.session = session
        self.epoch = epoch
        self.seq = seq
        self.transcript = Transcript()
        self.settled = True
        """False while a commit is under way: previews wait for it, so that they never overtake an event."""
        self.position = (0, 0)
        """Process number and offset in its output behind the last whole line that was read."""
        self.listeners: set[asyncio.Event] = set()
        self._window: deque[EventRow] = deque()
        self._window_bytes = 0
        self._cached: tuple[object, bytes, SessionFrame] | None = None

    def publish(self, rows: tuple[EventRow, ...]) -> None:
        """Show events that are durable now."""
        for row in rows:
            if row.epoch != self.epoch:
                self.epoch = row.epoch
                self._window.clear()
                self._window_bytes = 0
            self.seq = row.seq
            self._window.append(row)
            self._window_bytes += len(row.body)
        while len(self._window) > limits.WINDOW_EVENTS or (
            self._window_bytes > limits.WINDOW_BYTES and len(self._window) > 1
        ):
            self._window_bytes -= len(self._window.popleft().body)

    def follow(self, transcript: Transcript) -> None:
        """Show the open blocks of this transcript. Its version counts anew, so no frame made before is of use."""
        self.transcript = transcript
        self._cached = None

    def go_on_from(self, epoch: int, seq: int) -> None:
        """The session is stored up to here. Events that were never published are then read from the store.

        A commit that was reported as failed may have taken effect: without this the next event would stand in the
        window where a missing one belongs.
        """
        if (epoch, seq) != (self.epoch, self.seq):
            self.epoch, self.seq = epoch, seq
            self._window.clear()
            self._window_bytes = 0
            self.wake()

    def wake(self) -> None:
        """Tell the subscribers that there may be something new."""
        for listener in self.listeners:
            listener.set()

    def recent(self, after: int) -> list[EventRow] | None:
        """Events after `after` from memory, one frame's worth; None when the window begins later."""
        if not self._window or self._window[0].seq > after + 1:
            return None
        start = after + 1 - self._window[0].seq
        rows: list[EventRow] = []
        size = 0
        for index in range(start, len(self._window)):
            row = self._window[index]
            rows.append(row)
            size += len(row.body)
            if len(rows) >= limits.FRAME_EVENTS_MAX or size >= limits.FRAME_BYTES_SOFT:
                break
        return rows

    def encoded(self, key: object, frame: SessionFrame) -> bytes:
        """The frame as bytes; clients at the same place share one encoding."""
        if self._cached is None or self._cached[0] != key:
            self._cached = (key, _encode(frame), frame)
        return self._cached[1]


@dataclass(slots=True)
class Subscription:
    """One client's place in one session: the last event it was sent, and how much of each open block."""

    feed: Feed
    epoch: int
    seq: int
    previews: bool = True
    sent: dict[str, tuple[str, int]] = field(default_factory=dict)
    """scope -> (block, characters sent)"""
    passed: dict[str, Passing] = field(default_factory=dict)
    complete_at: tuple[object, ...] = ()
    """The feed's state of which this client has everything; most calls of `take` find it unchanged."""

    async def take(self, store: Store) -> bytes | None:
        """The next frame for this client, or None when it has everything."""
        feed = self.feed
        state = (feed.epoch, feed.seq, feed.settled, id(feed.transcript), feed.transcript.version)
        if state == self.complete_at:
            return None
        reset = ""
        if self.epoch != feed.epoch:
            reset = "the numbering of this session's events began anew"
            self.epoch, self.seq = feed.epoch, 0
            self.sent.clear()
        start = self.seq
        rows: list[EventRow] = []
        if self.seq < feed.seq:
            found = feed.recent(self.seq)
            if found is None:
                # Not beyond what is published: whoever has seen more than the feed would seem to prove a loss.
                most = min(limits.FRAME_EVENTS_MAX, feed.seq - self.seq)
                found = await store.events(feed.session, self.epoch, self.seq, most)
            rows = found
            if rows:
                self.seq = rows[-1].seq
        place = tuple(sorted(self.sent.items()))
        known = tuple(sorted((n, p.text) for n, p in self.passed.items()))
        previews: list[Preview] = []
        passing: list[Passing] = []
        if self.previews and feed.settled and self.seq >= feed.seq:
            previews = self._open_blocks()
            passing = self._remarks()
        # What was awaited meanwhile may have changed the feed: then `state` is an old one and is not found again.
        self.complete_at = state if self.seq >= feed.seq else ()
        if not (rows or previews or passing or reset):
            return None
        frame = SessionFrame(
            session=feed.session,
            epoch=self.epoch,
            events=[msgspec.Raw(row.body) for row in rows],
            previews=previews,
            passing=passing,
            reset=reset,
        )
        key = (self.epoch, start, self.seq, place, known, feed.transcript.version, bool(reset), bool(previews))
        return feed.encoded(key, frame)

    def _open_blocks(self) -> list[Preview]:
        found: list[Preview] = []
        blocks = self.feed.transcript.open
        for scope in [s for s in self.sent if s not in blocks]:
            del self.sent[scope]
        for scope, block in blocks.items():
            name, offset = self.sent.get(scope, ("", 0))
            if name != block.block:
                offset = 0
            if block.length > offset:
                found.append(Preview(block.block, block.part, offset, block.text_from(offset), scope))
                self.sent[scope] = (block.block, block.length)
        return found

    def _remarks(self) -> list[Passing]:
        remarks = self.feed.transcript.passing
        new = [p for n, p in remarks.items() if self.passed.get(n) != p]
        self.passed = dict(remarks)
        return new
