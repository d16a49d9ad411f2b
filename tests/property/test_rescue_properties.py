"""The pure decisions of a rescue: which version wins, what a journal gives back, what proves a loss."""

from __future__ import annotations

import itertools
from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from betcode.core.rescue.newest import newer_message, newer_permission, newer_session
from betcode.core.rescue.patience import Patience
from betcode.core.rescue.replaying import proved
from betcode.core.rescue.suspicion import lost_end
from betcode.core.rescue.telling import Found, report
from betcode.core.rescue.weaving import content_of, woven
from betcode.model import rescue_limits
from betcode.model.events import Event, Note
from betcode.model.ids import SessionId
from betcode.model.rescue import Outcome, Source
from betcode.model.rows import Mark, Transaction
from betcode.model.states import Delivery, MessageState, PermissionState
from betcode.testing.sample_rows import creation, message_row, permission_row, session_row, step

A, B = SessionId("aaaaaaaaaa"), SessionId("bbbbbbbbbb")

HISTORY = st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=40)
"""What was shown, in order, and whether claude printed it."""


def events(history: list[tuple[str, bool]]) -> list[Event]:
    return [
        Note(epoch=1, seq=number, time="t", name="own" if own else "other", text=text)
        for number, (text, own) in enumerate(history, 1)
    ]


@pytest.mark.req("INV-6", "INV-2")
@given(HISTORY, st.sets(st.integers(1, 40)))
def test_what_the_journal_gives_back_is_put_in_its_order_and_nothing_is_doubled(
    history: list[tuple[str, bool]], lost: set[int]
) -> None:
    true = events(history)
    known = {event.seq: msgspec.json.encode(event) for event in true if event.seq not in lost}
    made = [replace(event, seq=0, time="") for event in true if event.name == "own"]  # type: ignore[attr-defined]
    placed = woven(made, known, 1, len(true))
    merged = sorted(
        [(number, 0, 0, content_of(body)) for number, body in known.items()]
        + [(after, 1, order, content_of(msgspec.json.encode(event))) for order, (after, event) in enumerate(placed)]
    )
    own = [content_of(msgspec.json.encode(event)) for event in made]
    shown = [content for *_, content in merged if content in set(own)]
    assert Counter(shown) == Counter(own)
    if len(set(own)) == len(own):
        assert shown == own


@pytest.mark.req("INV-6", "INV-2")
@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=40), st.sets(st.integers(1, 40)), st.integers(0, 3))
def test_a_hole_is_filled_under_its_numbers_only_when_all_that_is_left_agrees(
    texts: list[str], lost: set[int], later: int
) -> None:
    true = events([(text, True) for text in texts])
    others = events([("z", False)] * later)  # what came after claude's output, from elsewhere
    last = len(true) + later
    known = {event.seq: msgspec.json.encode(event) for event in true if event.seq not in lost}
    known |= {len(true) + event.seq: msgspec.json.encode(event) for event in others}
    made = [replace(event, time="") for event in true]
    found = proved(made, known, 1, last)
    assert sorted(found) == [number for number in range(1, last + 1) if number not in known]
    assert all(replace(event, time="t") == true[number - 1] for number, event in found.items())
    some = next((number for number in known if number <= len(true)), None)
    if some is not None:
        wrong = known | {some: msgspec.json.encode(replace(true[some - 1], text="another"))}
        assert proved(made, wrong, 1, last) == {}
    if lost & set(range(1, len(true) + 1)):
        assert proved(made[: min(lost) - 1], known, 1, last) == {}, "less than was lost proves nothing"


STATES = (
    MessageState.ACCEPTED,
    MessageState.QUEUED,
    MessageState.DELIVERING,
    MessageState.DELIVERED,
    MessageState.STARTED,
    MessageState.COMPLETED,
)


@pytest.mark.req("SQ-4", "INV-1")
@given(st.permutations(range(len(STATES))), st.booleans())
def test_of_a_messages_versions_the_last_one_wins_in_whatever_order_they_are_found(
    order: list[int], with_revisions: bool
) -> None:
    kept, kept_rev = None, 0
    for number in order:
        found, rev = message_row(A, "m", state=STATES[number]), (number + 1) * with_revisions
        if kept is None or newer_message(kept, kept_rev, found, rev):
            kept, kept_rev = found, rev
    assert kept is not None
    assert kept.state is MessageState.COMPLETED


