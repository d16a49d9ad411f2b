"""Brings back what was acknowledged and is missing in the database, when events between are lost too (INV-2, SQ-11).

The session becomes what its newest record says, the numbering begins anew, and a gap says what is missing. Output of
claude before that record is not read again. So a message that an older record leaves with claude gets its outcome from
what claude prints now only if its turn is still the one that the newest record knows. Otherwise its outcome is lost
and it becomes `unknown`, with a notice (INV-1); the session goes on. A question of such a turn is cancelled (INV-3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from msgspec.structs import replace as change

from betcode.core.draft import Decision, Draft
from betcode.core.inputs import Behind
from betcode.core.instant import Instant
from betcode.core.life import IN_CLAUDE, Process, from_rows
from betcode.core.process import on_behind
from betcode.model.events import MessageProgress, PermissionSettled, UserMessage
from betcode.model.ids import MessageId
from betcode.model.rows import Mark, Message, Permission, SessionRow
from betcode.model.states import MessageState, PermissionState

OUTCOME_LOST = "the record of its end was lost with the database"


@dataclass(frozen=True, slots=True)
class Lost:
    """What the database lacks of one session."""

    last: SessionRow
    """The session at its newest record."""
    mark: Mark
    """How far it had come at least."""
    messages: Sequence[Message]
    permissions: Sequence[Permission]
    shown: frozenset[MessageId]
    """Those of the messages that the database knows in an earlier state."""
    seen: Mapping[str, SessionRow] = field(default_factory=dict)
    """Id of a message or question -> the session at the newest record that has it."""


def restore(
    stored: SessionRow | None,
    opened: tuple[tuple[Message, ...], tuple[Permission, ...]],
    lost: Lost,
    *,
    now: Instant,
    rng: Random,
) -> Decision:
    """What to store so that people get what they were promised. There are no effects to carry out.

    Args:
        stored: the session as the database has it, if it does.
        opened: the messages and questions that are open in the database.
        lost: what is missing there.
        now: a clock reading.
        rng: not used for anything that is visible.
    """
    epoch, seq = (stored.epoch, stored.seq) if stored is not None else (lost.last.epoch, 0)
    draft = Draft(from_rows(change(lost.last, epoch=epoch, seq=seq), *opened), now, rng)
    on_behind(draft, Behind(lost.mark))
    held = draft.session.held
    for message in lost.messages:
        if message.id not in lost.shown:
            draft.emit(UserMessage(message_id=message.id, text=message.text, client=message.client))
        draft.emit(MessageProgress(message_id=message.id, state=message.state, reason=message.reason))
        draft.put_message(message)
    for permission in lost.permissions:
        draft.put_permission(permission)
    turns = {name: _turn_of(row) for name, row in lost.seen.items()}
    before = _turn_of(stored)
    give_up(
        draft,
        [m for m in draft.session.messages if not _goes_on(draft, m.run, (m.id, turns.get(m.id, before)))],
        [p for p in draft.session.permissions if not _is_asked(draft, p, turns.get(p.id, before))],
    )
    draft.set(held=held and bool(draft.session.messages))
    draft.notice(
        "warning",
        "store.restored",
        f"the database had lost the end of this session; {len(lost.messages)} messages and {len(lost.permissions)}"
        " questions in it are back from the intake log",
        "Answers that are missing here are in claude's own conversation: ask it to repeat them.",
    )
    return draft.finish()


def behind(draft: Draft, news: Behind) -> None:
    """As `process.on_behind`; what an older run had when the database lost its end has no outcome any more."""
    on_behind(draft, news)
    session = draft.session
    give_up(
        draft,
        [m for m in session.messages if m.run != session.run],
        [p for p in session.permissions if p.run != session.run],
    )


def _turn_of(row: SessionRow | None) -> str | None:
    """The message that claude worked on, empty for a turn of its own; None when it did not work."""
    turn = from_rows(row, (), ()).turn if row is not None else None
    return turn.message_id if turn is not None else None


def _goes_on(draft: Draft, run: int, turns: tuple[str | None, ...]) -> bool:
    """Whether the process of `run` lives, as far as is known, and its turn is one of `turns`."""
    session = draft.session
    alive = session.process is not Process.NONE and run == session.run
    return alive and session.turn is not None and session.turn.message_id in turns


def _is_asked(draft: Draft, question: Permission, turn: str | None) -> bool:
    """Whether claude may still ask this. A subagent's question can outlive the turn that it was asked in."""
    session = draft.session
    if question.agent_id:
        return session.process is not Process.NONE and question.run == session.run
    return _goes_on(draft, question.run, (turn,))


def give_up(draft: Draft, messages: Sequence[Message], permissions: Sequence[Permission]) -> None:
    """Those of the messages that claude has become `unknown`; those of the questions that are pending are cancelled."""
    for question in permissions:
        if question.state is PermissionState.PENDING:
            cancelled = change(
                question,
                state=PermissionState.CANCELLED,
                by="recovery",
                message="claude no longer asks; what was answered was lost with the database",
                settled_at=draft.now.iso,
            )
            draft.emit(
                PermissionSettled(
                    permission_id=cancelled.id,
                    state=cancelled.state.value,
                    by=cancelled.by,
                    message=cancelled.message,
                )
            )
            draft.put_permission(cancelled)
    given = [m for m in messages if m.state in IN_CLAUDE]
    for message in given:
        draft.move_message(message, MessageState.UNKNOWN, OUTCOME_LOST)
    if given:
        draft.notice(
            "warning",
            "agent.unknown_outcome",
            f"claude had {len(given)} messages whose end was lost with the database; they are not sent again",
            "Look at what was done: claude's own conversation has it. What is still to be done, send as a new message.",
        )
