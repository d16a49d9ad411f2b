"""The states of sessions, messages and permissions: one enum each, the words that users and scripts see."""

from __future__ import annotations

from enum import StrEnum


class SessionState(StrEnum):
    """Where a session stands (PS-1). `core.session` holds the only transition function."""

    NEW = "NEW"
    SPAWNING = "SPAWNING"
    ACTIVE = "ACTIVE"
    IDLE = "IDLE"
    BACKING_OFF = "BACKING_OFF"
    WAITING_API = "WAITING_API"
    PARKED = "PARKED"
    CRASHED = "CRASHED"
    CLOSED = "CLOSED"
    DELETED = "DELETED"
    """Only in the database, until the last of it is swept; nobody is shown it."""


AT_REST = frozenset({SessionState.NEW, SessionState.IDLE, SessionState.CRASHED, SessionState.CLOSED})
"""States in which nothing happens by itself."""


class MessageState(StrEnum):
    """Life of a user message. The last four are final; a message reaches exactly one of them (INV-1)."""

    ACCEPTED = "accepted"
    QUEUED = "queued"
    DELIVERING = "delivering"
    DELIVERED = "delivered"
    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


FINAL_MESSAGE_STATES = frozenset(
    {MessageState.COMPLETED, MessageState.FAILED, MessageState.CANCELLED, MessageState.UNKNOWN}
)


class PermissionState(StrEnum):
    """Life of a permission question: PENDING once, then exactly one of the others (PM-2, INV-3)."""

    PENDING = "PENDING"
    ALLOWED = "ALLOWED"
    DENIED = "DENIED"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"


class Delivery(StrEnum):
    """How far a settled decision got on its way to claude."""

    NONE = "none"
    """Nothing to deliver (not settled, or withdrawn by claude)."""
    SENDING = "sending"
    """Settled and stored; handed to the keeper, not yet confirmed."""
    DELIVERED = "delivered"
    """The keeper wrote the whole line to claude's standard input."""
    LOST = "lost"
    """The process that asked ended first; the decision was not and will not be applied."""
