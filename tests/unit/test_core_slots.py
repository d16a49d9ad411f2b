"""What a session does with what the pool lets it do: waits, goes on with an answer, gives its process back."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from betcode.core.deadlines import deadline_s
from betcode.core.draft import Decision
from betcode.core.effects import Allow, Deny, EndProcess, Refuse, Reply, StartProcess, Write
from betcode.core.inputs import Answer, Clear, Close, Ended, Input, Interrupt, MakeRoom, Started, Tick
from betcode.core.life import Process, Session, from_rows, state_of, to_row
from betcode.core.pool import CROWDED, OPEN, WAITS, Claim, Gate, Life, Stance
from betcode.core.resting import ENDED
from betcode.core.session import step
from betcode.core.stance import stance_of
from betcode.model.events import MessageProgress, Notice, Status
from betcode.model.facts import RunState, TaskList
from betcode.model.policy import DEFAULT, Policy
from betcode.model.rows import Options
from betcode.model.states import Delivery, MessageState, PermissionState
from betcode.testing.builders import Script, ask, call, life, new_session, question_id, result, submit

CLOSED = Gate(begins=False, goes_on=False, why=WAITS)


def gated(script: Script, gate: Gate, *news: Input) -> Decision:
    """Feed it while the pool says this."""
    for one in news:
        script.session = replace(script.session, gate=gate)
        script.feed(one)
    return script.last


def asking() -> Script:
    script = Script().working()
    script.feed(call(), ask())
    return script


def resting() -> Script:
    """A session whose turn is over."""
    script = Script().working()
    script.feed(result(1), life(1, "completed"), RunState("idle"))
    script.session = replace(script.session, heard_s=script.now.steady_s)
    assert script.state(1) is MessageState.COMPLETED
    return script


def answered(allow: bool = True) -> Answer:
    return Answer(9, question_id("r1"), allow, "ann")


def written(decision: Decision) -> list[object]:
    return [effect.command for effect in decision.effects if isinstance(effect, Write)]


# --- messages -------------------------------------------------------------------------------------------------------


@pytest.mark.req("PS-8")
def test_a_session_without_a_slot_keeps_its_message_and_says_why() -> None:
    script = Script()
    gated(script, CLOSED, submit(1))
    assert stance_of(script.session) == Stance(Claim.BEGIN, Life.NONE)
    assert script.session.waiting[0].reason == WAITS
    assert script.session.run == 0
    decision = gated(script, replace(CLOSED, why="it has waited"), Tick())
    assert [e.reason for e in decision.events if isinstance(e, MessageProgress)] == ["it has waited"]
    assert gated(script, OPEN, Tick()).effects == (StartProcess(1),)


@pytest.mark.req("PS-8")
@pytest.mark.req("INV-8")
def test_a_message_that_would_have_to_wait_is_refused_at_once_when_the_queue_is_full() -> None:
    full = replace(CLOSED, full=True)
    (refused,) = gated(Script(), full, submit(1)).effects
    assert isinstance(refused, Refuse)
    assert (refused.error.code, refused.error.exit_status) == ("session.queue_full", 4)
    (taken,) = gated(Script().working(), full, submit(2)).effects
    assert isinstance(taken, Reply), "one whose session works waits behind it"


@pytest.mark.req("PS-8")
def test_after_its_turn_a_session_gives_its_slot_to_those_that_wait() -> None:
    script = Script().working()
    script.feed(submit(2))
    assert stance_of(script.session).claim is Claim.WORKS
    script.session = replace(script.session, gate=CLOSED)
    script.feed(result(1))
    assert stance_of(script.session) == Stance(Claim.BEGIN, Life.RESTS)
    assert script.messages[submit(2).message_id].reason == WAITS


# --- answers --------------------------------------------------------------------------------------------------------


@pytest.mark.req("PS-8", "INV-3")
@pytest.mark.parametrize("allow", [True, False])
def test_an_answer_is_stored_at_once_and_told_to_claude_when_there_is_a_slot(allow: bool) -> None:
    script = asking()
    assert stance_of(script.session) == Stance(Claim.NONE, Life.WAITS)
    decision = gated(script, CROWDED, answered(allow))
    assert written(decision) == []
    assert any(isinstance(effect, Reply) for effect in decision.effects)
    assert stance_of(script.session).claim is Claim.GO_ON
    assert written(gated(script, CROWDED, Tick())) == []
    commands = written(gated(script, OPEN, Tick()))
    assert [type(command) for command in commands] == [Allow if allow else Deny]
    assert stance_of(script.session).claim is Claim.WORKS
    assert written(gated(script, OPEN, Tick())) == []


@pytest.mark.req("PS-8", "INV-3", "PM-4")
def test_a_withheld_answer_survives_a_restart_and_is_still_withheld() -> None:
    script = asking()
    gated(script, CROWDED, answered())
    session = from_rows(to_row(script.session), script.session.messages, script.session.permissions)
    script = Script(session)
    assert stance_of(session).claim is Claim.GO_ON
    assert not any(isinstance(c, Allow) for c in written(gated(script, CROWDED, Started(1, adopted=True))))
    assert [type(c) for c in written(gated(script, OPEN, Tick()))] == [Allow]


@pytest.mark.req("PS-8", "PM-2")
def test_a_denial_by_time_waits_for_a_slot_too() -> None:
    script = asking()
    script.wait(DEFAULT.permission_ttl_s + 1)
    assert written(gated(script, CROWDED, Tick())) == []
    assert script.session.permissions[0].state is PermissionState.EXPIRED
    assert [type(c) for c in written(gated(script, OPEN, Tick()))] == [Deny]


@pytest.mark.req("PS-8", "INV-3")
def test_a_withheld_answer_is_lost_with_its_process_and_frees_the_queue() -> None:
    script = asking()
    gated(script, CROWDED, answered())
    decision = gated(script, CROWDED, Ended(1, 1, None, "exited"))
    (question,) = [row for row in decision.rows if getattr(row, "request_id", "")]
    assert question.delivery is Delivery.LOST  # type: ignore[union-attr]
    assert script.session.withheld == ()
    assert stance_of(script.session).claim is not Claim.GO_ON


@pytest.mark.req("PS-8")
def test_closing_a_session_waits_for_no_slot() -> None:
    script = asking()
    decision = gated(script, CROWDED, Close(3, "ann"))
    assert [type(c) for c in written(decision)] == [Deny]


# --- processes ------------------------------------------------------------------------------------------------------


def due_s(session: Session, policy: Policy = DEFAULT) -> float | None:
    return deadline_s(session, 0.0, policy)


@pytest.mark.req("PS-8")
def test_a_claude_that_rests_is_ended_after_a_while_and_started_again_by_the_next_message() -> None:
    script = resting()
    assert stance_of(script.session) == Stance(Claim.NONE, Life.RESTS)
    assert due_s(script.session) == script.now.steady_s + DEFAULT.idle_process_s
    script.wait(DEFAULT.idle_process_s - 1)
    assert script.feed(Tick()).effects == ()
    script.wait(1)
    decision = script.feed(Tick())
    assert [type(effect) for effect in decision.effects] == [EndProcess]
    (notice,) = decision.events
    assert isinstance(notice, Notice)
    assert (notice.severity, "for 10 min" in notice.message) == ("info", True)
    assert stance_of(script.session) == Stance(Claim.NONE, Life.ENDS)
    decision = script.feed(Ended(1, 143, None, "exited"))
    assert [(type(event), event.reason) for event in decision.events if isinstance(event, Status)] == [(Status, ENDED)]
    assert not any(isinstance(event, Notice) for event in decision.events), "it is no crash"
    assert (state_of(script.session), script.session.crashes_s) == ("IDLE", ())
    assert script.feed(submit(2)).effects[0] == StartProcess(2)
    assert script.session.reason == ""


@pytest.mark.req("PS-8")
def test_a_message_that_comes_while_the_process_is_ended_is_answered_by_the_next_one() -> None:
    script = resting()
    script.feed(MakeRoom())
    assert [type(effect) for effect in script.feed(submit(2)).effects] == [Reply]
    assert stance_of(script.session) == Stance(Claim.BEGIN, Life.ENDS)
    assert script.feed(Ended(1, 143, None, "exited")).effects == (StartProcess(2),)


@pytest.mark.req("PS-8")
def test_a_process_is_kept_while_anything_is_left_to_do() -> None:
    working = Script().working()
    tasks = resting()
    tasks.feed(TaskList(("t1",), ("server",)))
    busy = resting()
    busy.feed(RunState("running"))
    waiting = resting()
    gated(waiting, CLOSED, submit(2))
    for script in (working, asking(), tasks, busy, waiting):
        due = due_s(script.session)
        assert due is None or due != script.session.heard_s + DEFAULT.idle_process_s
    for script in (working, asking(), tasks, busy):
        assert stance_of(script.session).life in (Life.KEPT, Life.WAITS)
        assert script.feed(MakeRoom()).effects == ()
    assert stance_of(waiting.session) == Stance(Claim.BEGIN, Life.RESTS)


@pytest.mark.req("PS-8", "CF-1")
def test_with_zero_a_process_rests_for_ever() -> None:
    script = resting()
    never = Policy(idle_process_s=0)
    assert due_s(script.session, never) is None
    script.wait(1e6)
    assert step(script.session, Tick(), script.now, Random(1), policy=never).effects == ()


@pytest.mark.req("PS-8")
def test_held_messages_do_not_keep_a_process() -> None:
    script = resting()
    gated(script, CLOSED, submit(2), Interrupt(5, "ann"))
    assert script.session.held
    assert due_s(script.session) is not None
    gated(script, CLOSED, Clear(6, "ann"))
    assert due_s(script.session) is not None


@pytest.mark.req("PS-8")
def test_a_session_that_a_program_made_is_in_the_background_until_a_person_looks_on() -> None:
    session = new_session(Options(background=True))
    assert stance_of(session).background
    assert not stance_of(session, watched=True).background
    assert not stance_of(new_session()).background
    assert session.process is Process.NONE
