"""Life of user messages: accepted, waiting, handed to claude one at a time, ended exactly once (INV-1)."""

from __future__ import annotations

from dataclasses import replace

from msgspec.structs import replace as change

from betcode.core import api_trouble, foreign, recovery, resting, shortfall, silence
from betcode.core.admission import queue_full, slots_full
from betcode.core.backoff import delay_s
from betcode.core.draft import Draft
from betcode.core.effects import Say, StartProcess, Write
from betcode.core.failures.api import api_failure
from betcode.core.inputs import Submit
from betcode.core.life import IN_CLAUDE, Process
from betcode.core.recovery import Moment
from betcode.core.turn import Turn, with_call, with_result
from betcode.model import limits
from betcode.model.conversation import Conversation
from betcode.model.events import TurnBegun, TurnEnded, UserMessage
from betcode.model.facts import (
    Lifecycle,
    RunState,
    TaskList,
    ToolCall,
    ToolResult,
    TurnResult,
    TurnStarted,
)
from betcode.model.ids import MessageId
from betcode.model.rows import Message
from betcode.model.states import MessageState

HELD = "held after an interrupt; resume or clear the queue"


def submit(draft: Draft, request: Submit) -> None:
    """Accept a message, once per key."""
    session = draft.session
    mine = (*session.messages, *session.ended)  # what the store was asked for `known` may be older than these
    known = next((m for m in mine if m.id == request.message_id), request.known)
    if known is not None:
        if known.session == session.id and known.text == request.text:
            draft.reply(request.ticket, message_id=known.id, state=known.state.value, duplicate=True)
        else:
            draft.refuse(
                request.ticket,
                "message.key_conflict",
                "this idempotency key was already used for another message",
                "Make a new key (a UUID) for a new message; repeat a key only with the same text and session.",
            )
        return
    if session.closing or session.closed:
        draft.refuse(request.ticket, "session.closed", "the session is closed", "Start another one: betcode run PROMPT")
        return
    if len(session.messages) >= draft.policy.messages_waiting_max:
        draft.turn_away(request.ticket, queue_full(len(session.messages)).error())
        return
    if session.gate.full and not session.messages:
        draft.turn_away(request.ticket, slots_full().error())
        return
    message = Message(
        id=request.message_id,
        session=session.id,
        text=request.text,
        client=request.client,
        state=MessageState.ACCEPTED,
        accepted_at=draft.now.iso,
        steer=request.steer,
    )
    draft.emit(UserMessage(message_id=message.id, text=message.text, client=message.client))
    draft.put_message(message)
    pump(draft)
    stored = next(m for m in draft.session.messages if m.id == message.id)
    draft.reply(request.ticket, message_id=message.id, state=stored.state.value, duplicate=False)


def pump(draft: Draft) -> None:
    """Hand over the next message, or start the process that it needs, or say why it waits."""
    session = draft.session
    if session.closing or session.closed:
        return None
    foreign.retire(draft)
    _steer(draft)
    session = draft.session
    waiting = session.waiting
    if not waiting:
        return None
    if session.current is not None:
        return _explain(draft, "an earlier message is being worked on")
    if session.strangers:
        return _explain(draft, "another claude works on this conversation; release the queue to go on")
    if session.held:
        return _explain(draft, HELD)
    if session.crashed:
        return _explain(draft, "claude ended too often; retry the session")
    if session.restart_s is not None:
        restarts = session.process is Process.NONE
        late = session.reason if session.refused else "it goes on after a while"
        return _explain(draft, "claude is being restarted" if restarts and not session.refused else late)
    if session.spent.stop:
        return _explain(draft, session.spent.stop)
    if not session.passage.begins:
        passage = session.passage
        draft.set(reason=passage.why)
        return _explain(draft, passage.why, code=passage.code, retry_unix_s=passage.until_unix_s)
    if not session.gate.begins:
        return _explain(draft, session.gate.why)
    if session.process is Process.NONE:
        start_process(draft)
        return _explain(draft, "claude is starting")
    if session.process is not Process.READY:
        return _explain(draft, "claude is starting" if session.process is not Process.STOPPING else "claude is ending")
    if session.replacing:
        return _explain(draft, "claude's output cannot be read; it is ended first")
    _hand_over(draft, waiting[0])
    return _explain(draft, "an earlier message is being worked on")


