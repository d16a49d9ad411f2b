"""What must hold for every decision of the core and for everything that is committed (INV-1, INV-3, INV-5, PS-3)."""

from __future__ import annotations

from dataclasses import replace

from betcode.core.draft import Decision
from betcode.core.effects import Allow, Deny, Reply, Say, StartProcess, Write
from betcode.core.inputs import (
    Answer,
    Clear,
    Close,
    Ended,
    Halt,
    Input,
    Interrupt,
    Release,
    Retry,
    Saw,
    Started,
    Submit,
)
from betcode.core.instant import Instant
from betcode.core.life import IN_CLAUDE, Process, Session, to_row
from betcode.core.pool import CROWDED, OPEN, WAITS, Gate
from betcode.model import limits
from betcode.model.facts import TurnResult
from betcode.model.rows import Message, Permission, SessionRow
from betcode.model.states import FINAL_MESSAGE_STATES, Delivery, MessageState, PermissionState
from betcode.testing.model_claude import Conversation

PEOPLE = (Submit, Answer, Interrupt, Release, Clear, Retry, Close, Halt)
GATES = (OPEN, CROWDED, Gate(begins=False, goes_on=False, full=True, why=WAITS), Gate(begins=False, why=WAITS))
"""What the pool can let a session do; everything comes first."""
LASTING = ("held", "crashed", "closing", "closed")


