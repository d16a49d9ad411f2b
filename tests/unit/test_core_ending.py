"""Which end of a process is a crash, and what people are told of one."""

from __future__ import annotations

import pytest

from betcode.core.inputs import Ended, Retry, Tick
from betcode.core.life import state_of
from betcode.model.events import Notice, Status
from betcode.model.facts import Fact, RunState
from betcode.model.policy import DEFAULT
from betcode.testing.builders import Script, aborted, api_error, submit

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
    assert state_of(script.session) == "IDLE"


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
