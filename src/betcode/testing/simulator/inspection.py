"""After every step: does the daemon's memory agree with what is stored, and with the processes that live?

What happens at a single moment (a line is read, a commit takes effect, a frame arrives) is checked there: `truth`,
`ledger`, `viewer`, `pace`. Here is what must hold between any two moments.
"""

from __future__ import annotations

from betcode.core.breaker import State
from betcode.core.life import IN_CLAUDE, Session
from betcode.core.stance import stance_of, starts, wants_api, works
from betcode.engine.session import SessionRunner
from betcode.model import limits
from betcode.model.rows import SessionRow
from betcode.testing.simulator.machine import Machine
from betcode.testing.simulator.town import Town

INBOX_WAIT_S = 0.5
"""Nothing in a session's inbox waits that long unless its own commits do: a loop never waits for another session."""


class Inspection:
    """Looks at one daemon at a time; `after_step` is a watcher of the stage."""

    def __init__(self, town: Town, machine: Machine) -> None:
        """Nothing to see yet."""
        self._town = town
        self._stage = town.stage
        self._machine = machine
        self._busy_since_s: dict[SessionRunner, float] = {}
        self._seen: dict[SessionRunner, tuple[Session, SessionRow | None, int]] = {}
        self._spawned = 0
        plan = town.stage.plan
        self._waits_for_the_disk = plan.slow_store or plan.level["store"] > 0

    def after_step(self) -> None:
        """Check everything that has changed; what a session is made of is frozen, so `is` tells."""
        if self._spawned != self._machine.spawned:
            self._spawned = self._machine.spawned
            self._processes()
        daemon = self._town.daemon
        if daemon is None or not daemon.incarnation.alive:
            self._busy_since_s.clear()
            self._seen.clear()
            return
        for runner in daemon.runners():
            row = self._town.ledger.sessions.get(runner.id)
            seen = self._seen.get(runner)
            if seen is None or seen[0] is not runner.session or seen[1] is not row or seen[2] != runner.feed.seq:
                self._seen[runner] = (runner.session, row, runner.feed.seq)
                self._feed(runner, row)
                self._session(runner)
                self._pool(runner)
                self._upstream(runner)
            if not self._waits_for_the_disk:
                self._waiting(runner)

    def _processes(self) -> None:
        """INV-7: one living claude a session, and one a conversation. Only a start can change that for the worse."""
        for session, runs in self._machine.keepers.items():
            living = [keeper for keeper in runs.values() if keeper.claude.alive]
            if len(living) > 1:
                self._stage.fail("INV-7", f"{len(living)} claudes live in session {session}")
        for conversation in self._machine.conversations.values():
            if not 0 <= conversation.processes <= 1:
                self._stage.fail("INV-7", f"{conversation.processes} claudes live on conversation {conversation.name}")

    def _feed(self, runner: SessionRunner, row: SessionRow | None) -> None:
        """INV-2: what clients are shown is stored."""
        shown = (runner.feed.epoch, runner.feed.seq)
        if row is None:
            self._stage.fail("INV-1", f"session {runner.id} is run and not stored")
        elif shown > (row.epoch, row.seq):
            self._stage.fail("INV-2", f"{runner.id} shows {shown}, and only {(row.epoch, row.seq)} is stored")

    def _session(self, runner: SessionRunner) -> None:
        """INV-1, INV-4, INV-5: what one session may hold in memory at any time."""
        session = runner.session
        given = 0
        for message in session.messages:
            if message.session != runner.id:
                self._stage.fail("INV-4", f"{runner.id} holds message {message.id} of {message.session}")
            given += message.state in IN_CLAUDE and not message.steer
        if given > 1:
            self._stage.fail("INV-1", f"claude of {runner.id} was handed {given} messages for their own turns at once")
        for question in session.permissions:
            if question.session != runner.id:
                self._stage.fail("INV-4", f"{runner.id} holds question {question.id} of {question.session}")
        if session.fruitless >= limits.CRASHES_MAX and not session.crashed and session.restart_s is not None:
            self._stage.fail("INV-5", f"{runner.id} restarts after {session.fruitless} crashes in a row")

    def _pool(self, runner: SessionRunner) -> None:
        """INV-8: what the pool thinks of a session is so. A slot that is lost is one that nobody gets any more."""
        pool = runner.world.slots.pool
        member = pool.members.get(runner.id)
        stands = stance_of(runner.session)
        if member is not None and member.stance != stands:
            self._stage.fail("INV-8", f"the pool has {runner.id} as {member.stance}, and it is {stands}")

    def _upstream(self, runner: SessionRunner) -> None:
        """RL-5, RL-4, INV-5: nobody is let in while it is open; one probes; then no more than the slow start lets."""
        session, upstream = runner.session, runner.seat.access.upstream
        member = upstream.members.get(runner.id)
        stands = (wants_api(session), starts(session) or works(session))
        if member is not None and (member.wants, member.works) != stands:
            self._stage.fail("RL-4", f"the upstream has {runner.id} as {member}, and it is not so")
        state = upstream.breaker.snapshot().state
        let_in = [name for name, one in upstream.members.items() if one.admitted and not one.forced]
        if state is State.OPEN and let_in:
            self._stage.fail("RL-5", f"{let_in} may begin while the upstream is open")
        if state is State.HALF_OPEN and len(let_in) > 1:
            self._stage.fail("INV-5", f"{let_in} probe at the same time")
        if upstream.width and len(let_in) > upstream.width:
            self._stage.fail("RL-4", f"{let_in} may begin at a width of {upstream.width}")

    def _waiting(self, runner: SessionRunner) -> None:
        """INV-4: a session's loop takes what happens to it, whatever the other sessions do."""
        if runner._inbox.empty():
            self._busy_since_s.pop(runner, None)
            return
        now_s = self._stage.now_s
        since_s = self._busy_since_s.setdefault(runner, now_s)
        if now_s - since_s > INBOX_WAIT_S:
            self._stage.fail("INV-4", f"what happened to {runner.id} has waited {now_s - since_s:.1f} s for its loop")
