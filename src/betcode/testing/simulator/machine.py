"""The machine that daemons come and go on: sessions' keepers and locks, claude's conversations."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from betcode.adapters.session_files import SessionFiles
from betcode.keeper.journal import JournalGap
from betcode.testing.simulator.claude import Fate, Setting
from betcode.testing.simulator.conversation import ModelConversation
from betcode.testing.simulator.incarnation import OWNER
from betcode.testing.simulator.keeper import ModelKeeper
from betcode.testing.simulator.ledger import Ledger
from betcode.testing.simulator.socket import ModelSocket
from betcode.testing.simulator.stage import Stage
from betcode.testing.simulator.truth import Truth

ROOT = Path("/sim")


@dataclass(frozen=True, slots=True)
class How:
    """How a claude is started."""

    conversation: str
    resume: bool
    rerun: bool


class Machine:
    """What is outside every daemon and outlives it."""

    def __init__(self, stage: Stage, truth: Truth, ledger: Ledger) -> None:
        """No keeper runs."""
        self.stage = stage
        self.truth = truth
        self.keepers: dict[str, dict[int, ModelKeeper]] = {}
        """Session -> run -> keeper, dead ones too: their files stay."""
        self.conversations: dict[str, ModelConversation] = {}
        self.gentle: set[str] = set()
        """Sessions in which nothing of their own goes wrong."""
        self.on_failure: Callable[[str], None] = lambda _session: None
        """Called with the session of a claude that ended in the middle of its first turn."""
        self.spawned = 0
        """Processes that were ever started."""
        self._ledger = ledger
        self._rng = stage.random("machine")

    def conversation(self, name: str) -> ModelConversation:
        """Claude's transcript of this id."""
        return self.conversations.setdefault(name, ModelConversation(name))

    def holder(self, session: str) -> ModelKeeper | None:
        """The run that holds the session's lock."""
        return next((k for k in self.keepers.get(session, {}).values() if k.holds_lock), None)

    def spawn(self, session: str, run: int, how: How, *, generation: int) -> ModelKeeper | None:
        """Start a keeper and claude; None when the lock is held."""
        runs = self.keepers.setdefault(session, {})
        if self.holder(session) is not None or run in runs:
            return None
        gentle = session in self.gentle
        setting = Setting(self.conversation(how.conversation), how.resume, self._fate(gentle), gentle, how.rerun)
        runs[run] = ModelKeeper(
            self.stage,
            self.truth,
            session=session,
            run=run,
            generation=generation,
            setting=setting,
        )
        self.spawned += 1
        runs[run].on_failure = self.on_failure
        return runs[run]

    def _fate(self, gentle: bool) -> Fate:
        rng = self._rng
        if gentle or not self.stage.plan.chance(rng, "claude", 0.8):
            return Fate()
        match rng.randrange(10):
            case 0:
                return Fate(at_start=True)
            case 1:
                return Fate(time_s=rng.choice((rng.uniform(0.0, 1.0), rng.uniform(0.0, 30.0))))
            case 2:
                return Fate(hangs=rng.random() < 0.3)
            case 3:
                return Fate(silent=rng.randint(6, 60), obeys=rng.random() < 0.6)
            case _:
                return Fate(line=rng.choice((rng.randint(1, 12), rng.randint(1, 60))))

    async def connect(
        self, factory: Callable[[], asyncio.Protocol], path: str
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        """What `loop.create_unix_connection` does. Raises OSError when nobody listens."""
        session = Path(path).parent.name
        listening = [k for k in self.keepers.get(session, {}).values() if k.alive]
        if not listening:
            raise ConnectionRefusedError("nobody listens on the keeper's socket")
        keeper = listening[-1]
        protocol = factory()
        socket = ModelSocket(self.stage, keeper, protocol, self._rng)
        owner = OWNER.get()
        if owner is not None:
            owner.sockets.append(socket)
        protocol.connection_made(socket)
        keeper.accept(socket)
        return socket, protocol

    def power_cut(self) -> None:
        """Everything that runs here stops at once."""
        for session, runs in self.keepers.items():
            row = self._ledger.sessions.get(session)
            for keeper in runs.values():
                if keeper.holds_lock:
                    keeper.power_cut(row.offset if row is not None and row.run == keeper.run else 0)


class ModelFiles(SessionFiles):
    """A session's files, of which only the machine has the bytes."""

    def __init__(self, machine: Machine, session: str, alive: Callable[[], bool]) -> None:
        """`alive`: whether the daemon that asks still lives."""
        super().__init__(ROOT / session)
        self._machine = machine
        self._session = session
        self._alive = alive

    def _keeper(self, run: int) -> ModelKeeper | None:
        return self._machine.keepers.get(self._session, {}).get(run)

    def end(self, run: int) -> int:
        """Length of the journal."""
        keeper = self._keeper(run)
        return len(keeper.journal) if keeper is not None else 0

    def read(self, run: int, offset: int, count: int) -> bytes:
        """Journal bytes, as `JournalReader.read` gives them."""
        keeper = self._keeper(run)
        if keeper is None or offset > len(keeper.journal):
            raise JournalGap(run, offset, None)
        return bytes(keeper.journal[offset : offset + count])

    def written(self, run: int) -> frozenset[str]:
        """Ids with an intent."""
        keeper = self._keeper(run)
        return frozenset(keeper.intents) if keeper is not None else frozenset()

    def exit_report(self, run: int) -> dict[str, object] | None:
        """The report, if the keeper lived to write one."""
        keeper = self._keeper(run)
        return keeper.exit if keeper is not None else None

    def lock_is_free(self) -> bool:
        """Whether neither a keeper nor a claude of this session lives."""
        return self._machine.holder(self._session) is None

    def is_gone(self) -> bool:
        """Nobody removes the folders of a model machine."""
        return False

    def left_nothing(self, run: int) -> bool:
        """Whether this run has never been."""
        return self._keeper(run) is None

    def kill_keepers(self, run: int) -> list[int]:
        """A model keeper is never stopped: it ends with its claude."""
        return []

    def kill_leftovers(self, run: int) -> list[int]:
        """End the claude of this run, or of another that holds the lock."""
        ended = []
        runs = self._machine.keepers.get(self._session, {})
        for number in [run, *sorted(set(runs) - {run}, reverse=True)]:
            keeper = self._keeper(number)
            if keeper is not None and self._alive() and keeper.claude.alive:
                self._machine.stage.note(f"a daemon kills the claude of {self._session}.{number}")
                keeper.claude.kill()
                ended.append(keeper.claude_pid)
        return ended
