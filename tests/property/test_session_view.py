"""Whatever the order of deltas, frames, losses and repeats: a client gets each event once, and the right text.

The daemon's side is the real one: `core.transcript` folds what claude prints, `engine.feed` makes the frames.
"""

from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from betcode.client.session_view import Dropped, Durable, Hole, Increment, SessionView
from betcode.engine.feed import Feed, Subscription
from betcode.engine.ports import Store
from betcode.model.facts import AnswerStarted, BlockStarted, Delta, Fact, TextBlock, TurnResult
from betcode.model.frames import SessionFrame
from betcode.model.ids import SessionId
from betcode.model.rows import EventRow

SESSION = SessionId("abcdefghij")
T = TypeVar("T")
SCOPES = ("", "toolu_1")


def finished(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never has to wait."""
    try:
        work.send(None)
    except StopIteration as stop:
        return cast("T", stop.value)
    raise AssertionError("it waited")


@dataclass
class Writer:
    """Stands for claude: writes blocks in two scopes; what it printed is shown by the daemon's own code."""

    feed: Feed = field(default_factory=lambda: Feed(SESSION, 1, 0))
    answers: int = 0
    open: dict[str, tuple[str, str]] = field(default_factory=dict)
    """scope -> (message, text so far)"""
    stored: list[bytes] = field(default_factory=list)

    def print(self, fact: Fact) -> None:
        for _, events in self.feed.transcript.read([fact]):
            for event in events:
                self.store(event)

    def store(self, event: Any) -> None:
        seq = len(self.stored) + 1
        body = msgspec.json.encode(msgspec.structs.replace(event, epoch=1, seq=seq))
        self.stored.append(body)
        self.feed.publish((EventRow(SESSION, 1, seq, "", "", body),))

    def write(self, scope: str, text: str) -> None:
        if scope not in self.open:
            self.answers += 1
            message = f"m{self.answers}"
            self.print(AnswerStarted(scope, message))
            self.print(BlockStarted(scope, 0, "text"))
            self.open[scope] = (message, "")
        message, before = self.open[scope]
        self.print(Delta(scope, 0, "text", text))
        self.open[scope] = (message, before + text)

    def finish(self, scope: str) -> None:
        if scope in self.open:
            message, text = self.open.pop(scope)
            self.print(TextBlock(scope, message, "text", text))

    def begin_again(self, scope: str) -> None:
        """The answer is thrown away in the middle, and another one begins."""
        self.open.pop(scope, None)
        self.write(scope, "again ")

    def end_turn(self) -> None:
        from betcode.model.events import TurnEnded

        self.open.clear()
        self.print(TurnResult("success", False))
        self.store(TurnEnded(outcome="completed", message_ids=[]))


@dataclass
class Reader:
    """A client with its present subscription. It assembles texts only from what the view tells it."""

    writer: Writer
    view: SessionView = field(default_factory=SessionView)
    events: list[bytes] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    frames: list[SessionFrame] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.attach()

    def attach(self) -> None:
        self.subscription = Subscription(self.writer.feed, self.view.epoch or 1, self.view.seq)
        self.frames.clear()
        self.view.attached()

    def take(self) -> bool:
        data = finished(self.subscription.take(cast("Store", None)))
        if data is None:
            return False
        frame = msgspec.json.decode(data, type=SessionFrame)
        self.frames.append(frame)
        self.apply(frame)
        return True

    def apply(self, frame: SessionFrame) -> None:
        for item in self.view.apply(frame):
            match item:
                case Durable():
                    self.events.append(item.raw)
                    self.check(item)
                case Increment():
                    self.texts[item.block] = self.texts.get(item.block, "")[: item.offset] + item.text
                case Dropped():
                    assert self.texts.pop(item.block) == item.text
                case Hole():
                    self.attach()
                case _:
                    raise AssertionError(item)

    def check(self, item: Durable) -> None:
        block = item.event.get("block")
        if block is not None:
            told = self.texts.pop(block, "")
            assert told == item.shown
            assert item.event["text"].startswith(told)

    def catch_up(self) -> None:
        while self.take():
            pass
        assert self.events == self.writer.stored
        shown = {block: text for block, text in self.texts.items() if text}
        assert shown == {f"{message}:0": text for message, text in self.writer.open.values() if text}


ACTIONS = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(SCOPES), st.text(min_size=1, max_size=5)),
    st.tuples(st.sampled_from(["finish", "begin_again"]), st.sampled_from(SCOPES)),
    st.tuples(st.sampled_from(["end_turn", "take", "take", "lose_frame", "repeat_frame", "reconnect", "catch_up"])),
)


@pytest.mark.req("INV-2")
@given(st.lists(ACTIONS, max_size=60))
def test_each_event_comes_once_and_in_order_and_the_text_is_right_whatever_happens(
    actions: list[tuple[str, ...]],
) -> None:
    writer = Writer()
    reader = Reader(writer)
    for name, *arguments in actions:
        match name:
            case "take":
                reader.take()
            case "catch_up":
                reader.catch_up()
            case "reconnect":
                reader.attach()
            case "lose_frame":  # it was on its way when the connection broke
                finished(reader.subscription.take(cast("Store", None)))
                reader.attach()
            case "repeat_frame":
                if reader.frames and not reader.view.broken:
                    reader.apply(msgspec.structs.replace(reader.frames[-1], previews=[], passing=[]))
            case _:
                getattr(writer, name)(*arguments)
    reader.attach()
    reader.catch_up()
    reader.attach()
    reader.catch_up()
