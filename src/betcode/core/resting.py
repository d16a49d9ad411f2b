"""A claude that rests gives its process back: after a while, or when another session needs its place (PS-8).

    READY, nothing to do -- `idle_process_s`, or the pool asks --> STOPPING --> NONE -- next message --> STARTING

Nothing is lost: the next process resumes the conversation. One with background tasks, a turn, or a question that
waits for a person is never ended so.
"""

from __future__ import annotations

from math import inf

from betcode.core.draft import Draft
from betcode.core.life import Session
from betcode.core.stance import rests, wants
from betcode.core.stopping import end_process
from betcode.model import upstream_limits as limits
from betcode.model.policy import Policy

CODE = "session.rests"
ENDED = "its claude process was ended, since it had nothing to do; the next message starts it again"
"""Why the session is as it is, until then."""


def due_s(session: Session, policy: Policy) -> float | None:
    """When its process has rested long enough; None while it works, or if it may rest for ever."""
    if wants(session) or not rests(session):
        return None
    idle_s = policy.idle_process_s if policy.idle_process_s > 0 else inf
    if session.waiting and not session.passage.begins:
        idle_s = min(idle_s, limits.API_WAIT_PROCESS_S)
    return session.heard_s + idle_s if idle_s < inf else None


def on_time(draft: Draft) -> None:
    """End a process that has rested long enough."""
    due = due_s(draft.session, draft.policy)
    if due is not None and draft.now.steady_s >= due:
        _give_back(draft, f"claude had nothing to do for {_span(draft.now.steady_s - draft.session.heard_s)}")


def make_room(draft: Draft) -> None:
    """Another session needs the place. By now this one may be at work again."""
    if rests(draft.session):
        _give_back(draft, "claude had nothing to do and another session needed the place of its process")


def _give_back(draft: Draft, why: str) -> None:
    hint = "Nothing is lost; the next message starts it again, with the whole conversation."
    draft.notice("info", CODE, f"{why}, so the process was ended", hint)
    draft.set(reason=ENDED)
    end_process(draft)


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"
