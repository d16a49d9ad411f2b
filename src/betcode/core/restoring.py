"""Brings back what was acknowledged and is missing in the database, when events between are lost too (INV-2, SQ-11).

The session becomes what its newest record says, the numbering begins anew, and a gap says what is missing. Output of
claude before that record is not read again: its questions are settled and its turns have ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from msgspec.structs import replace as change

from betcode.core.draft import Decision, Draft
from betcode.core.inputs import Behind
from betcode.core.instant import Instant
from betcode.core.life import from_rows
from betcode.core.process import on_behind
from betcode.model.events import MessageProgress, UserMessage
from betcode.model.ids import MessageId
from betcode.model.rows import Mark, Message, Permission, SessionRow


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
    draft.set(held=held and bool(draft.session.messages))
    draft.notice(
        "warning",
        "store.restored",
        f"the database had lost the end of this session; {len(lost.messages)} messages and {len(lost.permissions)}"
        " questions in it are back from the intake log",
        "Answers that are missing here are in claude's own conversation: ask it to repeat them.",
    )
    return draft.finish()
