"""Looks whether somebody else's claude works on the conversations of this daemon (INV-7); `core.foreign` decides."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from betcode.core.foreign import strange
from betcode.core.inputs import Sighted
from betcode.core.life import Process, Session, to_row
from betcode.engine.ports import Launcher
from betcode.model import limits

Tell = Callable[[Sighted], Awaitable[None]]


async def look(session: Session, own_pid: int | None, launcher: Launcher, tell: Tell) -> None:
    """Tell what is new about the conversation of a session whose process is ready, or that is held because of others.

    While a process is at work, what the transcript holds is not looked at: it is just being written.
    """
    ready = session.process is Process.READY and own_pid is not None
    if not ready and not (session.strangers and session.process is Process.NONE):
        return
    prompts = session.turn is None and session.current is None
    sight = await launcher.look(to_row(session), own_pid, prompts=prompts)
    if any(strange(session, sight)):
        await tell(sight)


class Looks(Protocol):
    """One session's loop."""

    async def look(self) -> None:
        """See whether somebody else's claude works on the conversation."""
        ...


async def watch(running: Callable[[], Sequence[Looks]]) -> None:
    """Look at all sessions that run, again and again, until cancelled."""
    while True:
        await asyncio.sleep(limits.FOREIGN_LOOK_S)
        for runner in running():
            await runner.look()
