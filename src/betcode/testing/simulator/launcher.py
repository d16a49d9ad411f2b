"""Starts and adopts model keepers for one daemon, with the production link (`engine.ports.Launcher`)."""

from __future__ import annotations

import asyncio
from random import Random

from betcode.adapters.keeper_link import KeeperLink
from betcode.core.inputs import Sighted
from betcode.engine.ports import Link
from betcode.model.errors import BetcodeError
from betcode.model.ids import SessionId
from betcode.model.rows import SessionRow
from betcode.testing.simulator.incarnation import Incarnation
from betcode.testing.simulator.machine import How, Machine, ModelFiles
from betcode.testing.simulator.pace import Pace

LATE_START_S = 3.0
"""A keeper may come up this long after the daemon that asked for it died."""


class ModelLauncher:
    """Follows the production launcher: look for a transcript, start a keeper, and once more after clearing the lock."""

    def __init__(self, machine: Machine, incarnation: Incarnation, pace: Pace, rng: Random) -> None:
        """For the daemon `incarnation`."""
        self._machine = machine
        self._incarnation = incarnation
        self._pace = pace
        self._rng = rng

    def _files(self, row: SessionRow) -> ModelFiles:
        return ModelFiles(self._machine, row.id, lambda: self._incarnation.alive)

    async def start(self, row: SessionRow, *, rerun: bool = False) -> Link:
        """Start claude as `row.run`."""
        stage = self._machine.stage
        self._pace.started(row)
        await asyncio.sleep(self._rng.uniform(0.001, 0.02))
        if row.id not in self._machine.gentle and stage.plan.chance(self._rng, "start", 0.3):
            lasting = self._rng.random() < 0.2
            if lasting:
                self._machine.truth.doomed.add(row.id)
            stage.note(f"claude of {row.id} cannot be started, lasting={lasting}")
            code = "claude.not_found" if lasting else "agent.spawn_failed"
            if not lasting:
                self._pace.failed(row.id)
            raise BetcodeError(code, "cannot be started", hint="Nothing to do: this is a simulation.")
        conversation = self._machine.conversation(row.claude_session_id)
        resume = conversation.can_be_resumed(stage.now_s)
        if await self._spawn(row, resume, rerun) is None:
            self._files(row).kill_leftovers(row.run - 1)
            if not await self._files(row).lock_gets_free():
                self._pace.failed(row.id)
                raise BetcodeError("agent.spawn_failed", "the session's lock is held", hint="It is tried again.")
            return self._link(row, 0)
        link = self._link(row, 0)
        link.keeper_pid, link.claude_pid = 10_000 + row.run, 20_000 + row.run
        return link

    def _link(self, row: SessionRow, offset: int) -> KeeperLink:
        conversation = self._machine.conversation(row.claude_session_id)
        return KeeperLink(
            self._files(row),
            row.run,
            generation=self._incarnation.generation,
            offset=offset,
            conversation=conversation.stored,
        )

    async def _spawn(self, row: SessionRow, resume: bool, rerun: bool) -> object | None:
        """Run the keeper's launcher: a process of its own, which goes on when the daemon dies meanwhile."""
        stage = self._machine.stage
        done: asyncio.Future[object | None] = asyncio.get_running_loop().create_future()

        def spawn() -> None:
            generation = self._incarnation.generation
            how = How(row.claude_session_id, resume, rerun)
            keeper = self._machine.spawn(row.id, row.run, how, generation=generation)
            if not done.done():
                done.set_result(keeper)

        late = stage.plan.chance(self._rng, "start", 0.2) and row.id not in self._machine.gentle
        stage.later(self._rng.uniform(0.01, LATE_START_S if late else 0.05), spawn)
        found = await done
        await asyncio.sleep(self._rng.uniform(0.0, 0.01))
        return found

    async def look(self, row: SessionRow, own_pid: int | None, *, prompts: bool) -> Sighted:
        """Nobody else is there."""
        return Sighted()

    async def adopt(self, row: SessionRow) -> Link:
        """Take over `row.run` from `row.offset`."""
        stage = self._machine.stage
        stage.note(f"{row.id}.{row.run} is taken over from byte {row.offset}")
        return self._link(row, row.offset)

    async def read_raw(self, session: SessionId, run: int, offset: int, count: int) -> tuple[int, bytes]:
        """Journal bytes from `offset`, which are all there: a model journal loses nothing."""
        files = ModelFiles(self._machine, session, lambda: self._incarnation.alive)
        return offset, files.read(run, offset, count)

    async def read_back(self, row: SessionRow, start: int) -> bytes:
        """Journal bytes before the offset."""
        return self._files(row).read_back(row.run, start, row.offset)
