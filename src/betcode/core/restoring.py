"""Brings back what was acknowledged and is missing in the database, when the events between are lost (INV-2, SQ-11).

The numbering begins anew and a gap says what is missing. The newest known state of each message and question counts;
what claude printed since is read again from the journal, as far as it is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from betcode.core.draft import Decision, Draft
from betcode.core.inputs import Behind
from betcode.core.instant import Instant
from betcode.core.life import Process, Session, from_rows
from betcode.core.process import on_behind
from betcode.model.events import MessageProgress, UserMessage
from betcode.model.ids import MessageId
from betcode.model.rows import Mark, Message, Permission, SessionRow


@dataclass(frozen=True, slots=True)
class Lost:
    """What the database lacks of one session. `mark` is how far the session had come at least."""

    last: SessionRow
    mark: Mark
    messages: Sequence[Message]
    permissions: Sequence[Permission]
    shown: frozenset[MessageId]
    """Those of the messages that the database knows in an earlier state."""


def unknown_session(last: SessionRow) -> Session:
    """A session that the database does not have at all: as it was created."""
    made = from_rows(last, (), ())
    return Session(
        id=made.id,
        claude_session_id=made.claude_session_id,
        directory=made.directory,
        name=made.name,
        created_at=made.created_at,
        options=made.options,
        epoch=made.epoch,
    )


def restore(session: Session, lost: Lost, now: Instant, rng: Random) -> Decision:
    """What to store so that `session` has again what people were promised. There are no effects to carry out."""
    draft = Draft(session, now, rng)
    on_behind(draft, Behind(lost.mark))
    newest = from_rows(lost.last, (), ())
    for message in lost.messages:
        if message.id not in lost.shown:
            draft.emit(UserMessage(message_id=message.id, text=message.text, client=message.client))
        draft.emit(MessageProgress(message_id=message.id, state=message.state, reason=message.reason))
        draft.put_message(message)
    for permission in lost.permissions:
        draft.put_permission(permission)
    draft.set(
        name=newest.name,
        held=newest.held and bool(draft.session.messages),
        crashed=newest.crashed,
        closing=newest.closing,
        closed=newest.closed,
    )
    if newest.closed:
        draft.set(process=Process.NONE, turn=None)
    draft.notice(
        "warning",
        "store.restored",
        f"the database had lost the end of this session; {len(lost.messages)} messages and {len(lost.permissions)}"
        " questions in it are back from the intake log",
        "Answers of claude that are missing here are in its own conversation: ask it to repeat them.",
    )
    return draft.finish()
