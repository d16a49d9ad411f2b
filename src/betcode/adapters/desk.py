"""What stands in for the database while it is under repair: the intake log alone (SQ-11).

Every transaction is appended to the intake log, whole, and acknowledged then: the repaired database gets it when it is
opened. What is asked can be answered as far as the intake log tells: whether the key of a message was used before, and
what belongs to sessions that were created meanwhile. For the rest whoever asks waits for the end of the repair.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from betcode.adapters.intake import DiskFiles, IntakeLog, Problem, encode_whole, read_segment, segments
from betcode.adapters.sqlite.errors import key_conflict, translate
from betcode.model import rescue_limits
from betcode.model.ids import MessageId, PermissionId, SessionId
from betcode.model.rows import Message, Permission, SessionRow, Tombstone, Transaction
from betcode.model.states import FINAL_MESSAGE_STATES, Delivery, PermissionState


class UnknownHereError(Exception):
    """Only the database can tell."""


@dataclass(slots=True)
class _Known:
    """What the intake log tells."""

    whole: bool = True
    """Whether all was read: then what is not in it never was."""
    messages: dict[MessageId, Message] = field(default_factory=dict)
    gone: dict[str, Tombstone] = field(default_factory=dict)
    """Keys of deleted sessions."""
    rev: int = 0


class Desk:
    """Takes transactions until `close`. Used by the tasks of one event loop; files are touched in threads."""

    def __init__(self, directory: Path, *, files: DiskFiles | None = None) -> None:
        """`directory`: of the intake log, which nobody else has open. Blocks; raises OSError."""
        self._directory = directory
        self._files = files
        self.first_segment = (segments(directory) or [0])[-1] + 1
        """What is taken here stands in this segment of the log and those after it."""
        self._log = IntakeLog(directory, files=files)
        self._log.begin()
        self.begun_ns = (directory / f"{self.first_segment}.log").stat().st_mtime_ns
        """When it began, by the clock of the disk."""
        self._known: _Known | None = None
        self._rev = 0
        self._turn = asyncio.Lock()
        self._sessions: dict[SessionId, SessionRow] = {}
        self._created: set[SessionId] = set()
        self._messages: dict[MessageId, Message] = {}
        self._permissions: dict[PermissionId, Permission] = {}
        self.taken = 0
        """Transactions."""
        self._bytes = 0
        self._closed = False

    async def learn(self) -> None:
        """Read what the log holds from before. Raises OSError; then less can be answered."""
        self._known = await asyncio.to_thread(_read, self._directory, self.first_segment, self._files)

    async def take(self, transaction: Transaction) -> None:
        """Return when it is durable in the intake log.

        Raises:
            UnknownHereError: it must wait for the database.
            BetcodeError: `message.key_conflict`; `store.failed`, and nothing of it is kept.
        """
        if transaction.sweeps or transaction.deletion is not None or self._bytes > rescue_limits.DESK_BYTES_MAX:
            raise UnknownHereError
        async with self._turn:
            if self._closed:
                raise UnknownHereError
            for message in transaction.messages:
                known = self._messages.get(message.id) or (self._known and self._known.messages.get(message.id))
                if known and (known.session, known.text) != (message.session, message.text):
                    raise key_conflict(message.id)
            self._rev += 1
            payload = encode_whole(transaction, self._revision())
            try:
                await asyncio.to_thread(self._log.append, [payload])
            except OSError as error:
                raise translate(error) from error
            self._bytes += len(payload)
            self.taken += 1
            self._remember(transaction)

    def _revision(self) -> int:
        return self._rev + (self._known.rev if self._known else 0)

    def _remember(self, transaction: Transaction) -> None:
        row = transaction.session
        self._sessions[row.id] = row
        if transaction.creates:
            self._created.add(row.id)
        self._messages |= {message.id: message for message in transaction.messages}
        self._permissions |= {permission.id: permission for permission in transaction.permissions}

    async def close(self) -> None:
        """Take nothing more. What is under way is finished."""
        async with self._turn:
            self._closed = True
            self._log.close()

    # --- what can be answered ---------------------------------------------------------------------------------------
    # Each raises UnknownHereError where only the database can tell.

    def message(self, message: MessageId) -> Message | None:
        """The message with this key; None when there never was one."""
        found = self._messages.get(message)
        if found is not None:
            return found
        if self._known is None:
            raise UnknownHereError
        found = self._known.messages.get(message)
        if found is None and self._known.whole:
            return None
        if found is None or found.session in self._known.gone:  # of a deleted session only the key is remembered
            raise UnknownHereError
        return found

    def permission(self, permission: PermissionId) -> Permission | None:
        """The question with this id, if it changed during the repair."""
        found = self._permissions.get(permission)
        if found is None:
            raise UnknownHereError
        return found

    def tombstone(self, key: str) -> Tombstone | None:
        """None when the log is whole and knows of no deletion of this key."""
        if self._known is None or not self._known.whole or key in self._known.gone:
            raise UnknownHereError
        return None

    def session(self, session: SessionId) -> SessionRow | None:
        """A session that was created during the repair."""
        self._need(session)
        return self._sessions[session]

    def open_messages(self, session: SessionId) -> list[Message]:
        """Those of a session that was created during the repair."""
        self._need(session)
        return [m for m in self._messages.values() if m.session == session and m.state not in FINAL_MESSAGE_STATES]

    def open_permissions(self, session: SessionId) -> list[Permission]:
        """Those of a session that was created during the repair."""
        self._need(session)
        mine = [p for p in self._permissions.values() if p.session == session]
        return [p for p in mine if p.state is PermissionState.PENDING or p.delivery is Delivery.SENDING]

    def _need(self, session: SessionId) -> None:
        if session not in self._created:
            raise UnknownHereError


def _read(directory: Path, before: int, files: DiskFiles | None) -> _Known:
    """All records of the segments before this one. Blocks. Raises OSError."""
    known = _Known()
    problems: list[Problem] = []
    numbers = [number for number in segments(directory) if number < before]
    known.whole = not numbers or numbers[0] <= 1
    for number in numbers:
        for record in read_segment(directory, number, problems, files):
            known.rev = max(known.rev, record.rev)
            if record.deletion is not None:
                for key in (record.session.id, record.session.claude_session_id):
                    known.gone[key] = Tombstone(key, "session", record.session.id, "", record.deletion.at)
            known.messages |= {message.id: message for message in record.messages}
            if len(known.messages) > rescue_limits.DESK_KEYS_MAX:
                known.whole = False
                return known
    known.whole = known.whole and all(problem.torn_end for problem in problems)
    return known
