"""What a session does when the API does not answer its turn, and while its upstream lets nothing through."""

from __future__ import annotations

from dataclasses import replace

import pytest

from betcode.core.deadlines import deadline_s
from betcode.core.draft import Decision
from betcode.core.effects import Allow, EndProcess, Refuse, Reply, Say, StartProcess, Write
from betcode.core.inputs import Answer, Ended, Input, Retry, Tick
from betcode.core.life import state_of
from betcode.core.pool import Claim, Life, Stance
from betcode.core.stance import stance_of, wants_api
from betcode.model import upstream_limits as limits
from betcode.model.events import MessageProgress, Notice, TurnEnded
from betcode.model.facts import RateLimit, RunState, ToolResult, TurnResult
from betcode.model.policy import DEFAULT
from betcode.model.states import MessageState, SessionState
from betcode.model.upstream import FREE, Passage
from betcode.testing.builders import Script, api_error, ask, call, life, question_id, submit

SHUT = Passage(
    begins=False, code="agent.rate_limited", why="API temporarily unavailable due to rate limits.", until_unix_s=2e9
)


def passing(script: Script, passage: Passage, *news: Input) -> Decision:
    """Feed it while its upstream says this."""
    for one in news:
        script.session = replace(script.session, passage=passage)
        script.feed(one)
    return script.last


def said(decision: Decision) -> list[str]:
    return [e.command.text for e in decision.effects if isinstance(e, Write) and isinstance(e.command, Say)]


def notices(decision: Decision) -> list[Notice]:
    return [event for event in decision.events if isinstance(event, Notice)]


def refused(passage: Passage = SHUT, status: int = 429) -> Script:
    """A session whose turn was refused after a tool had run."""
    script = Script().working()
    script.feed(call(), ToolResult("", "t1", "done", False))
    script.session = replace(script.session, passage=passage)
    script.feed(api_error(1, status=status))
    return script


def down(uuid: str) -> TurnResult:
    return TurnResult("success", True, "api_error", "down", api_error_status=500, message_ids=(uuid,))


@pytest.mark.req("RL-3", "INV-1")
def test_a_refused_turn_goes_on_later_and_claude_is_told_instead_of_asked_again() -> None:
    script = refused()
    [ended] = [event for event in script.last.events if isinstance(event, TurnEnded)]
    assert ended.outcome == "refused"
    script.feed(life(1, "cancelled"), RunState("idle"))
    assert (script.state(1), state_of(script.session)) == (MessageState.QUEUED, SessionState.WAITING_API)
    assert passing(script, SHUT, Tick()).effects == ()
    [text] = said(passing(script, FREE, Tick()))
    assert "could not be answered" in text
    assert "Go on from where you stopped" in text
    assert submit(1).text not in text, "claude has it already"


@pytest.mark.req("RL-3")
def test_people_see_why_with_a_code_and_the_time_of_the_next_try() -> None:
    script = refused()
    [progress] = [event for event in script.last.events if isinstance(event, MessageProgress)]
    assert (progress.code, progress.reason, bool(progress.retry_at)) == ("agent.rate_limited", SHUT.why, True)
    [notice] = notices(script.last)
    assert notice.code == "agent.rate_limited"
    assert "Automatic retry in" in notice.message
    assert script.session.id in notice.hint


@pytest.mark.req("RL-3")
def test_a_new_message_is_taken_stored_and_waits_while_nothing_may_be_sent() -> None:
    script = Script()
    decision = passing(script, SHUT, submit(1))
    assert any(isinstance(effect, Reply) for effect in decision.effects)
    assert not any(isinstance(effect, StartProcess) for effect in decision.effects)
    assert (state_of(script.session), script.session.waiting[0].reason) == (SessionState.WAITING_API, SHUT.why)
    assert stance_of(script.session) == Stance(Claim.NONE, Life.NONE), "it takes no place in the pool"
    assert wants_api(script.session)
    assert passing(script, FREE, Tick()).effects == (StartProcess(1),)


@pytest.mark.req("INV-5")
def test_while_the_upstream_is_in_use_each_failure_waits_longer_with_jitter_and_a_cap() -> None:
    script = refused(FREE, 500)
    pauses = []
    for _ in range(12):
        assert state_of(script.session) is SessionState.BACKING_OFF
        due = deadline_s(script.session, 0.0, DEFAULT)
        assert due is not None
        pauses.append(due - script.now.steady_s)
        script.wait(due - script.now.steady_s)
        script.feed(Tick())
        [message] = script.session.messages
        script.feed(
            api_error(1, status=500).__class__(
                "success", True, "api_error", "down", api_error_status=500, message_ids=(message.uuid,)
            )
        )
    assert pauses[0] <= limits.API_BACKOFF_FIRST_S * 1.5
    assert max(pauses) <= limits.API_BACKOFF_MAX_S * 1.5
    assert pauses[8] > pauses[0] * 8
    assert script.session.crashes_s == ()


