"""What a session waits for now, and the command for it: the last line of its diagnosis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from betcode.core.diagnosis.finding import Severity, command
from betcode.core.life import IN_CLAUDE
from betcode.model.states import SessionState


@dataclass(frozen=True, slots=True)
class Now:
    """How things stand."""

    severity: Severity
    what: str
    command: str
    needs_you: bool = False
    """Whether it does not go on before a person has done something."""

    def fields(self) -> dict[str, object]:
        """As one JSON object."""
        return {**asdict(self), "severity": str(self.severity)}


@dataclass(frozen=True, slots=True)
class Standing:
    """A session as it stands. `messages` are (state, reason) of those without an outcome, in order."""

    session: str
    state: str
    reason: str = ""
    questions: Sequence[str] = ()
    messages: Sequence[tuple[str, str]] = ()
    held: bool = False
    undecided: bool = False
    """Whether the last message ended as unknown."""
    has_daemon: bool = True
    process_lives: bool = False


def waits_for(found: Standing) -> Now:
    """What comes next, and what a person can do for it."""
    now = _with_daemon(found)
    if found.has_daemon or found.state == SessionState.CLOSED:
        return now
    if found.process_lives:
        why = "claude goes on under its keeper, and no daemon reads it"
    elif found.messages or found.questions or found.state not in (SessionState.NEW, SessionState.IDLE):
        why = "none answers"
    else:
        return now
    severity = now.severity if now.severity is Severity.ERROR else Severity.WARNING
    return replace(
        now, severity=severity, what=f"a daemon ({why}), then for {now.what}", command="betcode daemon start"
    )


def _with_daemon(found: Standing) -> Now:
    session = found.session
    because = f": {found.reason}" if found.reason else ""
    waiting = [reason for state, reason in found.messages if state not in IN_CLAUDE]
    if found.state == SessionState.CLOSED:
        return Now(Severity.OK, f"nothing, it is closed{because}", command("betcode", "sessions", "show", session))
    if found.state == SessionState.CRASHED:
        what = f"you: claude ended too often, and is not started again by itself{because}"
        return _you(Severity.ERROR, what, "sessions", "retry", session)
    if found.questions:
        what = f"you: {len(found.questions)} questions of claude are open"
        return _you(Severity.WARNING, what, "permissions", "allow", found.questions[0])
    if found.held and waiting:
        what = f"you: {len(waiting)} messages are held until you release or clear them"
        return _you(Severity.WARNING, what, "sessions", "release", session)
    look = command("betcode", "attach", session)
    match found.state:
        case SessionState.BACKING_OFF:
            what = f"a delay before claude is started again; it goes on by itself{because}"
            return Now(Severity.WARNING, what, command("betcode", "sessions", "retry", session))
        case SessionState.SPAWNING:
            return Now(Severity.INFO, "claude, which is starting", look)
        case SessionState.WAITING_API:
            return Now(Severity.WARNING, f"the API; it goes on by itself{because}", look)
        case SessionState.ACTIVE:
            return Now(Severity.OK, "claude, which is at work", look)
        case _:
            return _at_rest(found, waiting)


def _at_rest(found: Standing, waiting: Sequence[str]) -> Now:
    session = found.session
    if waiting:
        what = f"its turn: {len(waiting)} messages wait" + (f" ({waiting[0]})" if waiting[0] else "")
        return Now(Severity.INFO, what, command("betcode", "sessions", "queue", session))
    if found.undecided:
        what = "you: how far the last message got is unknown. Look at what was done, then say how to go on"
        return _you(Severity.WARNING, what, "send", session, "go on")
    return Now(Severity.OK, "your next message", command("betcode", "send", session, "TEXT"))


def _you(severity: Severity, what: str, *words: str) -> Now:
    return Now(severity, what, command("betcode", *words), needs_you=True)
