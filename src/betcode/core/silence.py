"""A claude that says nothing: when that is a stall of the API, when a hang, and when neither (PS-4).

    active turn, silent -- model request under way, `stall_s` --> interrupt --+-- the turn ends --> it goes on, later
                        -- anything else, `hang_s` ------------> interrupt --+-- `interrupt_grace_s` --> SIGTERM

Silence is neither while a person is asked or an answer waits for a slot, while a tool or a background task runs, or
until the time that claude itself named for its next try at the API. SIGTERM is followed by SIGKILL of the tree after
`stop_grace_s`, and the end of the process is a crash as any other. A turn that ends by our interrupt goes on like one
whose process died: claude is told.
"""

from __future__ import annotations

from dataclasses import replace

from betcode.core.draft import Draft
from betcode.core.effects import StopTurn, Write
from betcode.core.life import BUSY, Process, Session
from betcode.core.stance import is_withheld
from betcode.core.stopping import end_process
from betcode.core.turn import Turn
from betcode.model.facts import ApiRetry, Fact, PermissionRequest, RequestSent, ToolCall, ToolResult, TurnResult
from betcode.model.policy import Policy
from betcode.model.states import PermissionState

LINE = "silence:"
"""Beginning of the line id of an interrupt that is ours and no person's."""


def on_fact(draft: Draft, fact: Fact) -> None:
    """Note whether a model request is under way, and how long claude itself means to wait."""
    match fact:
        case RequestSent():
            draft.set(api=True)
        case ToolCall() | ToolResult() | PermissionRequest() | TurnResult():
            draft.set(api=False, quiet_until_s=0.0)
        case ApiRetry():
            draft.set(quiet_until_s=draft.now.steady_s + fact.delay_ms / 1000)
        case _:
            pass


def is_ours(turn: Turn | None) -> bool:
    """Whether the turn was interrupted because of its silence."""
    return turn is not None and turn.interrupt.startswith(LINE)


def due_s(session: Session, policy: Policy) -> float | None:
    """When the silence, if it lasts, must be dealt with; None while it means nothing."""
    turn = session.turn
    if session.process is not Process.READY or session.restart_s is not None:
        return None
    if turn is not None and turn.interrupt:
        return session.interrupted_s + policy.interrupt_grace_s
    active = session.current is not None or turn is not None or session.cli_state in BUSY
    asked = any(p.state is PermissionState.PENDING for p in session.permissions)
    if not active or asked or is_withheld(session) or session.tasks or (turn is not None and turn.calls):
        return None
    return max(session.heard_s, session.quiet_until_s) + (policy.stall_s if session.api else policy.hang_s)


def on_time(draft: Draft) -> None:
    """Deal with a silence that has lasted too long."""
    session, policy = draft.session, draft.policy
    due = due_s(session, policy)
    if due is None or draft.now.steady_s < due:
        return
    turn = session.turn or Turn("", begun=True)
    if turn.interrupt:
        draft.notice(
            "error",
            "agent.hang",
            f"claude did not obey an interrupt within {policy.interrupt_grace_s:.0f} s",
            "It is ended, and started again if anything waits for it.",
        )
        end_process(draft, Process.FAILING)
        return
    line_id = f"{LINE}{session.seq}"
    code = "agent.stall" if session.api else "agent.hang"
    what = "nothing came from the API" if session.api else "claude printed nothing"
    draft.set(turn=replace(turn, interrupt=line_id), interrupted_s=draft.now.steady_s)
    draft.notice(
        "warning",
        code,
        f"{what} for {policy.stall_s if session.api else policy.hang_s:.0f} s, and no tool was running",
        "The turn is interrupted and goes on by itself; nothing is repeated.",
    )
    draft.do(Write(session.run, line_id, StopTurn()))
