"""One daemon process: the production engine on model adapters, from its start to its kill."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable
from random import Random
from typing import Any

from betcode.core.instant import Instant
from betcode.engine.conversation import Conversation, Daemon
from betcode.engine.registry import Registry
from betcode.engine.requests import Requests
from betcode.engine.session import SessionRunner
from betcode.engine.slots import Slots
from betcode.engine.world import World
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.ids import SessionId
from betcode.model.policy import Policy
from betcode.model.rows import Mark
from betcode.testing.simulator.channel import ModelChannel
from betcode.testing.simulator.incarnation import OWNER, Incarnation
from betcode.testing.simulator.launcher import ModelLauncher
from betcode.testing.simulator.machine import Machine
from betcode.testing.simulator.pace import Pace
from betcode.testing.simulator.stage import Stage
from betcode.testing.simulator.store import ModelDisk, ModelStore

DEFECTS = ("a task failed", "a session's loop failed", "a connection's task failed", "the database is behind")
"""Log messages that only a defect can cause, unless the store failed."""


class ModelLog:
    """Puts the daemon's log into the trace, and takes a logged defect for what it is."""

    def __init__(self, stage: Stage, incarnation: Incarnation, fields: dict[str, Any]) -> None:
        """`fields` are in every line."""
        self._stage = stage
        self._incarnation = incarnation
        self._fields = fields

    def bind(self, **fields: Any) -> ModelLog:
        """With more fields."""
        return ModelLog(self._stage, self._incarnation, self._fields | fields)

    def debug(self, message: str, **fields: Any) -> None:
        """Not shown."""

    def info(self, message: str, **fields: Any) -> None:
        """Not shown."""

    def warning(self, message: str, **fields: Any) -> None:
        """Not shown."""

    def error(self, message: str, **fields: Any) -> None:
        """Shown; a violation when it tells of a defect."""
        if not self._incarnation.alive:
            return
        self._stage.note(f"log: {message} {self._fields.get('session_id', '')} {fields}")
        if message.startswith(DEFECTS) and "StoreError" not in str(fields):
            self._stage.fail("internal", f"{message}: {fields}")


class ModelMeter:
    """Counts nothing."""

    def spawned(self, outcome: str, seconds: float) -> None:
        """Not counted."""

    def crashed(self, exit_code: str) -> None:
        """Not counted."""

    def bad_line(self, error_type: str) -> None:
        """Not counted."""

    def permission(self, tool: str, decision: str, seconds: float) -> None:
        """Not counted."""


class ModelClock:
    """Reads the stage's clocks."""

    def __init__(self, stage: Stage) -> None:
        """For any daemon."""
        self._stage = stage

    def now(self) -> Instant:
        """Both clocks."""
        return self._stage.instant()


class ModelMarks:
    """The marks of all sessions, which outlive daemons."""

    def __init__(self, marks: dict[str, Mark], incarnation: Incarnation) -> None:
        """`marks` belongs to the machine."""
        self._marks = marks
        self._incarnation = incarnation

    def write(self, session: SessionId, mark: Mark) -> None:
        """Replace a mark."""
        if self._incarnation.alive:
            self._marks[session] = mark

    def read(self, session: SessionId) -> Mark | None:
        """A mark."""
        return self._marks.get(session)


