"""What is committed of one session, in memory, as JSON would bring it back."""

from __future__ import annotations

import msgspec

from betcode.core.life import Session, from_rows, to_row
from betcode.model.rows import Message, Permission, SessionRow
from betcode.model.states import FINAL_MESSAGE_STATES, Delivery, PermissionState


class Store:
    """What is committed, as JSON would bring it back."""

    def __init__(self, session: Session) -> None:
        """The session is stored already."""
        self.row = to_row(session)
        self.messages: dict[str, Message] = {}
        self.permissions: dict[str, Permission] = {}

    def load(self) -> Session:
        """The session with what is open in it."""
        return from_rows(
            msgspec.json.decode(msgspec.json.encode(self.row), type=SessionRow),
            tuple(m for m in self.messages.values() if m.state not in FINAL_MESSAGE_STATES),
            tuple(
                p
                for p in self.permissions.values()
                if p.state is PermissionState.PENDING or p.delivery is Delivery.SENDING
            ),
        )
