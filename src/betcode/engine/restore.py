"""At the start, before any session runs: the database gets what the intake log holds and it lacks (SQ-11)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from betcode.core.life import to_row
from betcode.core.restoring import Lost, restore
from betcode.engine.committer import event_row, note_gap
from betcode.engine.world import World
from betcode.model.errors import BetcodeError
from betcode.model.events import Gap
from betcode.model.ids import MessageId, SessionId
from betcode.model.rows import Mark, Message, Permission, SessionRow, Transaction


async def restore_all(world: World, unstored: Sequence[Transaction]) -> int:
    """Store `unstored`, which is in the order of its acknowledgement. Returns how many sessions it concerned.

    A transaction that goes on exactly where the database ends is repeated as it was. Where events between are lost
    the session's numbering begins anew.

    Raises:
        BetcodeError: `store.failed`. Then no session may run: its next event would hide what is still missing.
    """
    sessions: dict[SessionId, list[Transaction]] = {}
    for transaction in unstored:
        sessions.setdefault(transaction.session.id, []).append(transaction)
    for session, everything in sessions.items():
        lost = [transaction for transaction in everything if transaction.deletion is None]
        repeated = await _repeat(world, session, lost)
        if repeated < len(lost):
            await _renumber(world, session, lost[repeated:])
        await _delete(world, session, everything)
        world.log.warning(
            "acknowledged changes came back from the intake log",
            session_id=session,
            repeated=repeated,
            renumbered=len(lost) - repeated,
        )
    return len(sessions)


async def _repeat(world: World, session: SessionId, lost: Sequence[Transaction]) -> int:
    """Commit those that follow on the stored ones without a hole. Returns how many did."""
    row = await world.store.session(session)
    for number, transaction in enumerate(lost):
        if not _follows(row, transaction):
            return number
        try:
            await world.store.commit(transaction)
        except BetcodeError as error:
            if error.code != "message.key_conflict":
                raise
            return number
        row = transaction.session
    return len(lost)


async def _delete(world: World, session: SessionId, lost: Sequence[Transaction]) -> None:
    """A deletion is the last thing that happens to a session. What it leaves behind is swept like any other's."""
    row = await world.store.session(session)
    for transaction in lost:
        if transaction.deletion is not None and row is not None:
            await world.store.commit(Transaction(session=row, deletion=transaction.deletion))
            return


def _follows(row: SessionRow | None, transaction: Transaction) -> bool:
    next_row = transaction.session
    before = next_row.seq - len(transaction.events)
    if row is None or transaction.creates:
        return row is None and transaction.creates and before == 0
    return (next_row.epoch, before) == (row.epoch, row.seq) or (next_row.epoch > row.epoch and before == 0)


async def _renumber(world: World, session: SessionId, lost: Sequence[Transaction]) -> None:
    """Commit the newest state of everything in `lost`, in a new epoch."""
    store = world.store
    messages: dict[MessageId, Message] = {m.id: m for t in lost for m in t.messages}
    permissions: dict[str, Permission] = {p.id: p for t in lost for p in t.permissions}
    seen: dict[str, SessionRow] = {}
    for transaction in lost:
        names = (*(m.id for m in transaction.messages), *(p.id for p in transaction.permissions))
        seen |= dict.fromkeys(names, transaction.session)
    shown: set[MessageId] = set()
    for message_id in list(messages):
        known = await store.message(message_id)
        if known is None:
            continue
        shown.add(message_id)
        if (known.session, known.text) != (session, messages[message_id].text):
            world.log.warning("a message that was refused is left out", session_id=session, message_id=message_id)
            del messages[message_id]
    last = max((t.session for t in lost), key=lambda row: (row.epoch, row.seq))
    mark = Mark(last.epoch, last.seq, last.run, last.offset)
    written = await asyncio.to_thread(world.marks.read, session)
    if written is not None and (written.epoch, written.seq) > (mark.epoch, mark.seq):
        mark = written
    row = await store.session(session)
    opened = tuple(await store.open_messages(session)), tuple(await store.open_permissions(session))
    found = Lost(last, mark, tuple(messages.values()), tuple(permissions.values()), frozenset(shown), seen)
    decision = restore(row, opened, found, now=world.clock.now(), rng=world.rng)
    for event in decision.events:
        if isinstance(event, Gap):
            note_gap(world, world.log.bind(session_id=session), event)
    await store.commit(
        Transaction(
            session=to_row(decision.session),
            events=tuple(event_row(session, event) for event in decision.events),
            messages=tuple(r for r in decision.rows if isinstance(r, Message)),
            permissions=tuple(r for r in decision.rows if isinstance(r, Permission)),
            creates=row is None,
        )
    )
