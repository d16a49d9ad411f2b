"""The session's one transition function (PS-1): (state, input, time) to (state, events, rows, effects).

The engine calls `step` for everything that happens, commits the events and rows in one transaction and only then
carries out the effects. Nothing here waits, reads a clock or touches the world. Rules:
  1. A message reaches exactly one outcome; claude has at most one that is not steered (core.messages).
  2. A question is settled once and doubt denies (core.permissions).
  3. A process is started only when none is known to live, and under a run number never used before (core.process).

    NEW -> SPAWNING -> ACTIVE <-> IDLE          any -> CLOSED (by a person)
              ^  |        |
              |  v        v
           BACKING_OFF <- (process ended) -> CRASHED (too often; a person retries)
"""

from __future__ import annotations

from random import Random

from betcode.core import (
    api_trouble,
    cost,
    ending,
    foreign,
    garbled,
    messages,
    permissions,
    process,
    queue,
    readiness,
    resting,
    restoring,
    silence,
)
from betcode.core.draft import Decision, Draft
from betcode.core.inputs import (
    Answer,
    Behind,
    Clear,
    Close,
    DirectoryGone,
    Ended,
    Halt,
    Input,
    Interrupt,
    MakeRoom,
    NotWritten,
    Release,
    Rename,
    Retry,
    Saw,
    Sighted,
    Started,
    StartFailed,
    Submit,
    Tell,
    Tick,
    Written,
)
from betcode.core.instant import Instant
from betcode.core.life import Session
from betcode.model.events import Gap
from betcode.model.facts import (
    BadLine,
    ControlAnswer,
    ControlRequest,
    Fact,
    Lifecycle,
    PermissionRequest,
    RateLimit,
    RequestWithdrawn,
    RunState,
    TaskList,
    ToolCall,
    ToolResult,
    TurnResult,
    TurnStarted,
)
from betcode.model.policy import DEFAULT, Policy


def step(session: Session, news: Input, now: Instant, rng: Random, *, policy: Policy = DEFAULT) -> Decision:
    """Decide what follows from one input.

    Args:
        session: the state after the last step, whose rows need not be committed yet.
        news: what happened.
        now: a clock reading taken for this step.
        rng: jitter; owned by the caller, so that a seed replays the run.
        policy: delays, graces and bounds as the user has set them.

    Returns:
        The next state and what to store and do. It raises nothing: bad requests become `Refuse` effects.
    """
    draft = Draft(session, now, rng, policy=policy)
    match news:
        case Saw():
            for event in news.shown:
                draft.emit(event)
            _on_fact(draft, news.fact)
        case Submit():
            messages.submit(draft, news)
        case Answer():
            permissions.answer(draft, news)
        case Interrupt():
            queue.interrupt(draft, news)
        case Release():
            queue.release(draft, news)
        case Clear():
            queue.clear(draft, news)
        case Retry():
            process.retry(draft, news)
        case Close():
            process.close(draft, news)
        case Halt():
            process.halt(draft, news)
        case Rename():
            draft.set(name=news.name)
            draft.notice("info", "session.renamed", f"the session is now called {news.name}")
            draft.reply(news.ticket, name=news.name)
        case Started():
            process.on_started(draft, news)
            if news.adopted:  # what waits may have been stored with nothing before it: see core.restoring
                messages.pump(draft)
        case StartFailed():
            process.on_start_failed(draft, news)
        case Ended():
            ending.on_ended(draft, news)
        case Written():
            process.on_written(draft, news)
        case NotWritten():
            process.on_not_written(draft, news)
        case Tick():
            permissions.expire(draft)
            permissions.go_on(draft)
            process.on_time(draft)
        case MakeRoom():
            resting.make_room(draft)
        case Behind():
            restoring.behind(draft, news)
        case DirectoryGone():
            process.on_directory_gone(draft)
        case Sighted():
            foreign.on_sight(draft, news)
            process.on_blocked(draft)
        case Tell():
            draft.emit(news.event)
            if isinstance(news.event, Gap):
                messages.on_doubt(draft)
    garbled.settle(draft)
    return draft.finish()


def _on_fact(draft: Draft, fact: Fact) -> None:
    """What claude's output changes in the session's life; facts that only show something end here."""
    silence.on_fact(draft, fact)
    match fact:
        case ControlAnswer():
            readiness.on_answer(draft, fact)
            queue.on_withdrawn(draft, fact)
        case Lifecycle():
            messages.on_lifecycle(draft, fact)
        case TurnStarted():
            messages.on_turn_started(draft, fact)
        case ToolCall():
            messages.on_tool_call(draft, fact)
        case ToolResult():
            messages.on_tool_result(draft, fact)
        case TaskList():
            messages.on_tasks(draft, fact)
        case TurnResult():
            cost.on_result(draft, fact)
            messages.on_result(draft, fact)
            garbled.on_turn_ended(draft)
        case PermissionRequest():
            permissions.on_request(draft, fact)
        case RateLimit():
            api_trouble.on_rate_limit(draft, fact)
        case RequestWithdrawn():
            permissions.on_withdrawn(draft, fact)
        case ControlRequest():
            permissions.on_control_request(draft, fact)
        case RunState():
            messages.on_run_state(draft, fact)
        case BadLine():
            messages.on_doubt(draft)
            garbled.on_bad_line(draft, fact)
        case _:
            pass
