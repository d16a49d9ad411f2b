"""A claude whose output cannot be read: when its process is replaced, and when the session is given up (ND-6).

    `parse_errors_max` unreadable lines in `parse_error_window_s` -> it is to be replaced; no further turn is begun
        nothing is at work in it, or no more ----------------------> ended at once; the next one resumes
        no readable line for `limits.GARBLED_WAIT_S` --------------> ended in its turn, as a crash
    the process in its place does the same ------------------------> ended likewise, and CRASHED

Where a tool or a background task explains that nothing comes, the wait is `hang_s`; while a person is asked there is
none. The process in its place is trusted like any other once a turn has ended a whole window after its start.

Lines count when they are read: of a journal that nobody read for a while, all count as of the same moment.
"""

from __future__ import annotations

from betcode.core.draft import Draft
from betcode.core.life import BUSY, Process, Session
from betcode.core.stopping import end_process
from betcode.model import limits
from betcode.model.facts import BadLine
from betcode.model.policy import Policy
from betcode.model.states import PermissionState

PARSE_ERRORS = frozenset({"invalid_utf8", "invalid_json"})
"""Bytes that are no line of any protocol. A line that is too long or does not fit is claude's, and comes again."""
ALIVE = (Process.UNREADY, Process.READY)


def on_bad_line(draft: Draft, fact: BadLine) -> None:
    """Count it; with too many of them the process is to be replaced."""
    session, policy, now_s = draft.session, draft.policy, draft.now.steady_s
    if fact.error_type not in PARSE_ERRORS or session.process not in ALIVE or session.replacing:
        return
    recent = (*(t for t in session.unread_s if now_s - t < policy.parse_error_window_s), now_s)
    draft.set(unread_s=recent)
    if len(recent) < policy.parse_errors_max:
        return
    draft.set(replacing=True, garbled_s=recent[0], unread_s=())
    then = "it is given up" if session.garbled else "it is started anew and goes on with the conversation"
    draft.notice(
        "warning",
        "agent.garbled",
        f"{len(recent)} lines of claude's output within {policy.parse_error_window_s:.0f} s could not be read",
        f"When its turn is over {then}. The lines: betcode sessions quarantine {session.id}",
    )


def on_turn_ended(draft: Draft) -> None:
    """A turn came to its end: a process that has lasted for a whole window is as good as any."""
    session = draft.session
    if session.garbled and not session.replacing and draft.now.steady_s >= session.trusted_s:
        draft.set(garbled=False)


def due_s(session: Session, policy: Policy) -> float | None:
    """When the process is ended although it is at work; None while nothing hastens its end."""
    if not session.replacing or session.process not in ALIVE or _asks(session):
        return None
    explained = session.tasks or (session.turn is not None and session.turn.calls)
    wait_s = max(policy.hang_s, limits.GARBLED_WAIT_S) if explained else limits.GARBLED_WAIT_S
    return max(session.read_s, session.garbled_s) + wait_s


def settle(draft: Draft) -> None:
    """At the end of each step: end the process that is to be replaced, if its moment has come."""
    session = draft.session
    if not session.replacing or session.process not in ALIVE:
        return
    due = due_s(session, draft.policy)
    at_work = _at_work(session)
    if at_work and (due is None or draft.now.steady_s < due):
        return
    if at_work:
        draft.notice(
            "warning",
            "agent.garbled",
            "for too long no line of claude's output could be read; it is ended in the middle of its turn",
            "What is safe to repeat is sent again; of the rest you are told.",
        )
    end_process(draft, Process.FAILING if at_work else Process.STOPPING)


def give_up(draft: Draft) -> None:
    """The process in the place of a garbled one was garbled too, and has ended: only a person starts another."""
    draft.set(crashed=True, restart_s=None, reason="claude's output cannot be read, of a second process either")
    draft.notice(
        "error",
        "agent.crashed",
        "claude was started anew and its output could not be read again; it is not restarted",
        f"See the lines: betcode sessions quarantine {draft.session.id}"
        f" -- and start afresh: betcode sessions retry {draft.session.id}",
    )


def _asks(session: Session) -> bool:
    return any(p.state is PermissionState.PENDING for p in session.permissions)


def _at_work(session: Session) -> bool:
    busy = session.current is not None or session.turn is not None or session.cli_state in BUSY
    return busy or bool(session.tasks) or _asks(session)
