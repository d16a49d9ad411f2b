"""What follows the end of a claude process: its messages are settled by the table, then it is started again or not.

Restarts wait longer each time and stop with CRASHED (PS-2, PS-3). An end that a person wanted, and the end of an idle
process, are no crashes, whatever the exit code: after an API error or an interrupt claude ends with 1.
"""

from __future__ import annotations

from msgspec.structs import replace as change

from betcode.core import foreign, garbled, memory, messages, permissions, recovery, shortfall, silence
from betcode.core.backoff import delay_s
from betcode.core.draft import Draft
from betcode.core.inputs import Ended, Sighted
from betcode.core.life import BUSY, IN_CLAUDE, Process, state_of
from betcode.core.recovery import Moment, Stored, Way
from betcode.core.turn import Turn
from betcode.model import limits
from betcode.model.conversation import Conversation
from betcode.model.events import UserMessage
from betcode.model.ids import MessageId, attempt_id
from betcode.model.rows import Message
from betcode.model.states import MessageState, SessionState

LOOK = "Look at what was done, then send a message such as `go on`: claude is told that the outcome is unknown."


def on_ended(draft: Draft, news: Ended) -> None:
    """The process is gone: settle what it leaves behind and decide how to go on."""
    session = draft.session
    if news.run != session.run or session.process is Process.NONE:
        return
    crashed = session.process is not Process.READY or state_of(session) is SessionState.ACTIVE
    planned = session.closing or session.process is Process.STOPPING
    stop = memory.stopped(news.memory, session.turn) if news.memory is not None else ""
    permissions.on_process_gone(draft, news.written)
    _settle(draft, news, planned=planned)
    draft.set(process=Process.NONE, turn=None, tasks=(), cli_state="", ready_by_s=None, rerun_by_s=None)
    draft.set(api=False, quiet_until_s=0.0, garbled=session.replacing, replacing=False, unread_s=())
    if close_if_asked(draft):
        return
    foreign.on_sight(draft, Sighted(prompts=news.known.prompts))
    if news.never_started and session.process is Process.UNREADY:
        draft.set(reason="claude had not been started; it is now")
        messages.pump(draft)
        draft.tell(draft.session.reason)
    elif session.replacing and session.garbled:
        garbled.give_up(draft)
        messages.pump(draft)
    elif stop and not planned:
        count_crash(draft, stop, memory.HINT, news.stderr_tail, code="limit.memory")
    elif crashed and not planned:
        count_crash(draft, f"claude ended unexpectedly ({describe(news)})", "", news.stderr_tail)
    else:
        messages.pump(draft)
    if not draft.events:  # nobody else would store that it is gone, and the next daemon would look for it again
        draft.tell(draft.session.reason or f"claude has ended ({describe(news)})")


def close_if_asked(draft: Draft) -> bool:
    """The last step of a session that is being closed, once nothing lives any more."""
    session = draft.session
    if not (session.closing and session.process is Process.NONE):
        return False
    for message in session.messages:
        draft.move_message(message, MessageState.CANCELLED, session.reason)
    draft.set(closed=True, crashed=False)
    return True


# --- messages -----------------------------------------------------------------------------------------------------


def _settle(draft: Draft, news: Ended, *, planned: bool) -> None:
    """Find the way of each message that the ended process was to get or had."""
    session = draft.session
    turn = session.turn
    given = [m for m in session.messages if m.state in IN_CLAUDE]
    ways = {message.id: _way(draft, message, news) for message in given}
    late = news.late if any(way is Way.FINISH for _, way in ways.values()) else ()
    whole = {getattr(event, "block", "") for event in late}
    for event in (*(e for e in news.shown if getattr(e, "block", "") not in whole), *late):
        draft.emit(event)
    joined = [m for m in given if turn is not None and m.id != turn.message_id and ways[m.id][1] is not Way.SEND]
    for message in given:
        moment, way = ways[message.id]
        if turn is not None and turn.interrupt and not silence.is_ours(turn) and way is not Way.SEND:
            draft.move_message(message, MessageState.CANCELLED, "interrupted by a person; claude ended meanwhile")
            continue
        if news.memory is not None:
            way = recovery.after_stop(moment, way)
        if way is Way.RERUN and joined:  # the re-run knows nothing of messages that came in the middle of the turn
            way = Way.TELL
        _go(draft, message, moment, way, news)
    for message in draft.session.messages:  # one that waits to be sent again, while claude was resumed without it
        waits = message.state is MessageState.QUEUED and draft.session.rerun is None
        if waits and news.known.drops(message.uuid):
            tell(draft, message, Moment.ANSWERING, news.known, f"The claude process ended ({describe(news)})")
    if not any(way is not Way.SEND for _, way in ways.values()) and not session.closing:
        _own_work_ended(draft, news, planned=planned)


