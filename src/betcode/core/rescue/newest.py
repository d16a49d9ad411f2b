"""Which of two versions of the same row is the newer one, where the revision does not tell (SQ-4).

Records of an intake log from before revisions were kept have none. Then the lives of messages and questions tell: they
only go forward.
"""

from __future__ import annotations

from typing import Final

from betcode.model.rows import Message, Permission, SessionRow
from betcode.model.states import FINAL_MESSAGE_STATES, Delivery, MessageState, PermissionState

_LIFE: Final = (
    MessageState.ACCEPTED,
    MessageState.QUEUED,
    MessageState.DELIVERING,
    MessageState.DELIVERED,
    MessageState.STARTED,
)
_DELIVERIES: Final = (Delivery.NONE, Delivery.SENDING, Delivery.DELIVERED, Delivery.LOST)


def newer_message(known: Message, known_rev: int, found: Message, rev: int) -> bool:
    """Whether `found` replaces `known`. An outcome is never replaced by an earlier state."""
    if rev and known_rev:
        return rev > known_rev
    return _message_rank(found) > _message_rank(known)


def newer_permission(known: Permission, known_rev: int, found: Permission, rev: int) -> bool:
    """The same for questions. A decision is final: another one never replaces it."""
    if known.state is not PermissionState.PENDING and found.state is not known.state:
        return False
    if rev and known_rev:
        return rev > known_rev
    return _permission_rank(found) > _permission_rank(known)


def newer_session(known: SessionRow, known_rev: int, found: SessionRow, rev: int) -> bool:
    """The same for sessions: their positions only go forward, and tell more than revisions after a lost end."""
    if (found.epoch, found.seq) != (known.epoch, known.seq):
        return (found.epoch, found.seq) > (known.epoch, known.seq)
    return rev > known_rev


def _message_rank(message: Message) -> tuple[bool, int, int]:
    final = message.state in FINAL_MESSAGE_STATES
    return final, message.attempt, 0 if final else _LIFE.index(message.state)


def _permission_rank(permission: Permission) -> tuple[bool, int]:
    return permission.state is not PermissionState.PENDING, _DELIVERIES.index(permission.delivery)
