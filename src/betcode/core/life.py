"""The state of one session, and how it is stored and read back.

`Session` is frozen; `core.session.step` makes the next one. What users see as the session's state is derived
(`state_of`), so it cannot disagree with the facts it is derived from.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from betcode.model.ids import ClaudeSessionId, PermissionId, SessionId
from betcode.model.rows import Message, Options, Permission, SessionRow
from betcode.model.states import MessageState, PermissionState, SessionState

IN_CLAUDE = (MessageState.DELIVERING, MessageState.DELIVERED, MessageState.STARTED)
"""States of a message that was handed to a process and has no outcome yet."""
BUSY = ("running", "requires_action")
"""What claude calls itself (`Session.cli_state`) while it works, with or without a message of ours."""


class Process(StrEnum):
    """What is known of the claude process of the newest run."""

    NONE = "none"
    STARTING = "starting"
    """A keeper is being started."""
    UNREADY = "unready"
    """Alive; has not answered `initialize`."""
    READY = "ready"
    STOPPING = "stopping"
    """Told to end, because a person wants it."""
    FAILING = "failing"
    """Told to end, because it is of no use: its end counts as a crash."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What claude is working on. `message_id` is empty for a turn that claude started itself."""

    message_id: str
    begun: bool = False
    tools: int = 0
    """Tool calls seen in this turn: with any of them the turn must not simply be run again (INV-1)."""
    interrupt: str = ""
    """Line id of the interrupt that was sent, if any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Everything that `step` decides by. Times ending in `_s` are `Instant.steady_s` and are not stored."""

    id: SessionId
    claude_session_id: ClaudeSessionId
    directory: str
    name: str
    created_at: str
    options: Options
    epoch: int = 1
    seq: int = 0
    run: int = 0
    offset: int = 0
    checkpoint: int = 0
    answers: tuple[tuple[str, str, int], ...] = ()
    """(scope, message id, blocks complete) of the answers that are unfinished at `checkpoint`."""
    process: Process = Process.NONE
    turn: Turn | None = None
    cli_state: str = ""
    messages: tuple[Message, ...] = ()
    """Messages without an outcome, oldest first."""
    ended: tuple[Message, ...] = ()
    """The newest messages with an outcome, which may not be committed yet: their keys are taken (not stored)."""
    permissions: tuple[Permission, ...] = ()
    """Questions that are pending, or settled and not yet delivered."""
    settled: tuple[PermissionId, ...] = ()
    """The newest questions that are settled and delivered: claude must not ask them again (not stored)."""
    held: bool = False
    crashed: bool = False
    closing: bool = False
    closed: bool = False
    reason: str = ""
    crashes_s: tuple[float, ...] = ()
    """Crashes within the last `Policy.crash_window_s`."""
    fruitless: int = 0
    """Crashes since a turn last ended: with them the delays grow, however long each process lives (INV-5)."""
    restart_s: float | None = None
    ready_by_s: float | None = None
    gated: bool = False
    """No turn may begin now: other sessions have all slots. Set by the engine before each step, not stored."""
    shown_state: str = SessionState.NEW
    kinds_warned: frozenset[str] = field(default_factory=frozenset)

    @property
    def current(self) -> Message | None:
        """The message that claude has and has not finished."""
        return next((m for m in self.messages if m.state in IN_CLAUDE), None)

    @property
    def waiting(self) -> tuple[Message, ...]:
        """Messages not yet handed to claude, in order."""
        return tuple(m for m in self.messages if m.state not in IN_CLAUDE)


def state_of(session: Session) -> SessionState:
    """The one state that users see (PS-1)."""
    if session.closed:
        return SessionState.CLOSED
    if session.crashed:
        return SessionState.CRASHED
    if session.restart_s is not None:
        return SessionState.BACKING_OFF
    if session.process in (Process.STARTING, Process.UNREADY):
        return SessionState.SPAWNING
    if session.current is not None or session.turn is not None or session.cli_state in BUSY:
        return SessionState.ACTIVE
    return SessionState.NEW if session.run == 0 else SessionState.IDLE


def needs_slot(session: Session) -> bool:
    """Whether it works now, and not only waits for a person (PS-8)."""
    asks = any(p.state is PermissionState.PENDING for p in session.permissions)
    return not asks and state_of(session) in (SessionState.SPAWNING, SessionState.ACTIVE)


def waits_for_slot(session: Session) -> bool:
    """Whether nothing but a slot is missing for its next message."""
    stuck = session.held or session.crashed or session.closing or session.closed or session.restart_s is not None
    return session.gated and not stuck and session.current is None and bool(session.waiting)


def deadline_s(session: Session, unix_to_steady: float) -> float | None:
    """When `Tick` is due next, on the steady clock; None when nothing waits for time.

    Args:
        session: any state.
        unix_to_steady: steady_s minus unix_s now; the deadlines of questions are wall-clock times.
    """
    times = [t for t in (session.restart_s, session.ready_by_s) if t is not None]
    times += [p.deadline_unix_s + unix_to_steady for p in session.permissions if p.state is PermissionState.PENDING]
    return min(times, default=None)


def to_row(session: Session) -> SessionRow:
    """What the database keeps of `session` beside its messages and permissions."""
    turn = session.turn
    life: dict[str, Any] = {
        "process": session.process.value,
        "cli_state": session.cli_state,
        "held": session.held,
        "crashed": session.crashed,
        "closing": session.closing,
        "closed": session.closed,
    }
    if session.answers:
        life["answers"] = [list(answer) for answer in session.answers]
    if turn is not None:
        life["turn"] = [turn.message_id, turn.begun, turn.tools, turn.interrupt]
    return SessionRow(
        id=session.id,
        claude_session_id=session.claude_session_id,
        directory=session.directory,
        name=session.name,
        created_at=session.created_at,
        options=session.options,
        state=session.shown_state,
        reason=session.reason,
        epoch=session.epoch,
        seq=session.seq,
        run=session.run,
        offset=session.offset,
        checkpoint=session.checkpoint,
        life=life,
    )


def from_rows(row: SessionRow, messages: tuple[Message, ...], permissions: tuple[Permission, ...]) -> Session:
    """The session as it was at the last commit. Delays and crash counts start afresh."""
    life = row.life
    turn = life.get("turn")
    session = Session(
        id=row.id,
        claude_session_id=row.claude_session_id,
        directory=row.directory,
        name=row.name,
        created_at=row.created_at,
        options=row.options,
        epoch=row.epoch,
        seq=row.seq,
        run=row.run,
        offset=row.offset,
        checkpoint=row.checkpoint,
        answers=tuple((str(a[0]), str(a[1]), int(a[2])) for a in life.get("answers", ())),
        process=Process(life.get("process", Process.NONE)),
        turn=Turn(str(turn[0]), bool(turn[1]), int(turn[2]), str(turn[3])) if turn else None,
        cli_state=str(life.get("cli_state", "")),
        messages=messages,
        permissions=permissions,
        held=bool(life.get("held")),
        crashed=bool(life.get("crashed")),
        closing=bool(life.get("closing")),
        closed=bool(life.get("closed")),
        reason=row.reason,
    )
    return replace(session, shown_state=row.state)
