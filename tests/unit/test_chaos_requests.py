"""The checks of `make chaos-api` on what the model server saw."""

from __future__ import annotations

from betcode.core.instant import iso
from betcode.testing.chaos.api.requests import Pause, Sent, begun_after, pauses, refused_beyond, sent_in, too_fast

PAUSE = Pause(100.0, 160.0)


def at(*moments: tuple[float, str, bool]) -> list[Sent]:
    return [Sent(at_s, session, "m", refused) for at_s, session, refused in moments]


def test_pauses_are_read_from_the_log_and_one_that_is_prolonged_is_one() -> None:
    log = [
        {"message": "other"},
        {"timestamp": iso(100.0), "before": "closed", "after": "open"},
        {"timestamp": iso(110.0), "before": "open", "after": "open"},
        {"timestamp": iso(160.0), "before": "open", "after": "half_open"},
        {"timestamp": iso(161.0), "before": "half_open", "after": "closed"},
    ]
    assert pauses(log) == [PAUSE]


def test_a_request_in_a_pause_is_seen_unless_its_turn_was_under_way() -> None:
    assert sent_in(PAUSE, at((99.0, "a", True), (101.0, "b", True), (160.5, "c", False))) == []
    assert len(sent_in(PAUSE, at((101.0, "b", True), (102.0, "b", True)))) == 1
    assert len(sent_in(PAUSE, at((120.0, "c", True)))) == 1


def test_refusals_beyond_those_under_way_and_one_each_pause_are_counted() -> None:
    three = at((98.0, "a", True), (99.0, "b", True), (100.0, "c", True), (101.0, "d", True), (160.0, "a", True))
    assert refused_beyond(three, [PAUSE]) == 0
    assert refused_beyond(three + at((170.0, "b", True)), [PAUSE]) == 1
    assert refused_beyond(three, []) == 2


def test_a_slow_start_is_told_from_a_herd() -> None:
    slow = at((160, "a", False), (161, "b", False), (161, "c", False), (162, "d", False), (162, "e", False))
    assert too_fast(PAUSE, slow) == ""
    assert begun_after(PAUSE, slow) == [0.0, 1.0, 1.0, 2.0, 2.0]
    herd = at((160, "a", True), (160, "b", True), (160, "c", True))
    assert "began where 1 might" in too_fast(PAUSE, herd)
