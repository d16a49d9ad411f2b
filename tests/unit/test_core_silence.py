"""Which silence is a stall, which a hang, and which is neither; all in virtual time."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from betcode.core.draft import Decision
from betcode.core.effects import EndProcess, StopTurn, Write
from betcode.core.inputs import Ended, Input, Saw, Tick
from betcode.core.life import Process, Session
from betcode.core.session import step
from betcode.core.silence import due_s
from betcode.core.turn import Turn
from betcode.model.events import Notice
from betcode.model.facts import (
    ApiRetry,
    BlockStarted,
    Fact,
    PermissionRequest,
    RequestSent,
    TaskList,
    ToolCall,
    ToolResult,
    TurnResult,
    TurnStarted,
)
from betcode.model.policy import DEFAULT
from betcode.testing.builders import at, new_session, uuid
from betcode.testing.builders import submit as message

CALL = ToolCall("", "msg", "toolu_1", "Bash", {})
ASK = PermissionRequest("req", "Bash", {}, tool_use_id="toolu_1")


def decide(session: Session, news: Input, now_s: float, wall_jump_s: float = 0.0) -> Decision:
    return step(session, news, at(now_s, wall_jump_s=wall_jump_s), Random(1))


def working(*facts: Fact, now_s: float = 0.0) -> Session:
    """A turn that has just begun, and what claude printed in it, all at `now_s`."""
    ready = replace(new_session(), process=Process.READY, run=1)
    session = decide(ready, message(1), now_s).session
    for fact in (TurnStarted("opus", ""), *facts):
        session = replace(decide(session, Saw(fact), now_s).session, heard_s=now_s)
    return session


@pytest.mark.req("PS-4")
@pytest.mark.parametrize(
    "facts, expected_s",
    [
        ((), DEFAULT.hang_s),
        ((RequestSent(),), DEFAULT.stall_s),
        ((RequestSent(), CALL), None),
        ((RequestSent(), BlockStarted("", 0, "tool"), CALL), None),
        ((RequestSent(), CALL, BlockStarted("", 1, "tool")), DEFAULT.hang_s),
        ((RequestSent(), CALL, BlockStarted("", 1, "tool"), ToolCall("", "msg", "toolu_2", "Bash", {})), None),
        ((RequestSent(), CALL, BlockStarted("toolu_1", 0, "tool")), None),
        ((RequestSent(), CALL, ASK), None),
        ((RequestSent(), CALL, ToolResult("", "toolu_1", "", is_error=False)), DEFAULT.hang_s),
        ((RequestSent(), CALL, ToolResult("", "toolu_1", "", is_error=False), RequestSent()), DEFAULT.stall_s),
        ((RequestSent(), ApiRetry(1, 10, 40_000, 529, "overloaded")), DEFAULT.stall_s + 40),
        ((RequestSent(), TaskList(("t",), ("tests",))), None),
    ],
)
def test_silence_means_something_only_while_nothing_else_explains_it(
    facts: tuple[Fact, ...], expected_s: float | None
) -> None:
    assert due_s(working(*facts), DEFAULT) == expected_s


@pytest.mark.req("PS-4")
def test_an_idle_session_may_be_silent_for_ever() -> None:
    session = working(RequestSent())
    result = TurnResult("success", is_error=False, terminal_reason="completed", message_ids=(uuid(1),), num_turns=1)
    assert due_s(decide(session, Saw(result), 1.0).session, DEFAULT) is None


@pytest.mark.req("PS-4", "PM-2")
@pytest.mark.parametrize("wall_jump_s", [-1e6, 0.0, 1e6])
def test_a_step_of_the_wall_clock_neither_hastens_nor_delays_the_end_of_a_silence(wall_jump_s: float) -> None:
    session = working(RequestSent())
    early = decide(session, Tick(), DEFAULT.stall_s - 0.1, wall_jump_s)
    assert early.effects == ()
    late = decide(early.session, Tick(), DEFAULT.stall_s, wall_jump_s)
    assert [type(e.command) for e in late.effects if isinstance(e, Write)] == [StopTurn]
    assert [e.code for e in late.events if isinstance(e, Notice)] == ["agent.stall"]


@pytest.mark.req("PS-4", "PS-2")
def test_who_obeys_no_interrupt_is_ended_after_the_grace_and_that_is_a_crash() -> None:
    session = decide(working(), Tick(), DEFAULT.hang_s).session
    still = decide(session, Tick(), DEFAULT.hang_s + DEFAULT.interrupt_grace_s - 0.1)
    assert still.effects == ()
    ended = decide(still.session, Tick(), DEFAULT.hang_s + DEFAULT.interrupt_grace_s)
    assert ended.effects == (EndProcess(1, DEFAULT.stop_grace_s),)
    gone = decide(ended.session, Ended(1, None, 9, "exited", written=frozenset({str(uuid(1))})), 400.0)
    assert gone.session.restart_s is not None
    assert gone.session.waiting[0].state == "queued"


@pytest.mark.req("PS-4", "INV-5")
def test_a_turn_that_falls_silent_again_and_again_goes_on_after_growing_delays_and_then_fails() -> None:
    session, now_s, delays = working(RequestSent()), 0.0, []
    while session.messages:
        session = decide(session, Tick(), now_s + DEFAULT.stall_s).session
        now_s += DEFAULT.stall_s + 1
        aborted = TurnResult(
            "error_during_execution",
            is_error=True,
            terminal_reason="aborted_streaming",
            message_ids=(session.messages[0].uuid,),
            num_turns=1,
        )
        session = decide(session, Saw(aborted), now_s).session
        if session.restart_s is None:
            break
        delays.append(session.restart_s - now_s)
        now_s = session.restart_s
        for news in (Tick(), Saw(TurnStarted("opus", "")), Saw(RequestSent())):
            session = replace(decide(session, news, now_s).session, heard_s=now_s)
        assert session.turn == Turn(uuid(1), begun=True)
    assert session.messages == ()
    assert session.ended[-1].state == "failed"
    assert len(delays) == 4
    assert all(DEFAULT.backoff_first_s / 2 * 2**n <= d <= DEFAULT.backoff_first_s * 2**n for n, d in enumerate(delays))
