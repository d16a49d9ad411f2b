"""When a process whose output cannot be read is replaced, and when the session is given up; all in virtual time."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from betcode.core.deadlines import deadline_s
from betcode.core.draft import Decision
from betcode.core.effects import EndProcess, StartProcess, Write
from betcode.core.garbled import due_s
from betcode.core.inputs import Answer, Close, Ended, Input, Retry, Saw, Started, Tick
from betcode.core.life import Process, Session, from_rows, state_of, to_row
from betcode.core.session import step
from betcode.model import limits
from betcode.model.events import Notice
from betcode.model.facts import (
    BadLine,
    ControlAnswer,
    Fact,
    PermissionRequest,
    RunState,
    TaskList,
    ToolCall,
    TurnResult,
    TurnStarted,
)
from betcode.model.ids import permission_id
from betcode.model.policy import DEFAULT, Policy
from betcode.model.states import MessageState, SessionState
from betcode.testing.builders import at, new_session, uuid
from betcode.testing.builders import submit as message

BAD = BadLine("invalid_json", "no JSON", "noise", 5)
RESULT = TurnResult("success", is_error=False, terminal_reason="completed", message_ids=(uuid(1),), num_turns=1)
CALL = ToolCall("", "msg", "toolu_1", "Bash", {})
ASK = PermissionRequest("req", "Bash", {}, tool_use_id="toolu_1")
END = EndProcess(1, DEFAULT.stop_grace_s)


def decide(session: Session, news: Input, now_s: float, policy: Policy = DEFAULT) -> Decision:
    return step(session, news, at(now_s), Random(1), policy=policy)


def idle(run: int = 1) -> Session:
    return replace(new_session(), process=Process.READY, run=run)


def working(*facts: Fact) -> Session:
    """A turn that has just begun, at second 0, and what claude printed in it."""
    return seen(decide(idle(), message(1), 0.0).session, 0.0, TurnStarted("opus", ""), *facts)


def seen(session: Session, now_s: float, *facts: Fact) -> Session:
    """As the engine does: what was read moves `read_s` too."""
    for fact in facts:
        session = decide(session, Saw(fact), now_s).session
        if not isinstance(fact, BadLine):
            session = replace(session, read_s=now_s)
    return session


def noise(session: Session, times: list[float], policy: Policy = DEFAULT) -> Decision:
    """The decision after unreadable lines at these times."""
    for now_s in times[:-1]:
        session = decide(session, Saw(BAD), now_s, policy).session
    return decide(session, Saw(BAD), times[-1], policy)


def ended(session: Session, now_s: float) -> Decision:
    written = frozenset({str(uuid(1))})
    return decide(session, Ended(session.run, None, 15, "exited", written=written), now_s)


def codes(decision: Decision) -> list[str]:
    return [event.code for event in decision.events if isinstance(event, Notice)]


FEW = [float(n) for n in range(DEFAULT.parse_errors_max)]


@pytest.mark.req("ND-6")
def test_five_unreadable_lines_within_the_window_replace_an_idle_process_at_once_and_four_do_not() -> None:
    four = noise(idle(), FEW[:-1])
    assert four.effects == ()
    five = noise(idle(), FEW)
    assert five.effects == (END,)
    assert codes(five) == ["agent.garbled"]
    gone = ended(five.session, 5.0)
    assert not codes(gone), "it is no crash"
    assert state_of(gone.session) is SessionState.IDLE
    assert StartProcess(2) in decide(gone.session, message(1), 6.0).effects


@pytest.mark.req("ND-6")
def test_the_window_slides_and_number_and_window_are_the_users() -> None:
    window = DEFAULT.parse_error_window_s
    apart = [n * window / 4 for n in range(12)]
    assert noise(idle(), apart).effects == (), "the first is a whole window old when the fifth comes"
    nearer = [n * window / 4.1 for n in range(5)]
    assert noise(idle(), nearer).effects == (END,)
    policy = Policy(parse_errors_max=2, parse_error_window_s=10)
    assert noise(idle(), [0.0, 10.0], policy).effects == ()
    assert noise(idle(), [0.0, 9.9], policy).effects == (END,)


@pytest.mark.req("ND-6", "ND-7")
@pytest.mark.parametrize("error_type", ["oversize", "schema"])
def test_a_line_that_is_claudes_own_and_does_not_fit_replaces_nothing(error_type: str) -> None:
    session = idle()
    for now_s in FEW * 3:
        decision = decide(session, Saw(BadLine(error_type, "", "", 5)), now_s)  # type: ignore[arg-type]
        session = decision.session
        assert decision.effects == ()


@pytest.mark.req("ND-6", "PS-5")
def test_a_turn_is_left_to_its_end_and_what_waits_goes_to_the_next_process() -> None:
    decision = noise(decide(working(), message(2), 0.0).session, FEW)
    assert decision.effects == ()
    readable = seen(decision.session, 20.0, RunState("running"))
    assert decide(readable, Tick(), 49.0).effects == (), "a readable line came within the last 30 s"
    last = decide(readable, Saw(RESULT), 45.0)
    assert last.effects == (), "claude still calls itself running"
    rest = decide(last.session, Saw(RunState("idle")), 45.1)
    assert rest.effects == (END,), "the second message is not given to it"
    [waiting] = rest.session.messages
    assert waiting.state is MessageState.QUEUED
    gone = ended(rest.session, 46.0)
    assert [e for e in gone.effects if isinstance(e, StartProcess)] == [StartProcess(2)]
    assert [m.state for m in gone.session.ended] == [MessageState.COMPLETED]


@pytest.mark.req("ND-6", "INV-1")
def test_thirty_seconds_without_a_readable_line_end_the_turn_and_its_message_is_not_run_twice() -> None:
    decision = noise(working(), FEW)
    due = limits.GARBLED_WAIT_S
    assert deadline_s(decision.session, 0.0, DEFAULT) == due
    assert decide(decision.session, Tick(), due - 0.1).effects == ()
    more = noise(decision.session, [29.0])
    assert more.effects == (), "further noise neither hastens nor delays it"
    late = decide(more.session, Tick(), due)
    assert late.effects == (END,)
    gone = ended(late.session, 31.0)
    assert gone.session.messages == ()
    assert gone.session.ended[-1].state is MessageState.UNKNOWN, "there may be calls that nobody has seen"
    assert gone.session.crashes_s == (31.0,)


@pytest.mark.req("ND-6")
def test_a_long_silence_before_the_first_unreadable_line_is_not_held_against_it() -> None:
    late = [100.0 + n for n in FEW]
    assert due_s(noise(working(), late).session, DEFAULT) == 100.0 + limits.GARBLED_WAIT_S


@pytest.mark.req("ND-6", "PS-4")
@pytest.mark.parametrize(
    "facts, expected_s",
    [
        ((CALL,), DEFAULT.hang_s),
        ((TaskList(("t",), ("tests",)),), DEFAULT.hang_s),
        ((CALL, ASK), None),
    ],
)
def test_a_tool_is_given_longer_and_a_person_all_the_time(facts: tuple[Fact, ...], expected_s: float | None) -> None:
    decision = noise(working(*facts), FEW)
    assert due_s(decision.session, DEFAULT) == expected_s
    if expected_s is None:
        waits = decide(decision.session, Tick(), 5_000.0).session
        name = permission_id(waits.id, waits.run, "req")
        answered = decide(waits, Answer(7, name, allow=True, by="ann"), 5_000.0)
        assert [e.line_id for e in answered.effects if isinstance(e, Write)] == ["answer:req"]
        assert due_s(answered.session, DEFAULT) == 5_000.0 + DEFAULT.hang_s


@pytest.mark.req("ND-6", "INV-5")
def test_the_process_in_its_place_does_the_same_and_the_session_is_crashed_until_a_person_retries() -> None:
    session = ended(noise(idle(), FEW).session, 5.0).session
    session = decide(session, message(1), 6.0).session
    session = decide(session, Started(2), 7.0).session
    again = noise(session, [8.0 + n for n in FEW])
    assert again.effects == (EndProcess(2, DEFAULT.stop_grace_s),)
    gone = ended(again.session, 20.0)
    assert state_of(gone.session) is SessionState.CRASHED
    [notice] = [e for e in gone.events if isinstance(e, Notice)]
    assert (notice.severity, notice.code) == ("error", "agent.crashed")
    for command in ("sessions retry", "sessions quarantine"):
        assert f"betcode {command} {session.id}" in notice.hint
    assert gone.session.messages[0].state is MessageState.QUEUED
    assert gone.effects == ()
    assert deadline_s(gone.session, 0.0, DEFAULT) is None
    retried = decide(gone.session, Retry(9, "ann"), 30.0)
    assert StartProcess(3) in retried.effects
    fresh = decide(decide(retried.session, Started(3), 31.0).session, Saw(ControlAnswer("init", ok=True)), 31.0)
    third = ended(noise(fresh.session, [40.0 + n for n in FEW]).session, 50.0)
    assert state_of(third.session) is not SessionState.CRASHED, "the retry counts afresh"


@pytest.mark.req("ND-6")
def test_a_process_that_worked_for_a_whole_window_is_trusted_again() -> None:
    session = replace(idle(2), garbled=True)
    session = decide(session, Started(2), 0.0).session
    session = seen(decide(session, message(1), 1.0).session, 1.0, TurnStarted("opus", ""))
    early = decide(session, Saw(RESULT), DEFAULT.parse_error_window_s - 1)
    assert early.session.garbled
    late = decide(session, Saw(RESULT), DEFAULT.parse_error_window_s)
    assert not late.session.garbled


@pytest.mark.req("ND-6", "PS-6")
def test_a_daemon_that_comes_in_between_knows_that_the_process_is_to_be_replaced() -> None:
    before = noise(working(), FEW).session
    loaded = from_rows(to_row(before), before.messages, ())
    adopted = decide(loaded, Started(1, adopted=True), 1_000.0).session
    assert adopted.replacing
    assert due_s(adopted, DEFAULT) == 1_000.0 + limits.GARBLED_WAIT_S
    assert ended(adopted, 1_001.0).session.garbled


@pytest.mark.req("ND-6")
def test_closing_a_session_that_is_to_be_replaced_closes_it() -> None:
    closing = decide(noise(working(), FEW).session, Close(3, "ann"), 10.0)
    assert closing.effects[0] == END
    assert state_of(ended(closing.session, 11.0).session) is SessionState.CLOSED
