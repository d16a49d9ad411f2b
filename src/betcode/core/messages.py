"""Life of user messages: accepted, waiting, handed to claude one at a time, ended exactly once (INV-1)."""

from __future__ import annotations

from dataclasses import replace

from msgspec.structs import replace as change

from betcode.core.draft import Draft
from betcode.core.effects import Say, StartProcess, StopTurn, Write
from betcode.core.inputs import Clear, Interrupt, Release, Submit
from betcode.core.life import IN_CLAUDE, Process, Turn
from betcode.model import limits
from betcode.model.events import TurnBegun, TurnEnded, UserMessage
from betcode.model.facts import Lifecycle, RunState, TurnResult, TurnStarted
from betcode.model.rows import Message
from betcode.model.states import MessageState


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
        draft.refuse(
            request.ticket,
            "session.queue_full",
            f"{len(session.messages)} messages already wait in this session",
            "Wait until some of them are done, or cancel them.",
        )
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
    _steer(draft)
    session = draft.session
    waiting = session.waiting
    if not waiting:
        return None
    if session.current is not None:
        return _explain(draft, "an earlier message is being worked on")
    if session.held:
        return _explain(draft, "held after an interrupt; resume or clear the queue")
    if session.crashed:
        return _explain(draft, "claude ended too often; retry the session")
    if session.restart_s is not None:
        return _explain(draft, "claude is being restarted")
    if session.gated:
        return _explain(draft, "other sessions have all slots; it goes on by itself")
    if session.process is Process.NONE:
        start_process(draft)
        return _explain(draft, "claude is starting")
    if session.process is not Process.READY:
        return _explain(draft, "claude is starting" if session.process is not Process.STOPPING else "claude is ending")
    _hand_over(draft, waiting[0])
    return _explain(draft, "an earlier message is being worked on")


def _steer(draft: Draft) -> None:
    """Hand messages marked `steer` to the running turn at once; claude reads them before its next model request."""
    turn = draft.session.turn
    if draft.session.process is Process.READY and turn is not None and turn.begun and not turn.interrupt:
        for message in draft.session.waiting:
            if message.steer:
                _write(draft, message)


def _explain(draft: Draft, reason: str) -> None:
    """Store and show why the messages that wait are waiting."""
    for message in draft.session.waiting:
        if message.reason != reason or message.state is not MessageState.QUEUED:
            draft.move_message(message, MessageState.QUEUED, reason)


def start_process(draft: Draft) -> None:
    """Begin a new run. Its number is stored before the keeper starts, so that no number is ever used twice."""
    run = draft.session.run + 1
    draft.set(run=run, offset=0, checkpoint=0, answers=(), process=Process.STARTING)
    draft.set(cli_state="", turn=None, restart_s=None)
    draft.do(StartProcess(run))


def _hand_over(draft: Draft, message: Message) -> None:
    """Give `message` to the running process as its next turn."""
    _write(draft, message)
    draft.set(turn=Turn(message.id), reason="")


def _write(draft: Draft, message: Message) -> None:
    """Store that claude may have the message from here on, then have it written."""
    run = draft.session.run
    draft.put_message(change(message, state=MessageState.DELIVERING, reason="", run=run))
    draft.do(Write(run, message.id, Say(message.id, message.text)))


def written_again(draft: Draft) -> None:
    """After the link to the keeper came back: repeat what it may not have got. The keeper drops what it has."""
    for message in draft.session.messages:
        if message.state is MessageState.DELIVERING and message.run == draft.session.run:
            draft.do(Write(message.run, message.id, Say(message.id, message.text)))
    turn = draft.session.turn
    if turn is not None and turn.interrupt:
        draft.do(Write(draft.session.run, turn.interrupt, StopTurn()))


def delivered(draft: Draft, line_id: str) -> None:
    """The keeper wrote the message's line."""
    for message in draft.session.messages:
        if message.id == line_id and message.state is MessageState.DELIVERING:
            draft.move_message(message, MessageState.DELIVERED)


def on_lifecycle(draft: Draft, fact: Lifecycle) -> None:
    """claude's own report on one of our messages. What `cancelled` means only the turn's result tells."""
    message = next((m for m in draft.session.messages if m.id == fact.message_id and m.state in IN_CLAUDE), None)
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
            draft.set(turn=_next_turn(draft))
        pump(draft)


