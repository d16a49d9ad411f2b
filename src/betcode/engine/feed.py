"""What the clients of one session can see: the newest durable events in memory, and the open previews.

Fan-out is by cursor: a feed holds no client's queue. Each `Subscription` knows how far its client is and takes all
that is new when its connection can send; a slow client gets merged previews and slows nobody. Which frame is next
depends on the feed's state and the client's `Place` alone: it is made once for all clients that are at one place.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple, Protocol

import msgspec

from betcode.core.transcript import Transcript
from betcode.engine.ports import Store
from betcode.engine.previews import Previews
from betcode.model import limits
from betcode.model.events import Passing, Preview
from betcode.model.frames import SessionFrame
from betcode.model.ids import SessionId
from betcode.model.rows import EventRow

_encode = msgspec.json.Encoder().encode

State = tuple[int, int, bool, int, int]
"""All of a feed that decides which frame is next for a client."""


class Listener(Protocol):
    """Whoever wants to know that there may be something new; an `asyncio.Event` is one."""

    def set(self) -> None:
        """There may be. It must return at once."""
        ...


class Place(NamedTuple):
    """What one client has, immutable: the last event it was sent, and how much of what is not durable."""

    epoch: int
    seq: int
    previews: bool = True
    """Whether it wants what is not durable at all."""
    sent: tuple[tuple[str, str, int], ...] = ()
    """(scope, block, characters) of each open block."""
    passed: tuple[Passing, ...] = ()


class Made(NamedTuple):
    """The next frame for a place, None if there is nothing; where it leads to, and whether the client then has all."""

    frame: bytes | None
    place: Place
    complete: bool


class Feed:
    """Published state of one session. Only its runner changes it; all in one event loop."""

    def __init__(self, session: SessionId, epoch: int, seq: int, room: Previews | None = None) -> None:
        """`epoch`, `seq`: the last event that is durable. `room`: what it shares for previews; None: one of its own."""
        self._room = room or Previews()
        self.session = session
        self.epoch = epoch
        self.seq = seq
        self.transcript = Transcript()
        self.settled = True
        """False while a commit is under way: previews wait for it, so that they never overtake an event."""
        self.position = (0, 0)
        """Process number and offset in its output behind the last whole line that was read."""
        self.listeners: set[Listener] = set()
        self._window: deque[EventRow] = deque()
        self._window_bytes = 0
        self._followed = 0
        """Transcripts so far."""
        self._made_of: State | None = None
        self._made: dict[Place, Made] = {}

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
        """Show the open blocks of this transcript. Its version counts anew."""
        self.transcript = transcript
        self._followed += 1
        self._room.note(self.session, self, transcript.chars)

    def shed(self) -> None:
        """Show no previews of the open blocks: all sessions write too much, and this one most of it."""
        self.transcript.shed()
        self._ring()

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
        self._room.note(self.session, self, self.transcript.chars)
        self._ring()

    def _ring(self) -> None:
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

    @property
    def state(self) -> State:
        """Changes whenever there may be something new for anybody."""
        return (self.epoch, self.seq, self.settled, self._followed, self.transcript.version)

    def made(self, state: State, place: Place) -> Made | None:
        """What was made for this place in this state, if it was."""
        return self._made.get(place) if state == self._made_of else None

    def keep(self, state: State, place: Place, made: Made) -> None:
        """Have the other clients at this place share it."""
        if state != self._made_of or len(self._made) >= limits.FRAMES_SHARED:
            self._made_of = state
            self._made.clear()
        self._made[place] = made


class Subscription:
    """One client's place in one session."""

    __slots__ = ("_complete_at", "feed", "place")

    def __init__(self, feed: Feed, epoch: int, seq: int, previews: bool = True) -> None:
        """`epoch`, `seq`: the last event that the client has; another epoch than the feed's makes it begin anew."""
        self.feed = feed
        self.place = Place(epoch, seq, previews)
        self._complete_at: State | None = None
        """The feed's state of which this client has everything; most calls find it unchanged."""

    def take_now(self) -> bytes | None:
        """The next frame for this client; None when it has everything, or when it `lags`."""
        feed = self.feed
        state = feed.state
        if state == self._complete_at:
            return None
        made = feed.made(state, self.place)
        if made is None:
            rows = self._recent()
            if rows is None:
                return None
            made = _make(feed, self.place, rows)
            feed.keep(state, self.place, made)
        return self._go_on(state, made)

    @property
    def lags(self) -> bool:
        """Whether events that come next are no longer in memory."""
        return self._recent() is None

    async def take(self, store: Store) -> bytes | None:
        """As `take_now`, with the store's help for a client that lags."""
        feed = self.feed
        while True:
            epoch, after = feed.epoch, self._after()
            rows = self._recent()
            if rows is not None:
                return self.take_now()
            # Not beyond what is published: whoever has seen more than the feed would seem to prove a loss.
            most = min(limits.FRAME_EVENTS_MAX, feed.seq - after)
            rows = await store.events(feed.session, epoch, after, most)
            if feed.epoch == epoch:
                return self._go_on(feed.state, _make(feed, self.place, rows))

    def _after(self) -> int:
        """The last event that the client has of the feed's epoch."""
        return self.place.seq if self.place.epoch == self.feed.epoch else 0

    def _recent(self) -> list[EventRow] | None:
        after = self._after()
        return [] if after >= self.feed.seq else self.feed.recent(after)

    def _go_on(self, state: State, made: Made) -> bytes | None:
        self.place = made.place
        self._complete_at = state if made.complete else None
        return made.frame


def _make(feed: Feed, place: Place, rows: list[EventRow]) -> Made:
    """The next frame for a client at this place; `rows` are the events that come next for it."""
    reset = ""
    if place.epoch != feed.epoch:
        reset = "the numbering of this session's events began anew"
        place = Place(feed.epoch, 0, place.previews, (), place.passed)
    seq = rows[-1].seq if rows else place.seq
    previews: list[Preview] = []
    passing: list[Passing] = []
    sent, passed = place.sent, place.passed
    if place.previews and feed.settled and seq >= feed.seq:
        previews, sent = _open_blocks(feed.transcript, sent)
        passed = tuple(feed.transcript.passing.values())
        passing = [remark for remark in passed if remark not in place.passed]
    frame = None
    if rows or previews or passing or reset:
        frame = _encode(
            SessionFrame(
                session=feed.session,
                epoch=feed.epoch,
                events=[msgspec.Raw(row.body) for row in rows],
                previews=previews,
                passing=passing,
                reset=reset,
            )
        )
    return Made(frame, Place(feed.epoch, seq, place.previews, sent, passed), seq >= feed.seq)


def _open_blocks(
    transcript: Transcript, sent: tuple[tuple[str, str, int], ...]
) -> tuple[list[Preview], tuple[tuple[str, str, int], ...]]:
    """What is new of the open blocks, and how much of them the client then has."""
    known = {scope: (block, length) for scope, block, length in sent}
    found: list[Preview] = []
    now: list[tuple[str, str, int]] = []
    for scope, block in transcript.open.items():
        name, offset = known.get(scope, ("", 0))
        if name != block.block:
            offset = 0
        if block.length > offset:
            found.append(Preview(block.block, block.part, offset, block.text_from(offset), scope))
            now.append((scope, block.block, block.length))
        elif scope in known:
            now.append((scope, *known[scope]))
    return found, tuple(now)