def _way(draft: Draft, message: Message, news: Ended) -> tuple[Moment, Way]:
    turn = draft.session.turn
    moment = recovery.moment_of(message, turn, news.written, news.known)
    stored = recovery.stored_of(moment, message, turn, news.known)
    asks = draft.policy.unknown_outcome == "ask"
    again = message.attempt > 0 or (turn is not None and turn.rerun)
    way = recovery.way_of(moment, stored, again=again, asks=asks)
    alone = [m for m in draft.session.messages if m.state in IN_CLAUDE] == [message]
    if (
        way is Way.RESEND
        and stored is Stored.YES
        and (draft.session.tasks or not alone or news.known.drops(message.uuid))
    ):
        # claude runs a message again that it had taken into another's turn, drops one that something follows, and must
        # hear what became of its tasks.
        way = Way.TELL
    if way is Way.RERUN and (news.known.rerun_spent or draft.session.tasks or not draft.session.claude.reruns):
        way = Way.TELL
    return moment, way


def _go(draft: Draft, message: Message, moment: Moment, way: Way, news: Ended) -> None:
    turn = draft.session.turn
    match way:
        case Way.SEND:
            draft.put_message(
                change(message, state=MessageState.QUEUED, reason="claude ended before it got this", run=0)
            )
        case Way.RESEND:
            draft.move_message(message, MessageState.QUEUED, "claude ended; the message is sent again", run=0)
        case Way.TELL:
            tell(draft, message, moment, news.known, f"The claude process ended unexpectedly ({describe(news)})")
        case Way.RERUN:
            assert turn is not None
            draft.set(rerun=Turn(turn.message_id, tools=turn.tools, done=turn.done, rerun=True))
            reason = "claude ended in the middle of it; the next one goes on from the last tool result"
            draft.move_message(message, MessageState.QUEUED, reason, run=0)
            draft.notice("info", "agent.recovered", f"{reason}; no tool is called again for it")
        case Way.FAIL:
            draft.move_message(message, MessageState.FAILED, describe(news))
        case Way.FINISH:
            draft.move_message(message, MessageState.COMPLETED, "claude had finished it before its process ended")
            draft.notice(
                "info",
                "agent.answer_unread",
                "claude finished this message while nobody could read it; its last words are from claude's transcript",
                "What came before them may be missing here; it is in the conversation.",
            )
        case Way.ASK:
            _ask(draft, message, moment)


def tell(draft: Draft, message: Message, moment: Moment, known: Conversation, cause: str) -> None:
    """The next process, or this one, is told to go on with `message` and what is unknown about it."""
    turn, rerun = draft.session.turn, draft.session.rerun
    if rerun is not None and rerun.message_id == message.id:
        draft.set(rerun=None)  # one of the two: the next process is told, or goes on by itself
    text = recovery.told(message, moment, turn, known, cause, draft.session.tasks)
    reason = f"claude ended in the middle of it ({moment.value}); the next one is told so and goes on"
    draft.move_message(message, MessageState.QUEUED, reason, run=0, attempt=message.attempt + 1, told=text)
    calls = [call for call in (turn.calls if turn is not None else ()) if call.may_have_run]
    if calls:
        names = ", ".join(f"{call.tool} {call.brief}" for call in calls)
        draft.notice(
            "warning",
            "agent.unknown_outcome",
            f"whether this tool call had its effect is unknown: {names}",
            "It is not repeated by us; claude is told that the outcome is unknown and goes on. Check it yourself too.",
        )
    else:
        draft.notice("info", "agent.recovered", f"{recovery.MEANING[moment]}; {recovery.EFFECT[Way.TELL]}")


def _ask(draft: Draft, message: Message, moment: Moment) -> None:
    reason = f"claude ended after it had, or may have, called a tool ({moment.value}); how far it got is unknown"
    draft.move_message(message, MessageState.UNKNOWN, reason)
    draft.set(held=bool(draft.session.waiting))
    draft.notice("warning", "agent.unknown_outcome", f"{recovery.MEANING[moment]}; nothing is repeated by itself", LOOK)


