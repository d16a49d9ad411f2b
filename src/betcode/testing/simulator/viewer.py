"""What one person saw of one session, checked frame by frame (INV-2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from betcode.client.session_view import Durable, Hole, Increment, Reset, SessionView
from betcode.model.frames import SessionFrame
from betcode.testing.simulator.ledger import Ledger
from betcode.testing.simulator.stage import Stage
from betcode.testing.simulator.truth import Truth

_decode = msgspec.json.Decoder(dict[str, Any]).decode
SAME_HOLE_MAX = 3
"""As the production client: attaching again does not close a hole in what the daemon has."""


@dataclass(slots=True)
class Viewer:
    """The production view with its checks; it lives as long as the person, over all connections."""

    stage: Stage
    truth: Truth
    ledger: Ledger
    session: str
    name: str
    view: SessionView = field(default_factory=SessionView)
    asked: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Open questions this person has seen: id -> the event."""
    expected: int = 0
    """The number that must come next on this connection; 0 when stale frames may still be on their way."""
    holes: int = 0

    told: tuple[int, int] = (1, 0)
    """The last event that the view gave out, over all connections."""

    def attached(self, *, fresh: bool) -> None:
        """A request to attach is sent; `fresh`: for the first time on this connection."""
        self.view.attached()
        self.expected = self.view.seq + 1 if fresh else 0

    def take(self, frame: SessionFrame) -> None:
        """Take a frame and check it."""
        for raw in frame.events:
            self._check_raw(bytes(raw))
        for news in self.view.apply(frame):
            match news:
                case Durable():
                    self.holes = 0
                    self._on_event(news)
                case Increment():
                    self._on_increment(news)
                case Reset():
                    self.stage.fail("INV-2", f"{self.name} is told that {self.session} begins anew: {news.why}")
                case Hole():
                    self.holes += 1
                    same = f"{self.name} misses event {news.expected} of {self.session} and gets {news.got}"
                    self.stage.check(self.holes < SAME_HOLE_MAX and not self.expected, "INV-2", same)
                case _:
                    pass

    def _check_raw(self, raw: bytes) -> None:
        event = _decode(raw)
        epoch, seq = event["epoch"], event["seq"]
        stored = self.ledger.event(self.session, epoch, seq)
        if stored is None or stored.body != raw:
            self.stage.fail("INV-2", f"{self.name} sees {raw[:120]!r} of {self.session}, stored is {stored}")
        if self.expected:
            order = f"{self.name} gets event {seq} of {self.session}, {self.expected} comes next"
            self.stage.check(seq == self.expected, "INV-2", order)
            self.expected = seq + 1

    def _on_event(self, news: Durable) -> None:
        event = news.event
        kind = event["kind"]
        epoch, seq = self.told
        place = (event["epoch"], event["seq"])
        once = f"{self.name} is shown event {place} of {self.session} after {self.told}"
        self.stage.check(place == (epoch, seq + 1), "INV-2", once)
        self.told = place
        if kind == "permission_asked":
            self.asked[event["permission_id"]] = event
        elif kind == "permission_settled":
            self.asked.pop(event["permission_id"], None)
        elif kind == "assistant":
            printed = self.truth.streamed.get(event["block"])
            text = event["text"]
            same = f"block {event['block']} is shown as {text!r}, claude printed {printed!r}"
            cut = event.get("interrupted") and printed is not None and printed.startswith(text)
            self.stage.check(text == printed or bool(cut), "INV-2", same)
            told = f"block {event['block']} was told as {news.shown!r} and is {text!r}"
            lost = bool(cut) and self.stage.plan.power_failed and news.shown.startswith(text)
            self.stage.check(text.startswith(news.shown) or lost, "INV-2", told)  # the power took a preview's end

    def _on_increment(self, news: Increment) -> None:
        printed = self.truth.streamed.get(news.block, "")
        part = printed[news.offset : news.offset + len(news.text)]
        wrong = f"{self.name} is told {news.text!r} of {news.block} at {news.offset}, claude printed {printed!r}"
        self.stage.check(part == news.text, "INV-2", wrong)
