"""Deletes sessions: ends them, makes them unreachable in one transaction, then sweeps what they leave behind.

    at work --(force: close)--> closed --(one commit: acknowledged)--> DELETED --(files, events, row)--> gone

Until the commit the session is whole, after it nobody can reach it. A crash in the sweeping leaves the row with the
state DELETED, and the next start goes on with it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from betcode.core import inputs
from betcode.core.instant import iso
from betcode.core.life import to_row
from betcode.engine.registry import Registry
from betcode.engine.until import until
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.frames import Summary
from betcode.model.ids import SessionId
from betcode.model.rows import Deletion, SessionRow, Transaction
from betcode.model.states import AT_REST, SessionState

_DAY_S = 86_400.0


async def delete(registry: Registry, given: str, *, force: bool, by: str) -> dict[str, Any]:
    """Delete one session; returns the reply's body. The same again finds it deleted and says so.

    Raises:
        BetcodeError: `session.not_found`, `session.busy`, `limit.deletions`, `store.failed`; then it is still there.
    """
    world = registry.world
    try:
        session = registry.find(given)
    except BetcodeError as error:
        stone = await world.store.tombstone(given) if error.code == "session.not_found" else None
        if stone is None:
            raise
        return {"session": given, "state": SessionState.DELETED.value, "deleted_at": stone.deleted_at}
    summary = registry.summary(session)
    if not force:
        _refuse_busy(summary)
    row = await _end(registry, session, by)
    now_s = world.clock.now().unix_s
    at = iso(now_s)
    async with registry.without_runner(session):
        forget_before = iso(now_s - world.policy.message_key_days * _DAY_S)
        await world.store.commit(Transaction(session=row, deletion=Deletion(at, forget_before)))
        registry.drop(session)
    log = registry.log_of(row)
    log.info("session deleted", client=by)
    try:
        await sweep(registry, row)
    except BetcodeError as error:
        log.warning("a deleted session is swept at the next start", error_type=error.code, detail=str(error))
    return {"session": session, "state": SessionState.DELETED.value, "deleted_at": at}


def _refuse_busy(summary: Summary) -> None:
    """Nobody's running work or waiting message is thrown away by a plain delete."""
    reasons = []
    if summary.state not in AT_REST:
        reasons.append(f"it is {summary.state}")
    if summary.waiting:
        reasons.append(f"{summary.waiting} messages wait in it")
    if summary.questions:
        reasons.append(f"{summary.questions} questions are open in it")
    if reasons:
        raise BetcodeError(
            "session.busy",
            f"session {summary.id} was not deleted: {', '.join(reasons)}",
            hint=f"Wait until it is done, or end it: betcode sessions delete --force {summary.id}",
        )


async def _end(registry: Registry, session: SessionId, by: str) -> SessionRow:
    """Close the session and wait for the end of its claude. Returns its row."""
    world = registry.world
    runner = registry.runner(session)
    if not runner.session.closed:
        await runner.ask(lambda ticket: inputs.Close(ticket, by))
        until_s = world.clock.now().steady_s + limits.LOCK_WAIT_S + 2 * world.policy.stop_grace_s
        if not await until(runner, lambda s: s.closed and runner.feed.settled, until_s):
            raise BetcodeError(
                "session.busy",
                f"session {session} was not deleted: its claude has not ended yet",
                hint="It is being ended; try again in a moment. See also: betcode daemon logs",
            )
    return to_row(runner.session)


async def sweep(registry: Registry, row: SessionRow) -> None:
    """Remove the files and events of a deleted session. Raises BetcodeError `store.failed`; it can be called again."""
    world = registry.world
    await asyncio.to_thread(world.erase, row.id)
    while any(left.id == row.id for left in await world.store.leftovers()):
        await world.store.commit(Transaction(session=row, sweeps=True))


async def sweep_leftovers(registry: Registry) -> None:
    """Go on with the deletions that an earlier daemon could not finish."""
    world = registry.world
    for row in await world.store.leftovers():
        world.log.info("a deleted session is swept", session_id=row.id)
        try:
            await sweep(registry, row)
        except BetcodeError as error:
            world.log.warning(
                "a deleted session could not be swept", session_id=row.id, error_type=error.code, detail=str(error)
            )