def _steer(draft: Draft) -> None:
    """Hand messages marked `steer` to the running turn at once; claude reads them before its next model request."""
    turn = draft.session.turn
    if draft.session.process is Process.READY and turn is not None and turn.begun and not turn.interrupt:
        for message in draft.session.waiting:
            if message.steer:
                _write(draft, message)


def _explain(draft: Draft, reason: str, *, code: str = "", retry_unix_s: float = 0.0) -> None:
    """Store and show why the messages that wait are waiting."""
    for message in draft.session.waiting:
        if message.reason != reason or message.state is not MessageState.QUEUED:
            draft.move_message(message, MessageState.QUEUED, reason, code=code, retry_unix_s=retry_unix_s)


def start_process(draft: Draft) -> None:
    """Begin a new run. Its number is stored before the keeper starts, so that no number is ever used twice."""
    session = draft.session
    run = session.run + 1
    again = session.rerun if session.waiting and session.rerun is not None else None
    if again is not None and session.waiting[0].id != again.message_id:
        again = None  # a person cancelled it
    draft.set(run=run, offset=0, checkpoint=0, answers=(), process=Process.STARTING)
    draft.set(cli_state="", tasks=(), turn=again, rerun=again, restart_s=None)
    if session.reason == resting.ENDED:
        draft.set(reason="")
    if again is not None:
        draft.put_message(change(session.waiting[0], state=MessageState.DELIVERED, reason="", run=run))
    draft.do(StartProcess(run, rerun=again is not None))


def _hand_over(draft: Draft, message: Message) -> None:
    """Give `message` to the running process as its next turn."""
    _write(draft, message)
    draft.set(turn=Turn(message.id), reason="")


def _write(draft: Draft, message: Message) -> None:
    """Store that claude may have the message from here on, then have it written."""
    run = draft.session.run
    given = (*(uuid for uuid in draft.session.given if uuid != message.uuid), message.uuid)[-limits.GIVEN_KEPT :]
    now_s = draft.now.steady_s
    draft.set(heard_s=max(draft.session.heard_s, now_s), read_s=max(draft.session.read_s, now_s), given=given)
    draft.put_message(change(message, state=MessageState.DELIVERING, reason="", run=run))
    draft.do(Write(run, message.uuid, _say(message)))


def _say(message: Message) -> Say:
    return Say(MessageId(message.uuid), message.said)


def written_again(draft: Draft) -> None:
    """After the link to the keeper came back: repeat what it may not have got. The keeper drops what it has."""
    for message in draft.session.messages:
        if message.state is MessageState.DELIVERING and message.run == draft.session.run:
            draft.do(Write(message.run, message.uuid, _say(message)))


def delivered(draft: Draft, line_id: str) -> None:
    """The keeper wrote the message's line."""
    for message in draft.session.messages:
        if message.uuid == line_id and message.state is MessageState.DELIVERING:
            draft.move_message(message, MessageState.DELIVERED)


def on_lifecycle(draft: Draft, fact: Lifecycle) -> None:
    """claude's own report on one of our messages. What `cancelled` means only the turn's result tells."""
    shortfall.on_lifecycle(draft, fact)
    message = next((m for m in draft.session.messages if m.uuid == fact.message_id and m.state in IN_CLAUDE), None)
    if message is None:
        return
    started = message.state is MessageState.STARTED
    begun = draft.session.turn is not None and draft.session.turn.begun
    if fact.state == "started" and not started:
        draft.move_message(message, MessageState.STARTED)
    elif fact.state == "completed" and not (started and begun):
        # Never started here: it was sent again, claude had finished it before, and drops the copy. Or a result that
        # named no messages has ended its turn. While its turn runs, the result decides.
        reason = "" if started else "claude had finished it before the restart"
        draft.move_message(message, MessageState.COMPLETED, reason)
        if not started:
            draft.notice(
                "warning",
                "agent.answer_unread",
                "claude finished this message while nobody could read it; the end of its answer is not shown here",
                "Ask claude to repeat its last answer: it is in the conversation.",
            )
        if not begun:
            draft.set(turn=_next_turn(draft, None))
        pump(draft)


