"""Rows for tests of the store: complete, valid, and different from each other where it matters."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from betcode.model.ids import ClaudeSessionId, MessageId, PermissionId, SessionId
from betcode.model.rows import EventRow, Message, Options, Permission, SessionRow, Transaction
from betcode.model.states import MessageState, PermissionState

TIME = "2026-01-02T03:04:05.678Z"


def session_row(session: str = "aaaaaaaaaa", **changes: Any) -> SessionRow:
    """A session before its first event."""
    row = SessionRow(
        id=SessionId(session),
        claude_session_id=ClaudeSessionId(f"claude-{session}"),
        directory="/home/ada/project",
        name="",
        created_at=TIME,
        options=Options(),
        state="NEW",
        reason="",
        epoch=1,
        seq=0,
        run=0,
        offset=0,
        checkpoint=0,
        life={},
    )
    return replace(row, **changes)


def event_row(session: str, seq: int, *, epoch: int = 1, size: int = 20) -> EventRow:
    """A durable event whose body has at least `size` bytes."""
    body = f'{{"kind":"text","epoch":{epoch},"seq":{seq},"time":"{TIME}","text":"{"x" * size}"}}'
    return EventRow(SessionId(session), epoch, seq, "text", TIME, body.encode())


def message_row(session: str, message: str, **changes: Any) -> Message:
    """A message that was just accepted."""
    row = Message(
        id=MessageId(message),
        session=SessionId(session),
        text=f"the text of {message}",
        client="terminal",
        state=MessageState.ACCEPTED,
        accepted_at=TIME,
    )
    return replace(row, **changes)


def permission_row(session: str, permission: str, **changes: Any) -> Permission:
    """A question that was just asked."""
    row = Permission(
        id=PermissionId(permission),
        session=SessionId(session),
        run=1,
        request_id=f"request-{permission}",
        tool="Bash",
        input={"command": "make test"},
        state=PermissionState.PENDING,
        asked_at_unix_s=1_767_000_000.25,
        deadline_unix_s=1_767_000_060.25,
    )
    return replace(row, **changes)


def creation(session: str = "aaaaaaaaaa", **changes: Any) -> Transaction:
    """The transaction that creates a session."""
    return Transaction(session_row(session, **changes), creates=True)


def step(session: str, seq: int, *, events: int = 1, epoch: int = 1, message: str = "", size: int = 20) -> Transaction:
    """The transaction after which the session ends at `seq`: `events` of them, and a new message if it has a name."""
    return Transaction(
        session_row(session, epoch=epoch, seq=seq, run=1, offset=seq * 100),
        events=tuple(event_row(session, n, epoch=epoch, size=size) for n in range(seq - events + 1, seq + 1)),
        messages=(message_row(session, message),) if message else (),
    )
