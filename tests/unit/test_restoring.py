"""What becomes of messages and questions that a lost database leaves with claude (INV-1, INV-3)."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from msgspec.structs import replace as change

from betcode.core.draft import Decision
from betcode.core.inputs import Behind, Started
from betcode.core.life import Session, to_row
from betcode.core.restoring import Lost, restore
from betcode.model.events import MessageProgress, Notice, PermissionSettled
from betcode.model.rows import Mark, Message, Permission, SessionRow
from betcode.model.states import MessageState, PermissionState
from betcode.testing.builders import Script, ask, at, life, question_id, result, submit, uuid


def restored(script: Script, seen: dict[str, SessionRow], *, messages: list[Message] | None = None) -> Decision:
    """The database is gone; the newest record is the session as it is now."""
    row = to_row(script.session)
    lost = Lost(
        row,
        Mark(row.epoch, row.seq + 5, row.run, row.offset),
        messages if messages is not None else list(script.messages.values()),
        script.session.permissions,
        frozenset(),
        seen,
    )
    return restore(None, ((), ()), lost, now=at(100.0), rng=Random(1))


def states(decision: Decision) -> dict[str, str]:
    return {row.id: row.state.value for row in decision.rows if isinstance(row, Message)}


def notices(decision: Decision) -> list[str]:
    return [event.code for event in decision.events if isinstance(event, Notice)]


def rows_of(session: Session, *names: str) -> dict[str, SessionRow]:
    return dict.fromkeys(names, to_row(session))


@pytest.mark.req("INV-1")
def test_a_message_whose_turn_goes_on_stays_with_claude_and_so_does_one_that_was_steered_into_it() -> None:
    script = Script().working(1)
    script.feed(submit(2, steer=True), life(2, "queued"))
    assert script.state(2) is MessageState.DELIVERING
    decision = restored(script, rows_of(script.session, uuid(1), uuid(2)))
    assert states(decision) == {uuid(1): "started", uuid(2): "delivering"}
    assert notices(decision) == ["store.restored"]


@pytest.mark.req("INV-1")
def test_a_message_of_an_earlier_turn_is_unknown_is_told_and_holds_up_nothing() -> None:
    script = Script().working(1)
    then, first = script.session, script.messages[uuid(1)]
    script.feed(submit(2), result(1), life(2, "started"), result(2), submit(3))
    script.messages[uuid(1)] = first  # the record of its end is lost
    waiting = change(script.messages[uuid(3)], state=MessageState.QUEUED, run=0)
    messages = [first, script.messages[uuid(2)], waiting]
    script.session = replace(script.session, turn=None)
    decision = restored(script, rows_of(then, uuid(1)) | rows_of(script.session, uuid(2), uuid(3)), messages=messages)
    assert states(decision) == {uuid(1): "unknown", uuid(2): "completed", uuid(3): "queued"}
    reasons = [e.reason for e in decision.events if isinstance(e, MessageProgress) and e.state == "unknown"]
    assert reasons == ["the record of its end was lost with the database"]
    assert notices(decision) == ["agent.unknown_outcome", "store.restored"]
    again = Script(decision.session)
    again.feed(Started(decision.session.run, adopted=True))
    assert again.state(3) is MessageState.DELIVERING, "the queue goes on"


@pytest.mark.req("INV-1")
def test_a_message_that_an_older_process_had_is_unknown_when_the_mark_tells_of_a_newer_one() -> None:
    script = Script().working(1)
    row = to_row(script.session)
    script.feed(Behind(Mark(row.epoch, row.seq + 20, row.run + 1, 0)))
    assert script.state(1) is MessageState.UNKNOWN
    assert "agent.unknown_outcome" in notices(script.last)
    assert script.session.current is None


@pytest.mark.req("INV-1")
def test_a_message_whose_process_is_the_newest_is_left_to_what_its_journal_says() -> None:
    script = Script().working(1)
    row = to_row(script.session)
    script.feed(Behind(Mark(row.epoch, row.seq + 20, row.run, 500)))
    script.feed(result(1))
    assert script.state(1) is MessageState.COMPLETED


@pytest.mark.req("INV-3")
def test_a_question_of_an_earlier_turn_is_cancelled_and_a_subagents_stays() -> None:
    script = Script().working(1)
    script.feed(ask("r1"), change(ask("r2"), agent_id="agent"))
    asked = script.session
    script.feed(result(1), submit(2))
    decision = restored(script, rows_of(asked, question_id("r1"), question_id("r2")))
    open_now = {row.id: row.state for row in decision.rows if isinstance(row, Permission)}
    assert open_now == {question_id("r1"): PermissionState.CANCELLED, question_id("r2"): PermissionState.PENDING}
    settled = [event for event in decision.events if isinstance(event, PermissionSettled)]
    assert [(event.permission_id, event.by) for event in settled] == [(question_id("r1"), "recovery")]
    assert [p.id for p in decision.session.permissions] == [question_id("r2")]
