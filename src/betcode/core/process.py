"""Life of the claude process: started, ready, ended; restarts with growing delays, then CRASHED (PS-2, PS-3).

What happens to the message that claude had when it ended:
  - not one byte of it was written: it simply waits for the next process;
  - no tool call was seen in its turn: it is sent again under the same uuid, which claude runs at most once;
  - a tool call was seen: the outcome is unknown, and a person decides how to go on (INV-1).
"""

from __future__ import annotations

from msgspec.structs import replace as change

from betcode.core import messages, permissions
from betcode.core.backoff import delay_s
from betcode.core.draft import Draft
from betcode.core.effects import EndProcess, Initialize, Write
from betcode.core.inputs import Behind, Close, Ended, Halt, NotWritten, Retry, Started, StartFailed, Written
from betcode.core.life import BUSY, IN_CLAUDE, Process, state_of
from betcode.model import limits
from betcode.model.events import Gap, Notice
from betcode.model.facts import ControlAnswer
from betcode.model.states import MessageState, SessionState

READY_LINE = "init"
"""Line id of the readiness probe."""


def on_started(draft: Draft, news: Started) -> None:
    """claude runs: ask whether it is ready; after an adoption, repeat what may not have arrived."""
    session = draft.session
    if news.run != session.run or session.process is Process.NONE:
        return
    if session.process in (Process.STARTING, Process.UNREADY):
        draft.set(process=Process.UNREADY, ready_by_s=draft.now.steady_s + draft.policy.ready_wait_s)
        draft.do(Write(session.run, READY_LINE, Initialize()))
    if news.adopted:
        messages.written_again(draft)
        permissions.written_again(draft)
    if session.closing or session.process is Process.STOPPING:
        _end(draft)
    elif session.process is Process.FAILING:
        _end(draft, Process.FAILING)


def on_ready(draft: Draft, fact: ControlAnswer) -> None:
    """claude answered the probe: it takes messages now. An error answer also shows that it reads and answers."""
    if fact.request_id == READY_LINE and draft.session.process is Process.UNREADY:
        draft.set(process=Process.READY, ready_by_s=None)
        messages.pump(draft)


def on_start_failed(draft: Draft, news: StartFailed) -> None:
    """No process came up. A lasting cause fails the waiting messages at once; another is tried again later."""
    if news.run != draft.session.run or draft.session.process not in (Process.STARTING, Process.STOPPING):
        return
    draft.set(process=Process.NONE)
    if _close_if_asked(draft):
        return
    draft.set(reason=news.message)
    if not news.lasting:
        _count_crash(draft, news.message, news.hint, ())
        return
    draft.notice("error", news.code, news.message, news.hint)
    for message in draft.session.waiting:
        draft.move_message(message, MessageState.FAILED, f"{news.code}: {news.message}")


def on_written(draft: Draft, news: Written) -> None:
    """The keeper confirmed a line."""
    if news.run == draft.session.run:
        messages.delivered(draft, news.line_id)
        permissions.delivered(draft, news.line_id)


def on_not_written(draft: Draft, news: NotWritten) -> None:
    """The keeper could not write a line. The process is of no use any more; its end decides what is sent again."""
    ending = draft.session.process in (Process.NONE, Process.STOPPING, Process.FAILING)
    if news.run == draft.session.run and not ending:
        draft.notice(
            "warning",
            "agent.error",
            f"a line could not be given to claude: {news.reason}",
            "claude is restarted and the line is sent again where that is safe.",
        )
        _end(draft, Process.FAILING)


def on_ended(draft: Draft, news: Ended) -> None:
    """The process is gone: settle what it leaves behind and decide how to go on."""
    session = draft.session
    if news.run != session.run or session.process is Process.NONE:
        return
    crashed = session.process is not Process.READY or state_of(session) is SessionState.ACTIVE
    planned = session.closing or session.process is Process.STOPPING
    permissions.on_process_gone(draft, news.written)
    _settle_messages(draft, news.written)
    draft.set(process=Process.NONE, turn=None, cli_state="", ready_by_s=None)
    if _close_if_asked(draft):
        return
    if news.never_started and session.process is Process.UNREADY:
        draft.set(reason="the daemon ended before it had started claude")
        messages.pump(draft)
        draft.tell(draft.session.reason)
    elif crashed and not planned:
        _count_crash(draft, f"claude ended unexpectedly ({describe(news)})", "", news.stderr_tail)
    else:
        messages.pump(draft)
    if not draft.events:  # nobody else would store that it is gone, and the next daemon would look for it again
        draft.tell(draft.session.reason or f"claude has ended ({describe(news)})")


def _settle_messages(draft: Draft, written: frozenset[str]) -> None:
    """What becomes of the messages that the ended process was handed (see the module's docstring)."""
    session = draft.session
    tools = session.turn is not None and session.turn.tools > 0
    given = [m for m in session.messages if m.state in IN_CLAUDE]
    known = [m for m in given if m.id in written or m.state is not MessageState.DELIVERING]
    for message in given:
        if message not in known:
            again = change(message, state=MessageState.QUEUED, reason="claude ended before it got this", run=0)
            draft.put_message(again)
        elif tools:
            reason = "claude ended after it had, or may have, called a tool; how far it got is unknown"
            draft.move_message(message, MessageState.UNKNOWN, reason)
        else:
            draft.move_message(message, MessageState.QUEUED, "claude ended; the message is sent again", run=0)
    if known and tools:
        draft.set(held=bool(draft.session.waiting))
        draft.notice(
            "warning",
            "agent.unknown_outcome",
            "claude ended in the middle of a turn that had, or may have, used tools; nothing is repeated by itself",
            "Look at what was done, then send a message such as `go on`: claude is told that the outcome is unknown.",
        )
    elif not known and (tools or session.cli_state in BUSY) and not session.closing:
        draft.notice(
            "warning",
            "agent.unknown_outcome",
            "claude ended while it worked on something of its own (a subagent or a background task)",
            "How far that got is unknown, and it is not repeated by itself. Ask claude about it.",
        )


