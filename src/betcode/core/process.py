"""Life of the claude process from its start to the wish that it ends; what follows its end is in `core.ending`."""

from __future__ import annotations

from msgspec.structs import replace as change

from betcode.core import ending, memory, messages, permissions, queue, readiness, resting, silence
from betcode.core.draft import Draft
from betcode.core.inputs import Behind, Close, Halt, NotWritten, Retry, Started, StartFailed, Written
from betcode.core.life import Process
from betcode.core.stance import rests
from betcode.core.stopping import end_process
from betcode.core.upstream_texts import too_early
from betcode.model import limits
from betcode.model.events import Gap, Notice
from betcode.model.news import MemoryHigh, Troubled
from betcode.model.states import MessageState


def on_started(draft: Draft, news: Started) -> None:
    """claude runs: ask whether it is ready; after an adoption, repeat what may not have arrived."""
    session = draft.session
    if news.run != session.run or session.process is Process.NONE:
        return
    if session.process in (Process.STARTING, Process.UNREADY):
        readiness.probe(draft)
    now_s = draft.now.steady_s
    draft.set(heard_s=now_s, interrupted_s=now_s, read_s=now_s, garbled_s=now_s)
    draft.set(trusted_s=now_s + draft.policy.parse_error_window_s)
    if news.adopted:
        if session.process is Process.READY and session.rerun is not None:
            draft.set(rerun_by_s=draft.now.steady_s + limits.RERUN_WAIT_S)
        messages.written_again(draft)
        queue.written_again(draft)
        permissions.written_again(draft)
    if session.closing or session.process is Process.STOPPING:
        end_process(draft)
    elif session.process is Process.FAILING:
        end_process(draft, Process.FAILING)
    elif news.adopted:
        messages.pump(draft)  # what waited for a delay waits no longer: delays are not kept over a restart


def on_start_failed(draft: Draft, news: StartFailed) -> None:
    """No process came up. A lasting cause fails the waiting messages at once; another is tried again later."""
    if news.run != draft.session.run or draft.session.process not in (Process.STARTING, Process.STOPPING):
        return
    draft.set(process=Process.NONE, turn=None)
    if ending.close_if_asked(draft):
        return
    ending.not_started(draft)
    draft.set(reason=news.message)
    if not news.lasting:
        ending.count_crash(draft, news.message, news.hint, ())
        return
    draft.notice("error", news.code, news.message, news.hint)
    for message in draft.session.waiting:
        draft.move_message(message, MessageState.FAILED, f"{news.code}: {news.message}")


def on_blocked(draft: Draft) -> None:
    """Before a start it was found that somebody else's claude is there: nothing is started."""
    session = draft.session
    if session.strangers and session.process is Process.STARTING:
        draft.set(process=Process.NONE, turn=None)
        if not ending.close_if_asked(draft):
            ending.not_started(draft)
            messages.pump(draft)


def on_directory_gone(draft: Draft) -> None:
    """Tell it once; what waits fails with this reason when claude is to be started there."""
    reason = f"its directory {draft.session.directory} is gone"
    if draft.session.reason != reason:
        draft.tell(reason)
        hint = "Create it again, or close the session: betcode sessions close ID"
        draft.notice("warning", "session.directory_gone", reason, hint)


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
            "agent.ended",
            f"a line could not be given to claude: {news.reason}",
            "claude is restarted and the line is sent again where that is safe.",
        )
        end_process(draft, Process.FAILING)


def retry(draft: Draft, request: Retry) -> None:
    """A person asks to start afresh. `retried` in the reply: whether there was anything to start."""
    if draft.session.closing or draft.session.closed:
        hint = "Start another one: betcode run PROMPT"
        draft.refuse(request.ticket, "session.closed", "the session is closed and cannot be started again", hint)
        return
    if request.model and request.model != draft.session.options.model:
        _change_model(draft, request.model)
    passage = draft.session.passage
    if passage.early_s and not passage.begins and draft.session.waiting:
        draft.turn_away(request.ticket, too_early(passage))
        return
    # A try is forced by the engine before this is decided, and stands in the passage already.
    stuck = draft.session.crashed or draft.session.restart_s is not None or passage.forced
    draft.set(crashed=False, crashes_s=(), fruitless=0, restart_s=None, garbled=False)
    if stuck:
        draft.set(reason=f"retried by {request.by}")
        messages.pump(draft)
    draft.reply(request.ticket, waiting=len(draft.session.waiting), retried=stuck)


