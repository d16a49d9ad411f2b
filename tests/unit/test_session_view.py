"""What a client has seen of a session: the rules of `client.session_view`, one by one."""

from typing import Any

import msgspec
import pytest

from betcode.client.session_view import Dropped, Durable, Hole, Increment, News, Remark, Reset, SessionView
from betcode.model.events import Passing, Preview
from betcode.model.frames import SessionFrame


def event(seq: int, kind: str = "note", epoch: int = 1, **fields: Any) -> msgspec.Raw:
    body = {"kind": kind, "epoch": epoch, "seq": seq, "time": "2026-01-01T00:00:00.000Z", **fields}
    return msgspec.Raw(msgspec.json.encode(body))


def frame(*events: msgspec.Raw, epoch: int = 1, **more: Any) -> SessionFrame:
    return SessionFrame(session="abcdefghij", epoch=epoch, events=list(events), **more)


def preview(text: str, offset: int = 0, block: str = "m:0", scope: str = "") -> Preview:
    return Preview(block=block, part="text", offset=offset, text=text, scope=scope)


def answer(seq: int, text: str, block: str = "m:0") -> msgspec.Raw:
    return event(seq, "assistant", block=block, part="text", text=text, scope="")


def seqs(news: list[News]) -> list[int]:
    return [item.event["seq"] for item in news if isinstance(item, Durable)]


@pytest.mark.req("INV-2")
def test_events_that_come_again_are_told_once() -> None:
    view = SessionView()
    first = view.apply(frame(event(1), event(2), event(3)))
    again = view.apply(frame(event(2), event(3), event(4)))
    assert (seqs(first), seqs(again)) == ([1, 2, 3], [4])
    assert (view.epoch, view.seq) == (1, 4)


@pytest.mark.req("INV-2")
def test_nothing_after_a_hole_is_taken_until_the_client_attached_again() -> None:
    view = SessionView(1, 5)
    news = view.apply(frame(event(6), event(8), event(9)))
    assert seqs(news) == [6]
    assert news[-1] == Hole(expected=7, got=8)
    assert view.apply(frame(event(7))) == []
    view.attached()
    assert seqs(view.apply(frame(event(7), event(8)))) == [7, 8]


@pytest.mark.req("INV-2")
def test_a_gap_event_stands_for_the_numbers_that_it_names() -> None:
    view = SessionView(1, 2)
    gap = event(7, "gap", unit="events", first=3, last=6, cause="retention")
    assert seqs(view.apply(frame(gap, event(8)))) == [7, 8]


@pytest.mark.req("INV-2")
def test_an_event_is_passed_on_as_it_was_stored() -> None:
    raw = b'{"seq": 1, "kind":"note","new_field":[1.50],"epoch":1}'
    (news,) = SessionView().apply(frame(msgspec.Raw(raw)))
    assert isinstance(news, Durable)
    assert news.raw == raw


@pytest.mark.req("INV-2")
def test_a_view_from_the_beginning_begins_with_the_first_event_that_is_stored() -> None:
    assert seqs(SessionView().apply(frame(event(41), event(42)))) == [41, 42]


@pytest.mark.req("INV-2")
def test_a_view_of_what_is_new_begins_where_it_was_anchored() -> None:
    view = SessionView()
    view.anchor(1, 10)
    assert view.apply(frame(event(12)))[-1] == Hole(expected=11, got=12)


@pytest.mark.req("INV-2")
def test_a_reset_is_told_and_the_numbering_begins_anew() -> None:
    view = SessionView(1, 9)
    news = view.apply(frame(event(1, epoch=2), event(2, epoch=2), epoch=2, reset="the database was rebuilt"))
    assert news[0] == Reset("the database was rebuilt")
    assert seqs(news) == [1, 2]
    assert (view.epoch, view.seq) == (2, 2)


@pytest.mark.req("INV-2")
def test_an_older_epoch_is_dropped_and_a_newer_one_without_a_reset_is_a_hole() -> None:
    view = SessionView(2, 3)
    assert view.apply(frame(event(4), epoch=1)) == []
    assert isinstance(view.apply(frame(event(1, epoch=3), epoch=3))[-1], Hole)


def test_a_preview_is_told_as_what_is_new_in_it() -> None:
    view = SessionView()
    assert view.apply(frame(previews=[preview("Hel")])) == [Increment("m:0", "text", "", 0, "Hel")]
    assert view.apply(frame(previews=[preview("lo", 3)])) == [Increment("m:0", "text", "", 3, "lo")]


def test_a_whole_preview_after_a_reconnection_tells_only_what_was_missed() -> None:
    view = SessionView()
    view.apply(frame(previews=[preview("Hello")]))
    assert view.apply(frame(previews=[preview("Hello world")])) == [Increment("m:0", "text", "", 5, " world")]
    assert view.apply(frame(previews=[preview("Hello world")])) == []


def test_a_preview_that_takes_text_back_says_from_where() -> None:
    view = SessionView()
    view.apply(frame(previews=[preview("Hello world")]))
    assert view.apply(frame(previews=[preview("Hello there")])) == [Increment("m:0", "text", "", 6, "there")]
    assert view.apply(frame(previews=[preview("!", 5)])) == [Increment("m:0", "text", "", 5, "!")]


def test_a_preview_whose_beginning_is_missing_is_a_hole() -> None:
    view = SessionView()
    assert isinstance(view.apply(frame(previews=[preview("world", 6)]))[-1], Hole)


def test_the_durable_event_says_what_of_it_was_told() -> None:
    view = SessionView()
    view.apply(frame(previews=[preview("Hel")]))
    (news,) = view.apply(frame(answer(1, "Hello")))
    assert isinstance(news, Durable)
    assert news.shown == "Hel"


def test_a_late_preview_of_a_finished_block_is_dropped() -> None:
    view = SessionView()
    view.apply(frame(answer(1, "Hello")))
    assert view.apply(frame(previews=[preview("Hello")])) == []


def test_a_newer_block_drops_the_unfinished_one_of_its_scope_only() -> None:
    view = SessionView()
    view.apply(frame(previews=[preview("a"), preview("b", block="s:0", scope="toolu_1")]))
    news = view.apply(frame(previews=[preview("c", block="m2:0")]))
    assert news == [Dropped("m:0", "", "a"), Increment("m2:0", "text", "", 0, "c")]


def test_a_durable_event_of_another_block_drops_the_unfinished_one() -> None:
    view = SessionView()
    view.apply(frame(previews=[preview("a")]))
    news = view.apply(frame(answer(1, "whole", block="m2:0")))
    assert news[0] == Dropped("m:0", "", "a")
    assert seqs(news) == [1]


def test_the_end_of_a_turn_ends_all_previews() -> None:
    view = SessionView()
    view.apply(frame(previews=[preview("a"), preview("b", block="s:0", scope="toolu_1")]))
    news = view.apply(frame(event(1, "turn_ended", outcome="interrupted", message_ids=[])))
    assert {item.block for item in news if isinstance(item, Dropped)} == {"m:0", "s:0"}
    assert isinstance(news[-1], Durable)


def test_a_passing_remark_is_told() -> None:
    passing = Passing("api_retry", "try 2 of 10")
    assert SessionView().apply(frame(passing=[passing])) == [Remark(passing)]
