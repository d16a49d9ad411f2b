"""When a session must be looked at next, if nothing else happens."""

from __future__ import annotations

from betcode.core import resting, silence
from betcode.core.life import Session
from betcode.model.policy import Policy
from betcode.model.states import PermissionState


def deadline_s(session: Session, unix_to_steady: float, policy: Policy) -> float | None:
    """When `Tick` is due next, on the steady clock; None when nothing waits for time.

    Args:
        session: any state.
        unix_to_steady: steady_s minus unix_s now; the deadlines of questions are wall-clock times.
        policy: what the session goes by.
    """
    own = (session.restart_s, session.ready_by_s, session.rerun_by_s)
    judged = (silence.due_s(session, policy), resting.due_s(session, policy))
    times = [t for t in (*own, *judged) if t is not None]
    times += [p.deadline_unix_s + unix_to_steady for p in session.permissions if p.state is PermissionState.PENDING]
    return min(times, default=None)