def describe(news: Ended) -> str:
    """The end of a process in words."""
    if news.signal:
        return f"signal {news.signal}"
    if news.code is not None:
        return f"exit code {news.code}"
    return news.reason or "no exit code is known"


def _count_crash(draft: Draft, what: str, hint: str, stderr_tail: tuple[str, ...]) -> None:
    """Schedule a restart, or give up after too many: in a short time, or in a row without finishing a turn."""
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
            hint or "Find the cause, then retry the session: betcode sessions retry ID",
        )
    elif draft.session.held or not draft.session.waiting:
        when = "when the queue is released" if draft.session.held else "with the next message"
        draft.notice("warning", "agent.error", f"{what}.{said}", f"It is started again {when}.")
    else:
        wait = delay_s(attempt, first_s=draft.policy.backoff_first_s, max_s=draft.policy.backoff_max_s, rng=draft.rng)
        draft.set(restart_s=now + wait)
        draft.notice(
            "warning",
            "agent.error",
            f"{what}; restarting in {wait:.1f} s, attempt {attempt} of {draft.policy.crashes_max}.{said}",
            hint,
        )
    messages.pump(draft)


def retry(draft: Draft, request: Retry) -> None:
    """A person asks to start afresh. `retried` in the reply: whether there was anything to start."""
    if draft.session.closing or draft.session.closed:
        hint = "Start another one: betcode run PROMPT"
        draft.refuse(request.ticket, "session.closed", "the session is closed and cannot be started again", hint)
        return
    stuck = draft.session.crashed or draft.session.restart_s is not None
    draft.set(crashed=False, crashes_s=(), fruitless=0, restart_s=None)
    if stuck:
        draft.set(reason=f"retried by {request.by}")
        messages.pump(draft)
    draft.reply(request.ticket, waiting=len(draft.session.waiting), retried=stuck)


def close(draft: Draft, request: Close) -> None:
    """End the session: what waits is cancelled, questions are denied, the process is ended."""
    if draft.session.closed:
        draft.reply(request.ticket, state="CLOSED")
        return
    draft.set(closing=True, restart_s=None, held=False, reason=f"closed by {request.by}")
    for message in draft.session.waiting:
        draft.move_message(message, MessageState.CANCELLED, f"the session was closed by {request.by}")
    permissions.deny_all(draft, by=request.by, message="The user closed the session; the tool was not run.")
    if not _close_if_asked(draft):
        draft.tell(draft.session.reason)
        _end(draft)
    draft.reply(request.ticket, state="CLOSED" if draft.session.closed else "closing")


def on_behind(draft: Draft, news: Behind) -> None:
    """The database has lost events: number anew from here, say what is missing, and read the newest run again.

    Its output becomes events of the new epoch; what happened before that run and is lost is inside the gap.
    """
    session, mark = draft.session, news.mark
    lost = (session.seq + 1, mark.seq) if mark.epoch == session.epoch else (1, mark.seq)
    draft.set(epoch=mark.epoch + 1, seq=0)
    if mark.run > session.run:
        draft.set(run=mark.run, offset=0, checkpoint=0, answers=(), process=Process.READY, turn=None, cli_state="")
    cause = "the database lost them (an older copy, or a lost write-ahead log); what the journal holds follows"
    draft.emit(Gap(unit="events", first=lost[0], last=lost[1], cause=cause))


def halt(draft: Draft, request: Halt) -> None:
    """End the process and keep the session."""
    draft.set(held=bool(draft.session.messages))
    draft.tell("the daemon was stopped with its sessions")
    if draft.session.process is not Process.NONE:
        _end(draft)
    draft.reply(request.ticket, process=draft.session.process.value)


def _close_if_asked(draft: Draft) -> bool:
    session = draft.session
    if not (session.closing and session.process is Process.NONE):
        return False
    for message in session.messages:
        draft.move_message(message, MessageState.CANCELLED, session.reason)
    draft.set(closed=True, crashed=False)
    return True


def _end(draft: Draft, how: Process = Process.STOPPING) -> None:
    starting = draft.session.process is Process.STARTING
    draft.set(process=how, ready_by_s=None)
    if not starting:  # one that is being started has no keeper yet: it is ended when it is there
        draft.do(EndProcess(draft.session.run, draft.policy.stop_grace_s))


def on_time(draft: Draft) -> None:
    """Deadlines of the process: a restart that is due, a probe without an answer."""
    session = draft.session
    now = draft.now.steady_s
    if session.ready_by_s is not None and now >= session.ready_by_s:
        draft.notice(
            "error",
            "agent.error",
            f"claude did not answer within {draft.policy.ready_wait_s:.0f} s of its start",
            "It is ended and started again.",
        )
        _end(draft, Process.FAILING)
    if session.restart_s is not None and now >= session.restart_s:
        draft.set(restart_s=None)
    messages.pump(draft)


def keeper_notice(what: str) -> Notice:
    """What people are told of a keeper's trouble, and, with an empty `what`, of its end."""
    if what:
        return Notice(
            severity="warning",
            code="keeper.trouble",
            message=f"the keeper of this session is in trouble: {what}",
            hint="Nothing is lost; it goes on by itself when the cause is gone.",
        )
    return Notice(severity="info", code="keeper.well", message="the keeper of this session is well again")
