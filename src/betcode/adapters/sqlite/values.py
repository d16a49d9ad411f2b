"""Rows as values of their columns, in the order of `Table.covered`, and back. `rev` is the last of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from betcode.adapters.sqlite.tables import Value
from betcode.model.ids import ClaudeSessionId, MessageId, PermissionId, SessionId
from betcode.model.rows import EventRow, Message, Options, Permission, SessionRow
from betcode.model.states import Delivery, MessageState, PermissionState

Row = tuple[Value, ...]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_decode_options = msgspec.json.Decoder(Options).decode


def of_session(row: SessionRow, rev: int) -> Row:
    """A row of `sessions`."""
    return (
        row.id,
        row.claude_session_id,
        row.directory,
        row.name,
        row.created_at,
        _encode(row.options).decode(),
        row.state,
        row.reason,
        row.epoch,
        row.seq,
        row.run,
        row.offset,
        row.checkpoint,
        _encode(row.life).decode(),
        rev,
    )


def of_event(row: EventRow, rev: int) -> Row:
    """A row of `events`."""
    return (row.session, row.epoch, row.seq, row.kind, row.time, row.body, rev)


def of_message(message: Message, rev: int) -> Row:
    """A row of `messages`."""
    return (
        message.id,
        message.session,
        message.client,
        message.state.value,
        message.reason,
        message.run,
        int(message.steer),
        message.accepted_at,
        message.text,
        message.attempt,
        message.told,
        rev,
    )


def of_permission(permission: Permission, rev: int) -> Row:
    """A row of `permissions`."""
    return (
        permission.id,
        permission.session,
        permission.run,
        permission.request_id,
        permission.tool,
        _encode(permission.input).decode(),
        permission.state.value,
        float(permission.asked_at_unix_s),
        float(permission.deadline_unix_s),
        permission.tool_use_id,
        permission.description,
        permission.agent_id,
        permission.reason,
        permission.delivery.value,
        permission.by,
        permission.message,
        _edited(permission),
        int(permission.for_session),
        int(permission.interrupt),
        permission.settled_at,
        rev,
    )


def of_decision(permission: Permission, rev: int) -> Row:
    """A row of `decisions`, of a question that is settled."""
    return (
        permission.id,
        permission.session,
        permission.state.value,
        permission.by,
        permission.message,
        _edited(permission),
        int(permission.for_session),
        int(permission.interrupt),
        permission.settled_at,
        rev,
    )


def _edited(permission: Permission) -> str | None:
    edited = permission.updated_input
    return None if edited is None else _encode(edited).decode()


def session(row: Sequence[Any]) -> SessionRow:
    """A session from its values. Raises ValueError for JSON or a state that was never written, like the others."""
    return SessionRow(
        id=SessionId(row[0]),
        claude_session_id=ClaudeSessionId(row[1]),
        directory=row[2],
        name=row[3],
        created_at=row[4],
        options=_decode_options(row[5]),
        state=row[6],
        reason=row[7],
        epoch=row[8],
        seq=row[9],
        run=row[10],
        offset=row[11],
        checkpoint=row[12],
        life=_decode(row[13]),
    )


def message(row: Sequence[Any]) -> Message:
    """A message from its values."""
    return Message(
        id=MessageId(row[0]),
        session=SessionId(row[1]),
        client=row[2],
        state=MessageState(row[3]),
        reason=row[4],
        run=row[5],
        steer=bool(row[6]),
        accepted_at=row[7],
        text=row[8],
        attempt=row[9],
        told=row[10],
    )


def permission(row: Sequence[Any]) -> Permission:
    """A question from its values."""
    return Permission(
        id=PermissionId(row[0]),
        session=SessionId(row[1]),
        run=row[2],
        request_id=row[3],
        tool=row[4],
        input=_decode(row[5]),
        state=PermissionState(row[6]),
        asked_at_unix_s=row[7],
        deadline_unix_s=row[8],
        tool_use_id=row[9],
        description=row[10],
        agent_id=row[11],
        reason=row[12],
        delivery=Delivery(row[13]),
        by=row[14],
        message=row[15],
        updated_input=None if row[16] is None else _decode(row[16]),
        for_session=bool(row[17]),
        interrupt=bool(row[18]),
        settled_at=row[19],
    )
