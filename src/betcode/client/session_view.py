"""What one client has seen of one session: each durable event once and in order, and the text of unfinished blocks.

Pure: frames go in, news come out. Whoever attaches again after a lost connection keeps the same view, and nothing is
told twice. Rules:
  1. An event at or before the cursor is a duplicate and dropped; the next one moves the cursor by one.
  2. An event further ahead is a hole: nothing after it is taken until the client attached again from the cursor.
  3. A preview keeps `text[:offset]` of its block and appends its text. The durable event of the block replaces it, so
     does a newer block of the scope; the end of a turn ends all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from betcode.model.events import Passing, Preview
from betcode.model.frames import SessionFrame

_decode = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True, slots=True)
class Durable:
    """A durable event. `raw` is its JSON as stored; `shown` is the text of its block that was told as increments."""

    event: dict[str, Any]
    raw: bytes
    shown: str = ""


@dataclass(frozen=True, slots=True)
class Increment:
    """More text of an unfinished block: what follows `text[:offset]`, usually all that was told before."""

    block: str
    part: str
    scope: str
    offset: int
    text: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """An unfinished block that will never be finished: its text was told and is not part of the conversation."""

    block: str
    scope: str
    text: str


@dataclass(frozen=True, slots=True)
class Remark:
    """Something of the moment, such as the progress of a tool."""

    passing: Passing


@dataclass(frozen=True, slots=True)
class Reset:
    """The numbering began anew, `why` says the reason: forget what was told of this session."""

    why: str


@dataclass(frozen=True, slots=True)
class Hole:
    """Frames are missing between the cursor and what came: attach again from the cursor."""

    expected: int
    got: int


News = Durable | Increment | Dropped | Remark | Reset | Hole


@dataclass(slots=True)
class _Open:
    block: str
    part: str
    text: str


@dataclass(slots=True)
class SessionView:
    """The cursor is (epoch, seq), the last event seen. Epoch 0: nothing seen yet, the first event is the beginning."""

    epoch: int = 0
    seq: int = 0
    broken: bool = False
    """A hole was found and nothing is taken until `attached`."""
    _anchored: bool = field(init=False)
    _open: dict[str, _Open] = field(default_factory=dict)
    _last: dict[str, str] = field(default_factory=dict)
    """scope -> the block that was completed last: a late preview of it is dropped."""

    def __post_init__(self) -> None:
        self._anchored = self.epoch > 0

    def attached(self) -> None:
        """The client attached again from the cursor: what comes now follows it."""
        self.broken = False

    def anchor(self, epoch: int, seq: int) -> None:
        """Say where a view begins that shows only what is new. No effect once anything was seen."""
        if not self._anchored:
            self.epoch, self.seq, self._anchored = epoch, seq, True

    def apply(self, frame: SessionFrame) -> list[News]:
        """Take one frame. After a `Hole`, which comes last, frames are ignored until `attached`."""
        if self.broken:
            return []
        news: list[News] = []
        if frame.reset:
            self._begin_anew(frame, news)
        elif self._anchored and frame.epoch != self.epoch:
            if frame.epoch > self.epoch:
                self._break(news, got=0)
            return news
        self.epoch = frame.epoch
        for raw in frame.events:
            if not self._event(bytes(raw), news):
                return news
        for preview in frame.previews:
            if not self._preview(preview, news):
                return news
        news += [Remark(passing) for passing in frame.passing]
        return news

    def _begin_anew(self, frame: SessionFrame, news: list[News]) -> None:
        self._drop_all(news)
        self.epoch, self.seq, self._anchored = frame.epoch, 0, False
        news.append(Reset(frame.reset))

    def _break(self, news: list[News], *, got: int) -> None:
        self.broken = True
        news.append(Hole(self.seq + 1, got))

    def _event(self, raw: bytes, news: list[News]) -> bool:
        """Take one event; False when it does not follow the cursor."""
        event = _decode(raw)
        seq, kind = event["seq"], event["kind"]
        if not self._anchored:
            self.seq, self._anchored = seq - 1, True
        if kind == "gap" and event["unit"] == "events" and event["first"] <= self.seq + 1 <= event["last"]:
            seq = max(seq, event["last"])  # it stands for the numbers that it names
        elif seq <= self.seq:
            return True
        elif seq > self.seq + 1:
            self._break(news, got=seq)
            return False
        self.seq = seq
        if kind == "turn_ended":
            self._drop_all(news)
        news.append(Durable(event, raw, self._complete(event, news)))
        return True

    def _complete(self, event: dict[str, Any], news: list[News]) -> str:
        """The text that was told of this event's block, which is no longer open."""
        block = event.get("block")
        if not block:
            return ""
        scope = event.get("scope", "")
        self._last[scope] = block
        opened = self._open.get(scope)
        if opened is None:
            return ""
        del self._open[scope]
        if opened.block == block:
            return opened.text
        news.append(Dropped(opened.block, scope, opened.text))
        return ""

    def _preview(self, preview: Preview, news: list[News]) -> bool:
        """Take one preview; False when text before it is missing."""
        scope = preview.scope
        opened = self._open.get(scope)
        if opened is not None and opened.block != preview.block:
            news.append(Dropped(opened.block, scope, opened.text))
            opened = None
        elif opened is None and self._last.get(scope) == preview.block:
            return True
        old = opened.text if opened is not None else ""
        if preview.offset > len(old):
            self._break(news, got=0)
            return False
        self._open[scope] = _Open(preview.block, preview.part, old[: preview.offset] + preview.text)
        kept = _common(old, preview)
        told = preview.text[kept - preview.offset :]
        if told or kept < len(old):
            news.append(Increment(preview.block, preview.part, scope, kept, told))
        return True

    def _drop_all(self, news: list[News]) -> None:
        news += [Dropped(opened.block, scope, opened.text) for scope, opened in self._open.items()]
        self._open.clear()
        self._last.clear()


def _common(old: str, preview: Preview) -> int:
    """How many characters of the block's new text were told before and are the same."""
    before = old[preview.offset :]
    if preview.text.startswith(before):
        return len(old)
    same = 0
    for was, now in zip(before, preview.text, strict=False):
        if was != now:
            break
        same += 1
    return preview.offset + same
