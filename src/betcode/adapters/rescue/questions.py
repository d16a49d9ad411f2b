"""Questions whose record is lost or older than what is known of them: settled, and never allowed without proof (INV-3).

Claude may still wait for the answer. A question made of its event lacks the id under which claude asked: nothing can be
sent for it, so it is cancelled. One whose row is there is refused, or gets the decision that was kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import apsw
import msgspec

from betcode.adapters.sqlite import checked, statements, values
from betcode.core.rescue import proof
from betcode.core.rescue.proof import Decided
from betcode.model.events import PermissionSettled
from betcode.model.ids import PermissionId, SessionId
from betcode.model.rows import EventRow, Permission
from betcode.model.states import PermissionState

_TOLD = "SELECT session, kind, time, body FROM events WHERE kind IN ('permission_asked', 'permission_settled')"
_DOUBTFUL = """
SELECT id, rev FROM permissions AS p WHERE state = 'PENDING' OR (state = 'ALLOWED' AND EXISTS (
    SELECT 1 FROM decisions AS d WHERE d.permission = p.id AND d.state != 'ALLOWED'))"""
_DECISION = """
SELECT state, "by", message, settled_at, updated_input, for_session, interrupt, rev
FROM decisions WHERE permission = ? AND session = ?"""


@dataclass(frozen=True, slots=True)
class Settled:
    """A question that the rescue gave another state than its record had, or had none."""

    session: str
    permission: str
    state: str
    told: bool
    """An event says already that it was settled; otherwise one is missing."""
    made: bool
    """Its row was lost and was made anew."""


class _Told(msgspec.Struct):
    """What an event says of a question."""

    permission_id: str
    state: str = ""
    tool: str = ""
    input: dict[str, Any] = {}
    tool_use_id: str = ""
    description: str = ""
    agent_id: str = ""
    reason: str = ""
    expires_at: str = ""


_decode = msgspec.json.Decoder(_Told).decode
_PUT = checked.replacing("permissions")
_PUT_SESSION = checked.replacing("sessions")


def settle(into: apsw.Connection, *, rev: int, at: str) -> list[Settled]:
    """Make the questions agree with the decisions and the events. Returns those that were changed or made.

    Args:
        into: the new database with all rows of all sources.
        rev: for what is written; higher than all others.
        at: the time now, as in `Permission.settled_at`.

    Raises apsw.Error.
    """
    asked, told = _events(into)
    changed = []
    with into:
        doubtful: list[Any] = into.execute(_DOUBTFUL).fetchall()
        for name, own_rev in doubtful:
            question = statements.permission(into, PermissionId(name))
            assert question is not None
            decided = _decided(into, question)
            result = proof.settled(question, own_rev, decided, told.get(name), at=at)
            if result != question:
                into.execute(_PUT, checked.sealed("permissions", values.of_permission(result, rev)))
                changed.append(Settled(question.session, name, result.state.value, name in told, made=False))
        for name, (session, when, event) in asked.items():
            if name in told:
                continue  # it has its outcome, which people can read
            question = _made(session, when, event)
            result = proof.settled(question, 0, _decided(into, question), None, at=at)
            into.execute(_PUT, checked.sealed("permissions", values.of_permission(result, rev)))
            changed.append(Settled(session, name, result.state.value, told=False, made=True))
    return changed


def tell(into: apsw.Connection, settled: Sequence[Settled], *, rev: int, at: str) -> None:
    """Show what became of questions of which no event says so, where nothing is stored behind the session's end.

    In the caller's transaction. Raises apsw.Error.
    """
    for one in settled:
        row = statements.session(into, SessionId(one.session))
        if one.told or row is None:
            continue
        query = "SELECT count(*) FROM events WHERE session = ? AND epoch = ? AND seq > ?"
        if into.execute(query, (row.id, row.epoch, row.seq)).get:
            continue
        event = PermissionSettled(
            epoch=row.epoch, seq=row.seq + 1, time=at, permission_id=one.permission, state=one.state, by="recovery",
            message=proof.CANCELLED_TEXT,
        )  # fmt: skip
        stored = EventRow(row.id, row.epoch, event.seq, "permission_settled", at, msgspec.json.encode(event))
        into.execute(checked.INSERT["events"], checked.sealed("events", values.of_event(stored, rev)))
        moved = values.of_session(msgspec.structs.replace(row, seq=event.seq), rev)
        into.execute(_PUT_SESSION, checked.sealed("sessions", moved))


def _events(into: apsw.Connection) -> tuple[dict[str, tuple[str, str, _Told]], dict[str, PermissionState]]:
    """What was asked, and the outcomes that people were told, by the question's id."""
    asked: dict[str, tuple[str, str, _Told]] = {}
    told: dict[str, PermissionState] = {}
    rows = {name for (name,) in into.execute("SELECT id FROM permissions")}
    for session, kind, time, body in into.execute(_TOLD):
        try:
            event = _decode(body)
            if kind == "permission_settled":
                told[event.permission_id] = PermissionState(event.state)
            elif event.permission_id not in rows:
                asked[event.permission_id] = (session, time, event)
        except (msgspec.DecodeError, ValueError):
            continue  # of a version that says it in another way
    return asked, told


def _decided(into: apsw.Connection, question: Permission) -> Decided | None:
    row = into.execute(_DECISION, (question.id, question.session)).fetchone()
    if row is None:
        return None
    state, by, message, settled_at, edited, for_session, interrupt, rev = row
    updated = None if edited is None else msgspec.json.decode(edited)
    return Decided(PermissionState(state), by, message, settled_at, updated, bool(for_session), bool(interrupt), rev)


def _made(session: str, when: str, event: _Told) -> Permission:
    """The question that an event tells of. Its process is not known, and nor is the id that claude gave it."""
    asked = _unix_s(when)
    return Permission(
        id=PermissionId(event.permission_id),
        session=SessionId(session),
        run=0,
        request_id="",
        tool=event.tool,
        input=event.input,
        state=PermissionState.PENDING,
        asked_at_unix_s=asked,
        deadline_unix_s=_unix_s(event.expires_at) or asked,
        tool_use_id=event.tool_use_id,
        description=event.description,
        agent_id=event.agent_id,
        reason=event.reason,
    )


def _unix_s(iso: str) -> float:
    try:
        return datetime.fromisoformat(iso).timestamp()
    except ValueError:
        return 0.0
