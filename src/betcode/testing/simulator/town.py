"""What the people of a simulation share: the daemon that is there now, the sessions, and the messages to be sent."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from random import Random

from betcode.model import limits
from betcode.model.rows import Options
from betcode.testing.simulator.daemon import ModelDaemon
from betcode.testing.simulator.ledger import Ledger
from betcode.testing.simulator.machine import Machine
from betcode.testing.simulator.pace import Pace
from betcode.testing.simulator.stage import Stage
from betcode.testing.simulator.truth import Truth


@dataclass(slots=True)
class Errand:
    """A message that somebody wants to send, under one key however often it takes."""

    session: int
    key: str
    text: str
    steer: bool
    done: bool = False
    tries: int = 0


@dataclass(slots=True)
class WantedSession:
    """A session that somebody wants to exist, under one key however often it takes."""

    key: str
    options: Options
    id: str = ""


@dataclass(slots=True)
class Town:
    """Shared by all people."""

    stage: Stage
    truth: Truth
    ledger: Ledger
    machine: Machine
    pace: Pace
    rng: Random
    daemon: ModelDaemon | None = None
    sessions: list[WantedSession] = field(default_factory=list)
    errands: list[Errand] = field(default_factory=list)
    busy: int = 0
    """People who still have something to do."""
    closing: bool = False

    def prepare(self) -> None:
        """Draw the sessions and messages of this run."""
        plan, rng = self.stage.plan, self.rng
        for session in range(plan.sessions):
            ttl_s = rng.choice((0.0, 5.0, 60.0, 3_600.0, limits.PERMISSION_TTL_S))
            self.sessions.append(WantedSession(self.new_key(), Options(permission_ttl_s=ttl_s, background=session > 0)))
        for number in range(plan.messages):
            steer = rng.random() < 0.15
            self.errands.append(Errand(number % plan.sessions, self.new_key(), f"do {number}", steer))

    def new_key(self) -> str:
        """A UUID."""
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    def is_gentle(self, number: int) -> bool:
        """Whether nothing of its own goes wrong in this session."""
        return number in self.stage.plan.gentle

    def created(self, number: int, session: str) -> None:
        """Somebody was told that this session exists."""
        wanted = self.sessions[number]
        stored = self.ledger.sessions.get(session)
        good = stored is not None and stored.claude_session_id == wanted.key
        self.stage.check(good, "INV-1", f"session {session} was acknowledged and is not stored so")
        one = f"one key gave the sessions {wanted.id} and {session}"
        self.stage.check(wanted.id in ("", session), "INV-1", one)
        wanted.id = session
        if self.is_gentle(number):
            self.machine.gentle.add(session)