@pytest.mark.req("INV-4", "CB-3")
def test_a_message_that_fails_again_and_again_while_others_are_answered_is_given_up() -> None:
    script = refused(FREE, 500)
    script.session = replace(script.session, refused=limits.API_TRIES_MAX - 1, restart_s=None)
    script.feed(Tick())
    [message] = script.session.messages
    script.session = replace(script.session, passage=Passage(others_answered=True))
    script.feed(down(message.uuid))
    assert script.state(1) is MessageState.FAILED


@pytest.mark.req("RL-1", "CB-3")
def test_a_request_that_the_api_cannot_answer_fails_at_once() -> None:
    script = Script().working()
    script.feed(api_error(1, status=413))
    assert script.state(1) is MessageState.FAILED


@pytest.mark.req("CB-3", "RL-1")
def test_refused_credentials_are_told_by_one_session_only() -> None:
    shut = replace(SHUT, code="agent.credentials", until_unix_s=0.0)
    assert notices(refused(shut, 401).last) == []
    [notice] = notices(refused(replace(shut, teller=True), 401).last)
    assert (notice.severity, notice.code) == ("error", "agent.credentials")


@pytest.mark.req("RL-4", "INV-3")
def test_an_answer_given_meanwhile_is_stored_and_told_to_claude_when_the_upstream_lets_it() -> None:
    script = Script().working()
    script.feed(call(), ask())
    decision = passing(script, SHUT, Answer(9, question_id("r1"), True, "ann"))
    assert any(isinstance(effect, Reply) for effect in decision.effects)
    assert not any(isinstance(effect, Write) for effect in decision.effects)
    assert wants_api(script.session)
    assert stance_of(script.session).claim is Claim.NONE
    [write] = [e for e in passing(script, FREE, Tick()).effects if isinstance(e, Write)]
    assert isinstance(write.command, Allow)


@pytest.mark.req("RL-3", "PS-8")
def test_a_session_in_a_long_wait_holds_no_process() -> None:
    script = refused()
    passing(script, SHUT)
    script.feed(RunState("idle"))
    script.session = replace(script.session, heard_s=script.now.steady_s)
    due = deadline_s(script.session, 0.0, DEFAULT)
    assert due == script.now.steady_s + limits.API_WAIT_PROCESS_S
    script.wait(limits.API_WAIT_PROCESS_S)
    effects = passing(script, SHUT, Tick()).effects
    assert any(isinstance(effect, EndProcess) for effect in effects)


@pytest.mark.req("RL-3")
def test_a_retry_goes_through_once_and_is_refused_when_it_comes_too_soon() -> None:
    script = refused()
    early = replace(SHUT, early_s=4.0)
    [answer] = passing(script, early, Retry(3, "ann")).effects
    assert isinstance(answer, Refuse)
    assert answer.error.refusal is not None
    assert (answer.error.code, answer.error.refusal.retry_after_ms) == ("limit.rate", 4000)
    effects = passing(script, Passage(forced=True), Retry(3, "ann")).effects
    assert any(isinstance(effect, Write) for effect in effects)
    assert [effect.body["retried"] for effect in effects if isinstance(effect, Reply)] == [True]


@pytest.mark.req("RL-1")
def test_people_are_warned_once_before_a_usage_window_is_used_up() -> None:
    script = Script().working()
    near = RateLimit("allowed_warning", "five_hour", 1_900_000_000, 0.93)
    [notice] = notices(script.feed(near))
    assert (notice.code, "93%" in notice.message) == ("limit.usage_near", True)
    assert notices(script.feed(near)) == []
    assert notices(script.feed(RateLimit("allowed", "five_hour", 1_900_000_000, 0.5))) == []


@pytest.mark.req("INV-5")
def test_an_answer_ends_the_count_of_failures() -> None:
    script = refused(FREE, 500)
    assert script.session.refused == 1
    script.session = replace(script.session, restart_s=None)
    script.feed(Tick())
    [message] = script.session.messages
    script.feed(TurnResult("success", False, "completed", "ok", message_ids=(message.uuid,), num_turns=1))
    assert (script.session.refused, script.state(1)) == (0, MessageState.COMPLETED)


@pytest.mark.req("RL-3")
def test_a_retry_with_another_model_ends_a_resting_process_and_goes_on_with_that_model() -> None:
    script = refused()
    script.feed(RunState("idle"))
    effects = passing(script, Passage(forced=True), Retry(3, "ann", "sonnet")).effects
    assert any(isinstance(effect, EndProcess) for effect in effects)
    assert not any(isinstance(effect, Write) for effect in effects), "the old process gets nothing more to do"
    assert script.session.options.model == "sonnet"
    assert passing(script, FREE, Ended(script.session.run, 0, None, "exited")).effects[-1] == StartProcess(2)
