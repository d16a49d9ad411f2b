"""Which end of a process is a crash, and what people are told of one."""

from __future__ import annotations

import pytest

from betcode.core.effects import Say, StartProcess, Write
from betcode.core.inputs import Close, Ended, Retry, Started, Tick
from betcode.core.life import state_of
from betcode.model.conversation import Conversation
from betcode.model.events import MessageProgress, Notice, Status
from betcode.model.facts import Fact, RunState, ToolResult, TurnStarted
from betcode.model.policy import DEFAULT
from betcode.testing.builders import Script, aborted, api_error, call, ready, result, submit, uuid

LAST_WORDS = tuple(f"line {n}" for n in range(20))


def ended(script: Script, code: int = 1) -> Ended:
    return Ended(script.session.run, code, None, "exited", LAST_WORDS, frozenset({"init"}))


@pytest.mark.req("PS-2")
@pytest.mark.parametrize("result", [api_error(1), aborted(1)])
def test_an_exit_with_status_1_after_an_api_error_or_an_interrupt_is_no_crash(result: Fact) -> None:
    script = Script().working()
    script.feed(result, RunState("idle"))
    decision = script.feed(ended(script))
    assert not [e for e in decision.events if isinstance(e, Notice)]
    assert script.session.crashes_s == ()
    assert state_of(script.session) == ("BACKING_OFF" if script.session.refused else "IDLE")


@pytest.mark.req("INV-1")
@pytest.mark.parametrize("own_turn", [False, True])
def test_a_process_that_dies_after_its_turn_leaves_something_unknown_only_if_it_had_begun_a_turn_of_its_own(
    own_turn: bool,
) -> None:
    script = Script().working()
    script.feed(RunState("running"), result(1))
    if own_turn:
        script.feed(TurnStarted("opus", ""))
    decision = script.feed(ended(script))
    told = [e.code for e in decision.events if isinstance(e, Notice)]
    assert ("agent.unknown_outcome" in told) == own_turn
    assert bool(script.session.waiting) == own_turn, "nothing to tell claude where nothing is unknown"


@pytest.mark.req("PS-2", "PS-3")
def test_people_are_told_each_restart_with_its_number_and_at_the_end_why_it_stopped_and_what_to_do() -> None:
    script = Script()
    script.feed(submit(1))
    for attempt in range(1, DEFAULT.crashes_max + 1):
        decision = script.feed(ended(script))
        [notice] = [e for e in decision.events if isinstance(e, Notice)]
        assert "exit code 1" in notice.message
        assert "line 19" in notice.message
        assert "line 9 " not in notice.message, "the last ten lines"
        if attempt < DEFAULT.crashes_max:
            assert f"attempt {attempt} of {DEFAULT.crashes_max}" in notice.message
            [status] = [e for e in decision.events if isinstance(e, Status)]
            assert (status.state, f"attempt {attempt} of" in status.reason) == ("BACKING_OFF", True)
            script.wait(DEFAULT.crash_window_s / 6)
            script.feed(Tick())
    assert state_of(script.session) == "CRASHED"
    assert script.session.id in notice.hint
    script.feed(Retry(1, "ann"))
    assert state_of(script.session) == "SPAWNING"
    assert script.session.crashes_s == ()


@pytest.mark.req("PS-5", "INV-1")
def test_when_the_process_that_was_to_go_on_by_itself_dies_in_its_start_the_next_one_is_told_and_does_not_too() -> None:
    stored = Conversation(found=True, messages=frozenset({uuid(1)}), results=frozenset({"toolu_1"}))
    script = Script().working()
    script.feed(call(), ToolResult("", "toolu_1", "made", is_error=False), Ended(1, None, 9, "killed", known=stored))
    reruns = []
    for run in (2, 3):
        script.wait(60)
        script.feed(Tick())
        reruns += [effect.rerun for effect in script.last.effects if isinstance(effect, StartProcess)]
        script.feed(Started(run))
        if run == 2:
            script.feed(Ended(run, None, 9, "killed", known=stored))
    assert reruns == [True, False]
    script.feed(ready())
    [said] = [effect.command for effect in script.last.effects if isinstance(effect, Write)]
    assert isinstance(said, Say)
    assert "Go on from where you stopped" in said.text


@pytest.mark.req("INV-1")
def test_a_message_cancelled_by_the_close_of_its_session_says_so_although_a_turn_ended_in_between() -> None:
    script = Script().working()
    script.feed(submit(2, steer=True), Close(1, "ann"), result(1), RunState("idle"))
    decision = script.feed(ended(script, 143))
    [moved] = [e for e in decision.events if isinstance(e, MessageProgress) and e.state == "cancelled"]
    assert (moved.message_id, moved.reason) == (uuid(2), "closed by ann")
    assert state_of(script.session) == "CLOSED"
