"""What people are told when the processes of a session use much memory, or were ended because of it (PS-9).

The turn that was running is not gone on with by itself: it would end in the same way (`recovery.after_stop`).
"""

from __future__ import annotations

from betcode.core.turn import Turn
from betcode.model.events import Notice
from betcode.model.memory import MemoryUse

SETTING = "agent.memory_bytes_max"
HINT = (
    f"Ask for the work in smaller steps, or raise `{SETTING}` in the settings: it holds from the session's next"
    " process on."
)
MIB = 1024 * 1024


def used_text(use: MemoryUse) -> str:
    """How much is used, how much is allowed, and what uses most of it."""
    above = (use.limit - use.base) // MIB
    base = f"{use.base // MIB} MiB for claude itself and {above} MiB more" if use.base else "claude itself included"
    most = ", ".join(f"{name} (pid {pid}) {size // MIB} MiB" for pid, name, size in use.most)
    text = f"{use.used // MIB} MiB of memory, where {use.limit // MIB} MiB are allowed ({base})"
    return f"{text}; most of it: {most}" if most else text


def high(use: MemoryUse) -> Notice:
    """The warning before the limit."""
    return Notice(
        severity="warning",
        code="limit.memory_near",
        message=f"the processes of this session use {used_text(use)}",
        hint=f"At the limit they are ended, with the turn. {HINT}",
    )


def stopped(use: MemoryUse, turn: Turn | None) -> str:
    """Why claude was ended."""
    by = "the kernel ended a process of this session: they used" if use.by_kernel else "its processes used"
    calls = ", ".join(f"{call.tool} {call.brief}" for call in turn.calls) if turn is not None else ""
    running = f"; it was running {calls}" if calls else ""
    return f"claude was ended: {by} {used_text(use)}{running}"