@pytest.mark.req("INV-3", "SQ-4")
@given(
    st.sampled_from(PermissionState),
    st.sampled_from(PermissionState),
    st.sampled_from(Delivery),
    st.integers(0, 5),
    st.integers(0, 5),
)
def test_a_decision_is_never_replaced_by_another_or_taken_back(
    known: PermissionState, found: PermissionState, delivery: Delivery, known_rev: int, rev: int
) -> None:
    before, after = permission_row(A, "p", state=known), permission_row(A, "p", state=found, delivery=delivery)
    if newer_permission(before, known_rev, after, rev):
        assert known in (PermissionState.PENDING, found)


@pytest.mark.req("SQ-4")
@given(st.tuples(st.integers(1, 3), st.integers(0, 9)), st.tuples(st.integers(1, 3), st.integers(0, 9)))
def test_a_session_never_goes_back(known: tuple[int, int], found: tuple[int, int]) -> None:
    before = session_row(A, epoch=known[0], seq=known[1])
    after = session_row(A, epoch=found[0], seq=found[1])
    assert newer_session(before, 5, after, 1) == (found > known)
    assert newer_session(before, 1, after, 5) == (found >= known)


@pytest.mark.req("SQ-3")
@given(st.integers(0, 8), st.integers(0, 8), st.integers(0, 8))
def test_a_loss_is_proved_by_marks_and_by_the_log_and_a_kill_in_a_commit_proves_none(
    stored: int, logged: int, marked: int
) -> None:
    unstored = [step(A, seq, message=f"m{seq}") for seq in range(stored + 1, logged + 1)]
    mark = {A: Mark(1, marked, 1, 0)} if marked else {}
    said = lost_end({A: (1, stored)}, mark, unstored)
    assert bool(said) == (marked > max(stored, logged))
    if len(unstored) > 1:
        assert lost_end({A: (1, stored)}, {}, unstored[1:]), "a hole before what the log holds"


@pytest.mark.req("SQ-3")
def test_a_session_with_a_mark_that_the_database_does_not_know_proves_a_loss() -> None:
    assert lost_end({}, {A: Mark(1, 1, 1, 0)}, [])
    assert not lost_end({}, {}, [creation(A), step(A, 1)])
    assert lost_end({}, {}, [step(A, 1)])
    assert not lost_end({A: (2**62, 0)}, {A: Mark(9, 9, 9, 9)}, [])
    assert not lost_end(
        {A: (1, 3)}, {}, [Transaction(session_row(A, epoch=2, seq=1), events=step(A, 1, epoch=2).events)]
    )


@pytest.mark.req("INV-5")
@given(st.lists(st.floats(0.0, 2_000.0), max_size=30))
def test_repairs_within_an_hour_are_bounded(pauses: list[float]) -> None:
    patience, begun = Patience(), list[float]()
    for now_s in itertools.accumulate(pauses):
        if patience.may_begin(now_s):
            patience = patience.began(now_s).ended(well=True)
            begun.append(now_s)
    for at in begun:
        recent = [other for other in begun if at <= other < at + rescue_limits.REPAIRS_WITHIN_S]
        assert len(recent) <= rescue_limits.REPAIRS_MAX


@pytest.mark.req("SQ-5")
@given(st.integers(0, 5), st.lists(st.text(min_size=1), max_size=300), st.none() | st.floats(0, 1e7))
def test_a_report_says_first_what_became_of_it_and_is_bounded(
    rows: int, missing: list[str], backup_age_s: float | None
) -> None:
    found = Found("all sources", {"events": rows}, [Source("backup", "x", rows)], missing, backup_age_s=backup_age_s)
    told = report(found, at="t", cause="c", seconds=1.0, kept=["daemon.db.corrupt.x"])
    assert told.outcome is (Outcome.RESET if not rows else Outcome.PARTLY if missing else Outcome.REPAIRED)
    assert len(told.sentences) <= rescue_limits.SENTENCES_MAX + 1
    assert len(told.missing) <= rescue_limits.SENTENCES_MAX + 1
    assert ("old" in told.sentences[0]) == (backup_age_s is not None and rows > 0)
    assert told.sentences[0].startswith("The database begins anew" if not rows else "The database was damaged")
