"""The state of one session, and how it is stored and read back.

`Session` is frozen; `core.session.step` makes the next one. What users see as the session's state is derived
(`state_of`), so it cannot disagree with the facts it is derived from.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import msgspec

from betcode.core.pool import OPEN, Gate
from betcode.core.spent import NOTHING_SPENT, Spent
from betcode.core.turn import Turn, from_stored, to_stored
from betcode.model.capabilities import UNKNOWN, Capabilities
from betcode.model.ids import ClaudeSessionId, PermissionId, SessionId
from betcode.model.rows import Message, Options, Permission, SessionRow
from betcode.model.states import MessageState, SessionState
from betcode.model.upstream import FREE, Passage

IN_CLAUDE = (MessageState.DELIVERING, MessageState.DELIVERED, MessageState.STARTED)
"""States of a message that was handed to a process and has no outcome yet."""
GIVEN = (MessageState.DELIVERING, MessageState.DELIVERED)
"""Those of them in which claude may have it and has not begun it."""
SPAWN_FAILED = "agent.spawn_failed"
"""Code of a `Passage` that is shut because claude cannot be started (`core.spawns`)."""
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
    rerun: Turn | None = None
    """The turn that the next process goes on with by itself (`recovery.Way.RERUN`)."""
    claude_version: str = ""
    """What claude last called its version."""
    tasks: tuple[str, ...] = ()
    """Background tasks and subagents of the process that are alive, in claude's words."""
    cli_state: str = ""
    claude: Capabilities = UNKNOWN
    """What the newest process that was ready can do."""
    probing: bool = False
    """The process was asked for its version."""
    messages: tuple[Message, ...] = ()
    """Messages without an outcome, oldest first."""
    ended: tuple[Message, ...] = ()
    """The newest messages with an outcome, which may not be committed yet: their keys are taken (not stored)."""
    permissions: tuple[Permission, ...] = ()
    """Questions that are pending, or settled and not yet delivered."""
    settled: tuple[PermissionId, ...] = ()
    """The newest questions that are settled and delivered: claude must not ask them again (not stored)."""
    held: bool = False
    given: tuple[str, ...] = ()
    """The newest uuids under which claude was given a message."""
    strangers: tuple[str, ...] = ()
    """Signs of somebody else's claude on the conversation, of which no person has said that it may go on."""
    released: tuple[str, ...] = ()
    """Those of which one has."""
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
    rerun_by_s: float | None = None
    """When a re-run must have begun."""
    heard_s: float = 0.0
    """When claude last printed something, or was last given a message. Set by the engine, not stored."""
    api: bool = False
    """Whether a model request is under way (`core.silence`; not stored)."""
    quiet_until_s: float = 0.0
    """Until when claude itself waits before it tries the API again (not stored)."""
    interrupted_s: float = 0.0
    """When the turn's interrupt was sent (not stored)."""
    withheld: tuple[PermissionId, ...] = ()
    """Questions that are settled and of which claude is told when there is a slot."""
    gate: Gate = OPEN
    """What the pool lets it do now. Set by the engine before each step, not stored."""
    passage: Passage = FREE
    """What its upstream lets it do now. As `gate`."""
    upstream: str = ""
    """Its name, for people. Set by the engine."""
    refused: int = 0
    """Turns in a row that ended because of the API (not stored)."""
    spent: Spent = NOTHING_SPENT
    """What it has cost and may cost. As `gate`; a turn's own cost is added when it ends (`core.cost`)."""
    replacing: bool = False
    """Too much of the process's output cannot be read: it is ended when its turn is over (`core.garbled`)."""
    garbled: bool = False
    """The process before this one was ended for that reason."""
    unread_s: tuple[float, ...] = ()
    """Unreadable lines within the last `Policy.parse_error_window_s` (not stored)."""
    garbled_s: float = 0.0
    """When the first of too many of them came (not stored)."""
    read_s: float = 0.0
    """When a line could last be read, or claude was last given something to do. As `heard_s`."""
    trusted_s: float = 0.0
    """From when on the end of a turn clears `garbled` (not stored)."""
    shown_state: str = SessionState.NEW
    kinds_warned: frozenset[str] = field(default_factory=frozenset)

    @property
    def current(self) -> Message | None:
        """The message that claude has and has not finished."""
        return next((m for m in self.messages if m.state in IN_CLAUDE), None)

    @property
    def waiting(self) -> tuple[Message, ...]:
        """Messages not yet handed to claude, in order: those whose turn was cut off before those that had none."""
        again = self.rerun.message_id if self.rerun is not None else ""
        waiting = [m for m in self.messages if m.state not in IN_CLAUDE]
        return tuple(sorted(waiting, key=lambda m: (m.id != again, m.attempt == 0)))


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
    if session.passage.code and session.waiting and not (session.held or session.strangers or session.spent.stop):
        return SessionState.BACKING_OFF if session.passage.code == SPAWN_FAILED else SessionState.WAITING_API
    return SessionState.NEW if session.run == 0 else SessionState.IDLE


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
    if session.probing:
        life["probing"] = True
    if session.claude != UNKNOWN:
        life["claude"] = msgspec.to_builtins(session.claude)
    if session.answers:
        life["answers"] = [list(answer) for answer in session.answers]
    if turn is not None:
        life["turn"] = to_stored(turn)
    life.update({name: True for name in ("replacing", "garbled") if getattr(session, name)})
    if session.upstream:
        life["upstream"] = session.upstream  # a rescue makes the same events again
    if session.claude_version:
        life["claude_version"] = session.claude_version
    if session.rerun is not None:
        life["rerun"] = to_stored(session.rerun)
    lists: dict[str, tuple[str, ...]] = {"tasks": session.tasks, "given": session.given, "withheld": session.withheld}
    lists |= {"strangers": session.strangers, "released": session.released}
    life.update({name: list(found) for name, found in lists.items() if found})
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
        turn=from_stored(turn) if turn else None,
        rerun=from_stored(life["rerun"]) if life.get("rerun") else None,
        tasks=tuple(str(task) for task in life.get("tasks", ())),
        given=tuple(str(uuid) for uuid in life.get("given", ())),
        strangers=tuple(str(sign) for sign in life.get("strangers", ())),
        released=tuple(str(sign) for sign in life.get("released", ())),
        withheld=tuple(PermissionId(name) for name in life.get("withheld", ())),
        cli_state=str(life.get("cli_state", "")),
        claude=msgspec.convert(life.get("claude", []), Capabilities),
        probing=bool(life.get("probing")),
        messages=messages,
        permissions=permissions,
        held=bool(life.get("held")),
        crashed=bool(life.get("crashed")),
        closing=bool(life.get("closing")),
        closed=bool(life.get("closed")),
        replacing=bool(life.get("replacing")),
        garbled=bool(life.get("garbled")),
        claude_version=str(life.get("claude_version", "")),
        upstream=str(life.get("upstream", "")),
        reason=row.reason,
    )
    return replace(session, shown_state=row.state)
