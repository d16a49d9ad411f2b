"""Where one session stands with the pool (`core.pool`), from its state."""

from __future__ import annotations

from betcode.core.life import BUSY, Process, Session, state_of
from betcode.core.pool import Claim, Life, Stance
from betcode.model.states import Delivery, PermissionState, SessionState


def stance_of(session: Session, *, watched: bool = False) -> Stance:
    """What it wants of the pool. `watched`: a person looks on, so that it is not a background session."""
    claim = _claim(session)
    return Stance(claim, _life(session, claim), session.options.background and not watched)


def _claim(session: Session) -> Claim:
    if session.permissions:
        if any(p.state is PermissionState.PENDING for p in session.permissions):
            return Claim.NONE
        if is_withheld(session):
            return Claim.GO_ON if session.passage.begins else Claim.NONE
    match state_of(session):
        case SessionState.SPAWNING:
            return Claim.STARTS
        case SessionState.ACTIVE:
            return Claim.WORKS
        case _:
            return Claim.BEGIN if wants(session) else Claim.NONE


def is_withheld(session: Session) -> bool:
    """Whether a question has its answer and claude is not told it yet."""
    return bool(session.withheld) and any(p.id in session.withheld for p in session.permissions)


def wants(session: Session) -> bool:
    """Whether nothing but a slot, or the end of its old process, is missing for its next message."""
    return session.passage.begins and _lacks_nothing_else(session)


def wants_api(session: Session) -> bool:
    """Whether it would send to the API now if its upstream, and then the pool, let it."""
    if is_withheld(session):
        return not any(p.state is PermissionState.PENDING for p in session.permissions)
    return _lacks_nothing_else(session) and not (starts(session) or works(session))


def starts(session: Session) -> bool:
    """Whether its claude is being started for a message."""
    return _claim(session) is Claim.STARTS


def works(session: Session) -> bool:
    """Whether claude may be sending to the API."""
    return _claim(session) is Claim.WORKS


def _lacks_nothing_else(session: Session) -> bool:
    stuck = session.held or session.strangers or session.crashed or session.closing or session.closed
    stopped = bool(stuck or session.spent.stop)
    return not stopped and session.restart_s is None and session.current is None and bool(session.waiting)


def _life(session: Session, claim: Claim) -> Life:
    if session.process is Process.NONE:
        return Life.NONE
    if session.process in (Process.STOPPING, Process.FAILING):
        return Life.ENDS
    if rests(session):
        return Life.RESTS
    return Life.WAITS if claim is Claim.NONE else Life.KEPT


def rests(session: Session) -> bool:
    """Whether its process has nothing to do and can be ended without loss: claude resumes the conversation."""
    if session.process is not Process.READY or session.restart_s is not None:
        return False
    if session.turn is not None or session.rerun is not None or session.current is not None:
        return False
    asks = any(p.state is PermissionState.PENDING or p.delivery is Delivery.SENDING for p in session.permissions)
    return not (asks or session.tasks or session.cli_state in BUSY)
