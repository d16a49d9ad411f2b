"""What is durably stored, kept beside the database in plain dictionaries, and what may never change in it."""

from __future__ import annotations

from betcode.model.ids import SessionId
from betcode.model.rows import EventRow, Message, Permission, SessionRow, Transaction
from betcode.model.states import FINAL_MESSAGE_STATES, PermissionState
from betcode.testing.simulator.stage import Stage


class Ledger:
    """Follows each transaction that took effect."""

    def __init__(self, stage: Stage) -> None:
        """Empty, as the database is."""
        self._stage = stage
        self.sessions: dict[str, SessionRow] = {}
        self.events: dict[str, dict[tuple[int, int], EventRow]] = {}
        self.messages: dict[str, Message] = {}
        self.permissions: dict[str, Permission] = {}
        self.shown_settled: dict[str, int] = {}
        """Permission id -> how many settled events it has."""

    def took_effect(self, transaction: Transaction) -> None:
        """Check a transaction against what was stored before, and keep it."""
        row = transaction.session
        self._follows(transaction)
        self.sessions[row.id] = row
        events = self.events.setdefault(row.id, {})
        for event in transaction.events:
            events[event.epoch, event.seq] = event
        for message in transaction.messages:
            self._message(message)
        for permission in transaction.permissions:
            self._permission(permission)

    def _follows(self, transaction: Transaction) -> None:
        """Its events go on where the stored ones end, and it touches one session only."""
        row, check = transaction.session, self._stage.check
        old = self.sessions.get(row.id)
        last = 0 if old is None or old.epoch != row.epoch else old.seq
        numbers = [(event.epoch, event.seq) for event in transaction.events]
        wanted = [(row.epoch, seq) for seq in range(last + 1, row.seq + 1)]
        check(numbers == wanted, "INV-2", f"{row.id} is stored up to {last}, then come {numbers} and the end {row.seq}")
        backwards = old is not None and (old.epoch, old.run, old.offset) > (row.epoch, row.run, row.offset)
        check(not backwards, "INV-2", f"the position of {row.id} goes back from {old} to {row}")
        others = {e.session for e in transaction.events} | {m.session for m in transaction.messages}
        others |= {p.session for p in transaction.permissions}
        others.discard(row.id)
        check(not others, "INV-4", f"a transaction of {row.id} changes {others}")

    def _message(self, new: Message) -> None:
        old = self.messages.get(new.id)
        if old is not None:
            check = self._stage.check
            same = (old.session, old.text) == (new.session, new.text)
            check(same, "INV-1", f"message {new.id} was stored with another text or session")
            final = old.state in FINAL_MESSAGE_STATES
            check(
                not final or old.state is new.state,
                "INV-1",
                f"message {new.id} had the outcome {old.state} and then {new.state}",
            )
        self.messages[new.id] = new

    def _permission(self, new: Permission) -> None:
        old = self.permissions.get(new.id)
        if old is not None and old.state is not PermissionState.PENDING:
            self._stage.check(
                old.state is new.state and old.updated_input == new.updated_input,
                "INV-3",
                f"question {new.id} was settled as {old.state} and then as {new.state}",
            )
        self.permissions[new.id] = new

    def event(self, session: str, epoch: int, seq: int) -> EventRow | None:
        """One stored event."""
        return self.events.get(session, {}).get((epoch, seq))

    def open_messages(self, session: str) -> list[Message]:
        """Messages of a session without an outcome, oldest first."""
        return [m for m in self.messages.values() if m.session == session and m.state not in FINAL_MESSAGE_STATES]

    def pending(self, session: str) -> list[Permission]:
        """Questions of a session that nobody answered yet."""
        return [p for p in self.permissions.values() if p.session == session and p.state is PermissionState.PENDING]

    def session(self, session: SessionId) -> SessionRow:
        """One session's row."""
        return self.sessions[session]