class Checks:
    """Remembers what was promised, and raises AssertionError when it is broken."""

    def __init__(self, conversation: Conversation) -> None:
        """`conversation` tells what claude really did."""
        self._conversation = conversation
        self._allowed: set[str] = set()
        self._cancelled_by_a_person = False
        self._starts: set[int] = set()
        self._starts_in_a_row = 0
        self.start_failed_for_good = False
        self.silences = 0
        """Turns that were interrupted because nothing came."""
        self.swollen = False
        """Whether a claude was ended because of what it used."""
        self.spoilt: set[int] = set()

    def decision(self, before: Session, news: Input, decision: Decision, now: Instant) -> None:
        """One step of the core."""
        after = decision.session
        numbers = [event.seq for event in decision.events]
        assert numbers == list(range(before.seq + 1, after.seq + 1)), "the numbers of events have a gap"
        assert all(m.state not in FINAL_MESSAGE_STATES for m in after.messages)
        alone = [m for m in after.messages if m.state in IN_CLAUDE and not m.steer]
        assert len(alone) <= 1, "claude has two messages that do not steer"
        assert after.run in (before.run, before.run + 1)
        if not isinstance(news, Started):  # lines that an earlier daemon had handed over are repeated
            self._gate(after, decision)
        if isinstance(news, Answer) and news.allow:
            asked = [p for p in before.permissions if p.id == news.permission_id]
            if asked and asked[0].state is PermissionState.PENDING and now.unix_s < asked[0].deadline_unix_s:
                self._allowed.add(news.permission_id)
        if isinstance(news, Clear | Close | Interrupt):
            self._cancelled_by_a_person = True
        self.silences += any(getattr(event, "code", "") in ("agent.stall", "agent.hang") for event in decision.events)
        if isinstance(news, PEOPLE) or (isinstance(news, Saw) and isinstance(news.fact, TurnResult)):
            self._starts_in_a_row = 0
        if isinstance(news, Ended) and news.memory is not None and news.run == before.run:
            had = {m.id for m in before.messages if m.state in IN_CLAUDE and m.uuid in news.written}
            assert not had & {m.id for m in after.messages}, "a turn that used too much goes on into the same wall"
        if after.process is Process.NONE is not before.process:
            assert decision.stores, "the end of a process is not stored: every later daemon would find it anew"
        if after.restart_s is not None and after.restart_s != before.restart_s:
            delay_s = after.restart_s - now.steady_s
            assert limits.BACKOFF_FIRST_S / 2 <= delay_s <= limits.BACKOFF_MAX_S

    @staticmethod
    def _gate(after: Session, decision: Decision) -> None:
        """Nothing that makes claude work without a slot; what steers goes to a turn that has one."""
        steers = {m.uuid for m in after.messages if m.steer}
        for effect in decision.effects:
            if isinstance(effect, StartProcess) or (isinstance(effect, Write) and isinstance(effect.command, Say)):
                steered = isinstance(effect, Write) and effect.line_id in steers
                assert after.gate.begins or steered, "a turn begins without a slot"
            if isinstance(effect, Write) and effect.line_id.startswith("answer:"):
                assert after.gate.goes_on or after.closing, "a turn goes on without a slot"

    def row(self, row: Message | Permission, message: Message | None, question: Permission | None) -> None:
        """A row is about to replace what is stored under its id."""
        if isinstance(row, Message):
            if message is not None:
                assert (message.text, message.session) == (row.text, row.session)
                assert message.state not in FINAL_MESSAGE_STATES or row.state is message.state, (
                    f"{row.id} was {message.state} and is {row.state}"
                )
            self._outcome(row)
            return
        assert row.state is not PermissionState.ALLOWED or row.id in self._allowed, (
            "allowed, and nobody said so in time"
        )
        assert row.state is not PermissionState.PENDING or row.delivery is Delivery.NONE
        if question is not None and question.state is not PermissionState.PENDING:
            assert (row.state, row.by, row.updated_input) == (question.state, question.by, question.updated_input)
            assert question.delivery is Delivery.SENDING or row.delivery is question.delivery

    def _outcome(self, message: Message) -> None:
        """A message's outcome is what claude did, or what a person wished, or an honest unknown."""
        real = self._conversation.outcome.get(message.uuid)
        match message.state:
            case MessageState.COMPLETED:
                assert real == "completed" or message.uuid in self._conversation.dropped, f"claude says {real}"
            case MessageState.FAILED:
                assert real == "failed" or self.start_failed_for_good or self.silences or self.swollen
            case MessageState.CANCELLED:
                assert real == "cancelled" or self._cancelled_by_a_person, f"claude says {real}"
            case MessageState.UNKNOWN:
                assert real is None or self.spoilt, f"claude says {real}"
            case _:
                pass

    def numbering(self, stored_seq: int, events: int, session: Session) -> None:
        """The events of one commit follow those that are stored."""
        assert session.seq == stored_seq + events

    def reload(self, loaded: Session, session: Session) -> None:
        """What a restart would know is what matters of what the daemon knows."""
        forgotten = replace(session, ended=(), settled=(), crashes_s=(), fruitless=0, restart_s=None, ready_by_s=None)
        forgotten = replace(forgotten, rerun_by_s=None, heard_s=0.0, api=False, quiet_until_s=0.0, interrupted_s=0.0)
        forgotten = replace(forgotten, gate=OPEN)
        assert replace(loaded, permissions=()) == replace(forgotten, permissions=())
        assert {p.id: p for p in loaded.permissions} == {p.id: p for p in session.permissions}

    def acknowledged(self, reply: Reply, row: SessionRow, session: Session, messages: dict[str, Message]) -> None:
        """Nobody is told of a change that a crash could undo."""
        now = to_row(session)
        assert row.name == now.name
        for name in LASTING:
            assert row.life[name] == now.life[name], f"{name} is acknowledged and not stored"
        message = reply.body.get("message_id")
        assert message is None or message in messages, "a message is acknowledged and not stored"

    def write(self, effect: Write, permissions: dict[str, Permission]) -> None:
        """A line goes to claude."""
        if isinstance(effect.command, Allow | Deny):
            request_id = effect.command.request_id
            stored = [p for p in permissions.values() if p.request_id == request_id and p.run == effect.run]
            assert len(stored) == 1
            assert (stored[0].state is PermissionState.ALLOWED) == isinstance(effect.command, Allow)
            assert stored[0].state is not PermissionState.PENDING
            if isinstance(effect.command, Allow) and stored[0].updated_input is not None:
                assert effect.command.updated_input == stored[0].updated_input

    def start(self, effect: StartProcess, row: SessionRow, alive: list[int]) -> None:
        """A process is about to be started."""
        assert not alive, f"run {effect.run} is to be started while {alive} is alive"
        assert effect.run not in self._starts, f"run number {effect.run} is used twice"
        assert row.run == effect.run, "the run's number is not stored before its start"
        self._starts.add(effect.run)
        self._starts_in_a_row += 1
        assert self._starts_in_a_row <= limits.CRASHES_MAX, "it is restarted for ever"

    def restarted(self) -> None:
        """The daemon was killed: it counts crashes afresh."""
        self._starts_in_a_row = 0