def _change_model(draft: Draft, model: str) -> None:
    """From the next process on. One that only rests is ended, so that this is the next one."""
    draft.set(options=change(draft.session.options, model=model))
    alive = draft.session.process is not Process.NONE
    when = "from the next start of its claude on" if alive and not rests(draft.session) else "from now on"
    draft.notice("info", "session.model", f"the session uses the model {model} {when}")
    if alive and rests(draft.session):
        end_process(draft)


def close(draft: Draft, request: Close) -> None:
    """End the session: what waits is cancelled, questions are denied, the process is ended."""
    if draft.session.closed:
        draft.reply(request.ticket, state="CLOSED")
        return
    draft.set(closing=True, restart_s=None, held=False, reason=f"closed by {request.by}")
    for message in draft.session.waiting:
        draft.move_message(message, MessageState.CANCELLED, f"the session was closed by {request.by}")
    permissions.deny_all(draft, by=request.by, message="The user closed the session; the tool was not run.")
    if not ending.close_if_asked(draft):
        draft.tell(draft.session.reason)
        end_process(draft)
    draft.reply(request.ticket, state="CLOSED" if draft.session.closed else "closing")


def on_behind(draft: Draft, news: Behind) -> None:
    """The database has lost events: number anew from here, say what is missing, and read the newest run again.

    Its output becomes events of the new epoch; what happened before that run and is lost is inside the gap.
    """
    session, mark = draft.session, news.mark
    lost = (session.seq + 1, mark.seq) if mark.epoch == session.epoch else (1, mark.seq)
    draft.set(epoch=mark.epoch + 1, seq=0)
    go_on_with(draft, mark.run)
    cause = "the database lost them (an older copy, or a lost write-ahead log); what the journal holds follows"
    draft.emit(Gap(unit="events", first=lost[0], last=lost[1], cause=cause))


def go_on_with(draft: Draft, run: int) -> None:
    """Read the output of this run from its beginning, if it is newer than the one that the session knows."""
    if run > draft.session.run:
        draft.set(run=run, offset=0, checkpoint=0, answers=(), process=Process.READY, turn=None, cli_state="")


def halt(draft: Draft, request: Halt) -> None:
    """End the process and keep the session."""
    draft.set(held=bool(draft.session.messages))
    draft.tell("the daemon was stopped with its sessions")
    if draft.session.process is not Process.NONE:
        end_process(draft)
    draft.reply(request.ticket, process=draft.session.process.value)


def on_time(draft: Draft) -> None:
    """Deadlines of the process: a restart that is due, a probe without an answer."""
    session = draft.session
    now = draft.now.steady_s
    if session.ready_by_s is not None and now >= session.ready_by_s:
        draft.notice(
            "error",
            "agent.ended",
            f"claude did not answer within {draft.policy.ready_wait_s:.0f} s of its start",
            "It is ended and started again.",
        )
        end_process(draft, Process.FAILING)
    if session.rerun_by_s is not None and now >= session.rerun_by_s:
        ending.no_rerun(draft)
    silence.on_time(draft)
    if session.restart_s is not None and now >= session.restart_s:
        again = session.process is Process.NONE
        draft.set(restart_s=None, reason="claude is started again" if again else session.reason)
    messages.pump(draft)
    resting.on_time(draft)


def keeper_notice(news: Troubled | MemoryHigh) -> Notice:
    """What people are told of a keeper's trouble, of its end (`what` is empty), and of what the keeper noticed."""
    if isinstance(news, MemoryHigh):
        return memory.high(news.use)
    if news.what:
        return Notice(
            severity="warning",
            code="keeper.trouble",
            message=f"the keeper of this session is in trouble: {news.what}",
            hint="Nothing is lost; it goes on by itself when the cause is gone.",
        )
    return Notice(severity="info", code="keeper.well", message="the keeper of this session is well again")