class ModelDaemon:
    """One life of the daemon."""

    def __init__(
        self, stage: Stage, machine: Machine, disk: ModelDisk, pace: Pace, marks: dict[str, Mark], *, generation: int
    ) -> None:
        """Not started yet."""
        self.stage = stage
        self.incarnation = Incarnation(generation)
        self.serving = False
        self.gone = asyncio.Event()
        """The process has ended: killed, asked to, or because it could not start."""
        self._rng = Random(f"daemon {generation} {stage.plan.seed}")
        self._pace = pace
        self._store = ModelStore(disk, self.incarnation, stage, pace, self._rng)
        self._registry = Registry(
            World(
                store=self._store,
                launcher=ModelLauncher(machine, self.incarnation, pace, self._rng),
                marks=ModelMarks(marks, self.incarnation),
                clock=ModelClock(stage),
                rng=Random(f"engine {generation} {stage.plan.seed}"),
                log=ModelLog(stage, self.incarnation, {}),
                meter=ModelMeter(),
                line_bytes_max=stage.plan.line_bytes_max,
                slots=Slots(stage.plan.slots, limits.SLOTS_QUEUE, stage.plan.processes_per_slot),
                policy=Policy(idle_process_s=stage.plan.idle_process_s),
            ),
            new_uuid=lambda: str(uuid.UUID(int=self._rng.getrandbits(128), version=4)),
        )
        requests = Requests(self._registry, lambda: {"daemon": {}, "database": {}}, lambda path: path)
        self._daemon = Daemon("0", generation, requests, self._asked_to_stop)
        self._channels: dict[ModelChannel, Conversation] = {}
        self._stopping = False

    def start(self) -> None:
        """Begin as `daemon.app` does: sessions first, then clients."""
        self.stage.note(f"daemon {self.incarnation.generation} starts")
        self._pace.excuse_all()
        self._spawn(self._run(), "daemon")

    def _spawn(self, work: Any, name: str) -> None:
        """A task of this daemon."""
        token = OWNER.set(self.incarnation)
        try:
            self.stage.loop.create_task(work, name=name)
        finally:
            OWNER.reset(token)

    async def _run(self) -> None:
        try:
            await self._registry.open()
        except BetcodeError as error:
            self.stage.note(f"the daemon cannot start: {error}")
            await self._registry.close()
            self._exit()
            return
        self.serving = True
        self.stage.note(f"daemon {self.incarnation.generation} serves")

    def runners(self) -> Iterable[SessionRunner]:
        """The sessions that run in it."""
        return self._registry._runners.values()

    def connect(self, client: str) -> ModelChannel:
        """A client connects."""
        channel = ModelChannel(client)
        conversation = Conversation(channel, self._registry, self._daemon, ModelLog(self.stage, self.incarnation, {}))
        self._channels[channel] = conversation
        self._spawn(self._converse(channel, conversation), f"conversation {client}")
        return channel

    async def _converse(self, channel: ModelChannel, conversation: Conversation) -> None:
        try:
            await conversation.serve()
        finally:
            self._channels.pop(channel, None)
            if self.incarnation.alive:
                channel.cut(keep=True)

    # --- the end ------------------------------------------------------------------------------------------------

    def kill(self) -> None:
        """Kill -9: nothing more is done, nothing is closed in good order."""
        if not self.incarnation.alive:
            return
        self.stage.note(f"daemon {self.incarnation.generation} is killed")
        self.serving = False
        self.gone.set()
        self._store.killed()
        channels = list(self._channels)
        self.incarnation.die()
        for channel in channels:
            channel.cut(keep=self._rng.random() < 0.5)

    def _asked_to_stop(self, end_sessions: bool) -> None:
        if not self._stopping:
            self._stopping = True
            self._spawn(self._stop(end_sessions), "stop")

    async def _stop(self, end_sessions: bool) -> None:
        """In good order, as `daemon.app` does."""
        self.stage.note(f"daemon {self.incarnation.generation} stops, end_sessions={end_sessions}")
        self.serving = False
        self._registry.stopping = True
        try:
            async with asyncio.timeout(limits.SHUTDOWN_WAIT_S):
                if end_sessions:
                    await self._registry.end_processes()
                leaving = [c.leave("the daemon is stopping", limits.RECONNECT_FIRST_S) for c in self._channels.values()]
                await asyncio.gather(*leaving)
        except TimeoutError:
            self.stage.note("the stop takes too long")
        except BetcodeError as error:
            self.stage.note(f"the stop ends with {error}")
        await self._registry.close()
        self.stage.note(f"daemon {self.incarnation.generation} has stopped")
        self._exit()

    def _exit(self) -> None:
        """The process ends: the kernel closes its connections, and sends what was written to them."""
        self.gone.set()
        channels = list(self._channels)
        self.incarnation.die()
        for channel in channels:
            channel.cut(keep=True)
