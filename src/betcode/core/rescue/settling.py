"""A session of which a rescue could not get everything back: what it becomes, and what its people are told (INV-2).

Its numbering begins anew: the new epoch carries all events that are left, in their order, with a gap where some are
missing. What claude has printed since is read again from its journal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from msgspec.structs import replace as change

from betcode.core.draft import Decision, Draft
from betcode.core.instant import Instant
from betcode.core.life import from_rows
from betcode.core.process import go_on_with
from betcode.core.restoring import give_up
from betcode.model.events import Gap
from betcode.model.rows import Mark, Message, Permission, SessionRow

CAUSE = "the database was damaged, and no other source had them"
AGAIN = "the database had lost its end; what the journal holds of it follows"


@dataclass(frozen=True, slots=True)
class Left:
    """What a rescue has of one session."""

    row: SessionRow
    mark: Mark | None
    messages: Sequence[Message]
    """Without an outcome."""
    permissions: Sequence[Permission]
    """Open."""
    carried: int
    """Events of the new epoch so far, gaps among them."""
    missing: int
    """Events that are in none of the sources and that no journal gives back."""


def is_behind(row: SessionRow, mark: Mark | None) -> bool:
    """Whether it had come further than the row says."""
    return mark is not None and (mark.epoch, mark.seq) > (row.epoch, row.seq)


def next_epoch(row: SessionRow, mark: Mark | None) -> int:
    """One that no client has seen."""
    return max(row.epoch, mark.epoch if mark is not None else 0) + 1


def settle(left: Left, *, now: Instant, rng: Random) -> Decision:
    """The session in its new epoch, after the events that are carried. There are no effects to carry out."""
    row, mark = left.row, left.mark
    begun = change(row, epoch=next_epoch(row, mark), seq=left.carried)
    draft = Draft(from_rows(begun, tuple(left.messages), tuple(left.permissions)), now, rng)
    if mark is not None and is_behind(row, mark):
        go_on_with(draft, mark.run)
        first = row.seq + 1 if mark.epoch == row.epoch else 1
        draft.emit(Gap(unit="events", first=first, last=mark.seq, cause=AGAIN))
        session = draft.session
        give_up(
            draft,
            [m for m in session.messages if m.run != session.run],
            [p for p in session.permissions if p.run != session.run],
        )
    missing = f"{left.missing} events of it are missing" if left.missing else "nothing of it that was stored is missing"
    draft.notice(
        "warning",
        "store.restored",
        f"the database was damaged and is repaired; {missing}, and its events are numbered anew",
        "What is missing in its history, claude's own conversation has: ask it to repeat that." if left.missing else "",
    )
    return draft.finish()