def _next_turn(draft: Draft, tools: int = 0) -> Turn | None:
    """What is known of the turn after this one: it is about the message that claude still has, if any."""
    left = draft.session.current
    return None if left is None else Turn(left.id, tools=tools if left.state is MessageState.STARTED else 0)


def on_turn_started(draft: Draft, fact: TurnStarted) -> None:
    """`system/init`: claude works on the message that it called started, or on something of its own."""
    started = next((m.id for m in draft.session.messages if m.state is MessageState.STARTED), "")
    draft.set(turn=replace(draft.session.turn or Turn(started), begun=True))
    draft.emit(
        TurnBegun(
            message_id=started,
            model=fact.model,
            version=fact.version,
            permission_mode=fact.permission_mode,
        )
    )
    pump(draft)


def on_tool_call(draft: Draft) -> None:
    """Remember that this turn had side effects."""
    turn = draft.session.turn or Turn("", begun=True)
    draft.set(turn=replace(turn, tools=turn.tools + 1))


def on_doubt(draft: Draft) -> None:
    """Something of the running turn is unreadable or implies a tool call: count it as one (INV-1)."""
    if draft.session.turn is not None:
        on_tool_call(draft)


def on_run_state(draft: Draft, fact: RunState) -> None:
    """claude says whether it works. Idle comes after the results of all turns, its own included."""
    draft.set(cli_state=fact.state)
    if fact.state != "idle":
        return
    lost = [m for m in draft.session.messages if m.state is MessageState.STARTED]
    for message in lost:
        draft.move_message(message, MessageState.UNKNOWN, "claude is done with it and its result could not be read")
    if lost or draft.session.current is None:
        draft.set(turn=_next_turn(draft))
        pump(draft)


def on_result(draft: Draft, fact: TurnResult) -> None:
    """A turn ended: its messages get their outcome, the next one goes."""
    turn = draft.session.turn
    never_ran = fact.is_error and not (fact.message_ids or fact.terminal_reason or fact.num_turns)
    if never_ran and not (turn is not None and turn.begun):
        return  # "No conversation found" before any turn: the process ends now, and that decides
    outcome, state, reason = judge(fact)
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
            denials=list(fact.denials),
            errors=list(fact.errors),
        )
    )
    for message in theirs:
        draft.move_message(message, state, reason)
    draft.set(turn=_next_turn(draft, turn.tools if turn is not None else 0), reason="", fruitless=0)
    pump(draft)


def _ended_by(draft: Draft, fact: TurnResult) -> list[Message]:
    """The messages that this result is about; claude's own turns (background tasks) are about none.

    Older versions name no messages in a result: then it is about those that claude called started.
    """
    given = [m for m in draft.session.messages if m.state in IN_CLAUDE]
    if fact.message_ids:
        return [m for m in given if m.id in fact.message_ids]
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


def interrupt(draft: Draft, request: Interrupt) -> None:
    """Stop the running turn and hold what waits."""
    session = draft.session
    turn = session.turn
    if turn is None or session.process is not Process.READY:
        draft.refuse(
            request.ticket,
            "session.nothing_to_interrupt",
            "no turn is running",
            "Messages that wait can be cancelled by clearing the queue.",
        )
        return
    if not turn.interrupt:
        line_id = f"interrupt:{session.seq}"
        draft.set(
            turn=replace(turn, interrupt=line_id),
            held=bool(session.waiting),
        )
        draft.tell(f"interrupted by {request.by}")
        draft.do(Write(session.run, line_id, StopTurn()))
        pump(draft)
    draft.reply(request.ticket, held=len(draft.session.waiting))


def release(draft: Draft, request: Release) -> None:
    """Let held messages go on."""
    if draft.session.held:
        draft.set(held=False)
        draft.tell(f"the queue was released by {request.by}")
    pump(draft)
    draft.reply(request.ticket, waiting=len(draft.session.waiting))


def clear(draft: Draft, request: Clear) -> None:
    """Cancel messages that wait."""
    chosen = [m for m in draft.session.waiting if request.message_id in ("", m.id)]
    for message in chosen:
        draft.move_message(message, MessageState.CANCELLED, f"cancelled by {request.by}")
    if not draft.session.waiting:
        draft.set(held=False)
    draft.reply(request.ticket, cancelled=[m.id for m in chosen])