def _next_turn(draft: Draft, before: Turn | None) -> Turn | None:
    """What is known of the turn after `before`: it is about the message that claude still has, if any.

    One that was started belongs to the same work: the calls of `before` are its own too. A call without a result that
    goes on after the turn is one of a subagent.
    """
    left = draft.session.current
    if before is None or (left is not None and left.state is not MessageState.STARTED):
        return None if left is None else Turn(left.id)
    if left is None:
        return Turn("", begun=True, tools=before.tools, calls=before.calls) if before.calls else None
    return replace(before, message_id=left.id, begun=False, interrupt="")


def on_turn_started(draft: Draft, fact: TurnStarted) -> None:
    """`system/init`: claude works on the message that it called started, or on something of its own."""
    shortfall.on_turn_started(draft, fact)
    started = next((m.id for m in draft.session.messages if m.state is MessageState.STARTED), "")
    turn = draft.session.turn or Turn(started)
    if turn.begun and not turn.message_id and started:
        turn = replace(turn, message_id=started)
    if draft.session.rerun is not None:  # claude names a uuid of its own as started
        for message in draft.session.messages:
            if message.id == turn.message_id and message.state is MessageState.DELIVERED:
                draft.move_message(message, MessageState.STARTED)
                started = message.id
    draft.set(turn=replace(turn, begun=True), rerun=None, rerun_by_s=None)
    draft.set(claude_version=fact.version[: limits.NAME_CHARS_MAX] or draft.session.claude_version)
    draft.emit(
        TurnBegun(
            message_id=started,
            model=fact.model,
            version=fact.version,
            permission_mode=fact.permission_mode,
        )
    )
    pump(draft)


def on_tool_call(draft: Draft, fact: ToolCall) -> None:
    """Remember the call: from here on this turn must not simply be run again."""
    draft.set(turn=with_call(draft.session.turn or Turn("", begun=True), fact))


def on_tool_result(draft: Draft, fact: ToolResult) -> None:
    """The call has ended."""
    if draft.session.turn is not None:
        draft.set(turn=with_result(draft.session.turn, fact.tool_use_id))


def on_tasks(draft: Draft, fact: TaskList) -> None:
    """Which background tasks are alive."""
    names = [name or task for task, name in zip(fact.task_ids, fact.names, strict=True)]
    draft.set(tasks=tuple(names[: limits.TASKS_KEPT]))


def on_doubt(draft: Draft) -> None:
    """Something of the running turn is unreadable: there may be a call that nobody has seen (INV-1)."""
    if draft.session.turn is not None:
        draft.set(turn=replace(draft.session.turn, doubt=True))


def on_run_state(draft: Draft, fact: RunState) -> None:
    """claude says whether it works. Idle comes after the results of all turns, its own included."""
    draft.set(cli_state=fact.state)
    if fact.state != "idle":
        return
    lost = [m for m in draft.session.messages if m.state is MessageState.STARTED]
    for message in lost:
        draft.move_message(message, MessageState.UNKNOWN, "claude is done with it and its result could not be read")
    if lost or draft.session.current is None:
        draft.set(turn=_next_turn(draft, None))
        pump(draft)