def _own_work_ended(draft: Draft, news: Ended, *, planned: bool) -> None:
    """No message was under way; a background task, a subagent or a turn of claude's own may have been."""
    session = draft.session
    turn = session.turn
    # `running` without a turn is the end of one that has its result: claude says `idle` a moment later.
    begun = turn is not None and turn.begun and not turn.message_id and session.cli_state in BUSY
    if not (session.tasks or begun or (turn is not None and (turn.calls or turn.doubt))):
        return
    what = ", ".join(session.tasks) or "a turn of its own"
    tells = draft.policy.unknown_outcome == "tell" and not planned and news.memory is None
    draft.notice(
        "warning",
        "agent.unknown_outcome",
        f"claude ended while it worked on something of its own: {what}",
        "How far that got is unknown, and it is not repeated by itself. "
        + ("Claude is told so." if tells else "Ask claude about it."),
    )
    if not tells or len(session.messages) >= draft.policy.messages_waiting_max:
        return
    message_id = MessageId(attempt_id(MessageId(f"{session.id}/own work"), session.run))
    text = recovery.told_of_own_work(what, turn, f"The claude process ended unexpectedly ({describe(news)})")
    draft.emit(UserMessage(message_id=message_id, text=text, client="betcode"))
    draft.put_message(
        Message(
            id=message_id,
            session=session.id,
            text=text,
            client="betcode",
            state=MessageState.ACCEPTED,
            accepted_at=draft.now.iso,
        )
    )


def not_started(draft: Draft) -> None:
    """The process that was to go on with a turn by itself never came up: the next one does."""
    for message in draft.session.messages:
        if message.state in IN_CLAUDE:
            draft.move_message(message, MessageState.QUEUED, "claude could not be started", run=0)


def no_rerun(draft: Draft) -> None:
    """claude did not go on by itself: it is told to."""
    shortfall.no_rerun(draft)
    turn = draft.session.rerun
    message = next((m for m in draft.session.messages if turn is not None and m.id == turn.message_id), None)
    draft.set(rerun=None, rerun_by_s=None)
    if message is not None and message.state in IN_CLAUDE and draft.session.turn is not None:
        known = Conversation(found=True, messages=frozenset({message.uuid}))
        tell(draft, message, Moment.TOOLS_DONE, known, "The claude process ended unexpectedly")
        draft.set(turn=None)


# --- crashes ------------------------------------------------------------------------------------------------------


USELESS = {
    "stdout_closed": "it closed its output and lived on, so it was ended",
    "stdin_closed": "it closed its input and lived on, so it was ended",
    "endless_line": "it printed one line without an end, so it was ended",
    "endless_output": "it printed without an end, so it was ended",
}
"""Why a keeper ends a claude by itself."""


def describe(news: Ended) -> str:
    """The end of a process in words."""
    if news.memory is not None:
        return f"limit.memory: its processes used {memory.used_text(news.memory)}"
    if news.reason in USELESS:
        return USELESS[news.reason]
    if news.signal:
        return f"signal {news.signal}"
    if news.code is not None:
        return f"exit code {news.code}"
    return news.reason or "no exit code is known"


def count_crash(draft: Draft, what: str, hint: str, stderr_tail: tuple[str, ...], *, code: str = "agent.ended") -> None:
    """Schedule a restart, or give up after too many: in a short time, or in a row without finishing a turn.

    Args:
        draft: the step under way.
        what: what happened.
        hint: what a person can do about it, if that is known.
        stderr_tail: claude's last words.
        code: of the notice, unless it is given up.
    """
    now = draft.now.steady_s
    recent = (*(t for t in draft.session.crashes_s if now - t < draft.policy.crash_window_s), now)
    fruitless = draft.session.fruitless + 1
    draft.set(crashes_s=recent, fruitless=fruitless, reason=what)
    said = " | ".join(stderr_tail[-limits.STDERR_LINES_SHOWN :])
    said = f" claude's last words: {said}" if said else ""
    attempt = max(len(recent), fruitless)
    if attempt >= draft.policy.crashes_max:
        counted = (
            f"within {draft.policy.crash_window_s:.0f} s" if len(recent) == attempt else "without finishing a turn"
        )
        draft.set(crashed=True, restart_s=None)
        draft.notice(
            "error",
            "agent.crashed",
            f"{what}; {attempt} times {counted}, so it is not restarted again.{said}",
            f"{hint or 'Find the cause.'} Then retry the session: betcode sessions retry {draft.session.id}",
        )
    elif draft.session.held or not draft.session.waiting:
        when = "when the queue is released" if draft.session.held else "with the next message"
        draft.notice("warning", code, f"{what}.{said}", f"{hint} It is started again {when}.".lstrip())
    else:
        wait = delay_s(attempt, first_s=draft.policy.backoff_first_s, max_s=draft.policy.backoff_max_s, rng=draft.rng)
        next_step = f"{what}; restarting in {wait:.1f} s, attempt {attempt} of {draft.policy.crashes_max}"
        draft.set(restart_s=now + wait, reason=next_step)
        draft.notice("warning", code, f"{next_step}.{said}", hint)
    messages.pump(draft)
