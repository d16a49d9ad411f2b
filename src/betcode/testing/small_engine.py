"""The engine on real files, with paper claudes: everything between a client's request and the disk, and no daemon."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from betcode.adapters.clock import SystemClock
from betcode.adapters.intake import DiskFiles
from betcode.adapters.marks import MarkFiles, SessionMarks
from betcode.adapters.metrics import Metrics
from betcode.adapters.sqlite.connection import Connect, plain_connect
from betcode.adapters.sqlite.store import SqliteStore
from betcode.core.life import Session
from betcode.engine.registry import Registry
from betcode.engine.requests import Requests
from betcode.engine.restore import restore_all
from betcode.engine.slots import Slots
from betcode.engine.world import World
from betcode.model.frames import AnyRequest
from betcode.model.ids import SessionId
from betcode.model.policy import Policy
from betcode.model.rows import Permission
from betcode.model.states import PermissionState
from betcode.testing.paper_claude import PaperLauncher

WAIT_S = 30.0
"""Longest wait for something that takes milliseconds."""
_POLL_S = 0.001


@dataclass
class KeptLog:
    """A log that keeps what was said."""

    lines: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def bind(self, **fields: Any) -> KeptLog:
        """The same log."""
        return self

    def debug(self, message: str, **fields: Any) -> None:
        """Not kept."""

    def info(self, message: str, **fields: Any) -> None:
        """Kept."""
        self.lines.append((message, fields))

    warning = error = info


class SmallEngine:
    """One life of the engine. `store`, `registry` and `log` are for looking at."""

    def __init__(self, store: SqliteStore, registry: Registry, log: KeptLog) -> None:
        """Use `running_engine`."""
        self.store = store
        self.registry = registry
        self.log = log
        self._requests = Requests(registry, lambda: {"database": {"state": store.state}}, lambda path: path)

    async def ask(self, request: AnyRequest) -> dict[str, Any]:
        """The reply's body. Raises the BetcodeError of a refusal."""
        return await self._requests.handle(request, "test")

    async def question(self, session: str, give_up: Callable[[], bool] = lambda: False) -> Permission | None:
        """The pending question of a session, as soon as there is one; None when it has nothing to do."""
        runner = self.registry.runner(SessionId(session))
        await self.until(session, lambda s: any(_pending(p) for p in s.permissions) or not s.messages, give_up)
        return next((p for p in runner.session.permissions if _pending(p)), None)

    async def until(
        self, session: str, holds: Callable[[Session], bool], give_up: Callable[[], bool] = lambda: False
    ) -> None:
        """Wait until the session is so, and stored."""
        runner = self.registry.runner(SessionId(session))
        await self.eventually(lambda: give_up() or (holds(runner.session) and runner.feed.settled))

    async def eventually(self, holds: Callable[[], bool]) -> None:
        """Wait until it is so."""
        loop = asyncio.get_running_loop()
        end = loop.time() + WAIT_S
        while not holds():
            assert loop.time() < end, "it did not come in time"
            await asyncio.sleep(_POLL_S)


def _pending(permission: Permission) -> bool:
    return permission.state is PermissionState.PENDING


@contextlib.asynccontextmanager
async def running_engine(
    data: Path,
    launcher: PaperLauncher,
    *,
    connect: Connect = plain_connect,
    files: DiskFiles | None = None,
    mark_files: MarkFiles | None = None,
    slots: Slots | None = None,
    idle_process_s: float = 0.0,
) -> AsyncIterator[SmallEngine]:
    """Start as the daemon does, and stop. Raises BetcodeError `store.failed` when it cannot be started."""
    log = KeptLog()
    store = await SqliteStore.open(data / "daemon.db", rng=Random(1), connect=connect, files=files)
    try:
        world = World(
            store=store,
            launcher=launcher,
            marks=SessionMarks(data / "sessions", mark_files),
            clock=SystemClock(),
            rng=Random(1),
            log=log,
            meter=Metrics(),
            slots=slots or Slots(),
            # A session whose commit failed begins again soon.
            policy=Policy(backoff_first_s=0.001, backoff_max_s=0.002, idle_process_s=idle_process_s),
        )
        await restore_all(world, store.unstored)
        registry = Registry(world, lambda: str(uuid.uuid4()))
        try:
            await registry.open()
            yield SmallEngine(store, registry, log)
        finally:
            await registry.close()
    finally:
        await store.close()
