"""A session after a person put a backup in the place of the database and wants nothing back that came since (INV-2).

Its numbering begins anew, since clients have seen other events under the same numbers. What was open when the backup
was made may have been done since, so it is never done again: a message without an outcome becomes `unknown`, a question
is cancelled (INV-1, INV-3).
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from msgspec.structs import replace as change

from betcode.core.draft import Decision, Draft
from betcode.core.instant import Instant
from betcode.core.life import Process, from_rows
from betcode.core.restoring import give_up
from betcode.model.rows import Message, Permission, SessionRow
from betcode.model.states import MessageState

OPEN_THEN = "it waited when the backup was made that is the database now, and may have been done since"


def went_back(
    row: SessionRow,
    opened: tuple[Sequence[Message], Sequence[Permission]],
    *,
    epoch: int,
    made: str,
    now: Instant,
    rng: Random,
) -> Decision:
    """The session in its new epoch, after all events of the backup. There are no effects to carry out.

    Args:
        row: as the backup has it.
        opened: its messages without an outcome, and its open questions.
        epoch: one that no client has seen.
        made: when the backup was made, for people.
        now: a clock reading.
        rng: not used for anything that is visible.
    """
    messages, permissions = opened
    draft = Draft(from_rows(change(row, epoch=epoch), tuple(messages), tuple(permissions)), now, rng)
    draft.set(process=Process.NONE, turn=None, rerun=None, answers=(), tasks=(), cli_state="", held=False)
    draft.set(given=())  # else what was given after the backup would be taken for somebody else's
    give_up(draft, [], permissions)
    for message in draft.session.messages:
        draft.move_message(message, MessageState.UNKNOWN, OPEN_THEN)
    draft.notice(
        "warning",
        "store.restored",
        f"the database was put back to the backup of {made}; what came after it is not shown",
        "claude's own conversation goes on where it was: it remembers what is not shown.",
    )
    return draft.finish()
