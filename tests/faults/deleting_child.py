"""A process that makes sessions and deletes them, and says what was acknowledged, until it is killed.

Usage: python deleting_child.py DATABASE FIRST. Each line on standard output: session, what was acknowledged.
"""

import asyncio
import os
import sys
from pathlib import Path
from random import Random

from betcode.adapters.sqlite.store import SqliteStore
from betcode.model.ids import SessionId
from betcode.model.rows import Deletion, Transaction
from betcode.testing.sample_rows import creation, step

EVENTS = 3_000
"""More than one step of the sweeping removes."""


async def work(store: SqliteStore, first: int) -> None:
    """Make and delete one session after the other."""
    for number in range(first, first + 1_000):
        session = SessionId(f"session{number:03}")
        await store.commit(creation(session))
        await store.commit(step(session, EVENTS, events=EVENTS, message=f"{session}-m"))
        say(f"{session} made")
        row = await store.session(session)
        assert row is not None
        await store.commit(Transaction(row, deletion=Deletion("2026-01-01T00:00:00.000Z")))
        say(f"{session} deleted")
        while await store.leftovers():
            await store.commit(Transaction(row, sweeps=True))


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


async def main() -> None:
    store = await SqliteStore.open(Path(sys.argv[1]), rng=Random(1))
    for row in await store.leftovers():
        while any(left.id == row.id for left in await store.leftovers()):
            await store.commit(Transaction(row, sweeps=True))
    await work(store, int(sys.argv[2]))


if __name__ == "__main__":
    asyncio.run(main())
