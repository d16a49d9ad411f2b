"""One life of the daemon: its tasks, and whether it still has any effect on the world."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

OWNER: ContextVar[Incarnation | None] = ContextVar("owner", default=None)
"""The daemon in whose tasks we are; tasks made by its tasks inherit it."""


@dataclass(slots=True)
class Incarnation:
    """A dead daemon's coroutines are cancelled and still run their `finally`; whatever they do then reaches nobody."""

    generation: int
    alive: bool = True
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)
    sockets: list[asyncio.Transport] = field(default_factory=list)
    """Its connections to keepers, which the kernel closes."""

    def die(self) -> None:
        """Kill -9: from now on nothing it does has an effect."""
        self.alive = False
        for socket in self.sockets:
            socket.close()
        for task in self.tasks:
            task.cancel()


def adopt_task(task: asyncio.Task[Any]) -> None:
    """Give a new task to the daemon that made it, if one did."""
    owner = OWNER.get()
    if owner is not None:
        owner.tasks.append(task)
        if not owner.alive:
            task.cancel()