def on_result(draft: Draft, fact: TurnResult) -> None:
    """A turn ended: its messages get their outcome, the next one goes."""
    turn = draft.session.turn
    never_ran = fact.is_error and not (fact.message_ids or fact.terminal_reason or fact.num_turns)
    if never_ran and not (turn is not None and turn.begun):
        return  # "No conversation found" before any turn: the process ends now, and that decides
    outcome, state, reason = judge(fact)
    failure = api_failure(fact)
    goes_on = api_trouble.goes_on(failure, draft)
    if goes_on:
        outcome = "refused"
    theirs = _ended_by(draft, fact)
    draft.emit(
        TurnEnded(
            outcome=outcome,
            message_ids=[m.id for m in theirs],
            text=fact.text,
            subtype=fact.subtype,
            terminal_reason=fact.terminal_reason,
            api_error_status=fact.api_error_status,
            num_turns=fact.num_turns,
            duration_ms=fact.duration_ms,
            cost_usd=fact.cost_usd,
            usage=fact.usage,
            models=fact.models,
            upstream=draft.session.upstream,
            denials=list(fact.denials),
            errors=list(fact.errors),
        )
    )
    if outcome == "interrupted" and silence.is_ours(turn):
        for message in theirs:
            _after_silence(draft, message)
        draft.set(turn=_next_turn(draft, turn))
    elif failure is not None and goes_on:
        api_trouble.wait(draft, theirs, failure)
        draft.set(turn=_next_turn(draft, turn))
    else:
        api_trouble.answered(draft)
        if len(theirs) > 1 and not fact.message_ids and turn is not None and turn.doubt:
            # An older version, which names no messages: an earlier result may be the line that could not be read.
            state, reason = MessageState.UNKNOWN, "which of these messages ended could not be read"
        for message in theirs:
            draft.move_message(message, state, reason)
        draft.set(turn=_next_turn(draft, turn), reason=draft.session.reason if draft.session.closing else "")
        if theirs or fact.num_turns:  # else it is the empty turn in which claude tells that background tasks are gone
            draft.set(fruitless=0)
    pump(draft)


def _after_silence(draft: Draft, message: Message) -> None:
    """The turn was interrupted because nothing came any more: go on with it after a while, but not for ever."""
    tries = draft.session.fruitless + 1
    if tries >= limits.SILENCES_MAX:
        draft.move_message(message, MessageState.FAILED, f"nothing came for too long, {tries} times in a row")
        draft.set(fruitless=0)
        return
    policy = draft.policy
    wait = delay_s(tries, first_s=policy.backoff_first_s, max_s=policy.backoff_max_s, rng=draft.rng)
    turn = draft.session.turn
    known = Conversation(found=True, messages=frozenset({message.uuid}))
    text = recovery.told(
        message, Moment.ANSWERING, turn, known, "You were interrupted, since nothing came for too long"
    )
    reason = f"nothing came for too long; it goes on in {wait:.1f} s, try {tries} of {limits.SILENCES_MAX}"
    draft.set(fruitless=tries, restart_s=draft.now.steady_s + wait, reason=reason)
    draft.move_message(message, MessageState.QUEUED, reason, run=0, attempt=message.attempt + 1, told=text)


def _ended_by(draft: Draft, fact: TurnResult) -> list[Message]:
    """The messages that this result is about; claude's own turns (background tasks) are about none.

    Older versions name no messages in a result: then it is about those that claude called started.
    """
    given = [m for m in draft.session.messages if m.state in IN_CLAUDE]
    if fact.message_ids:
        return [m for m in given if m.uuid in fact.message_ids]
    if fact.origin == "task-notification":
        return []
    turn = draft.session.turn
    started = [m for m in given if m.state is MessageState.STARTED]
    return started or [m for m in given if turn is not None and turn.begun and m.id == turn.message_id]


def judge(fact: TurnResult) -> tuple[str, MessageState, str]:
    """Outcome of a turn, state of its messages, and the reason, from all that a result says (never `subtype` alone)."""
    if fact.terminal_reason.startswith("aborted"):
        return "interrupted", MessageState.CANCELLED, "interrupted by a person"
    if fact.is_error or fact.subtype not in ("success", ""):
        status = f"API error {fact.api_error_status}: " if fact.api_error_status else ""
        detail = fact.text or "; ".join(fact.errors) or fact.terminal_reason or fact.subtype
        return "failed", MessageState.FAILED, f"{status}{detail}"[: limits.BAD_LINE_PREVIEW_CHARS]
    return "completed", MessageState.COMPLETED, ""
