"""A process that commits and says what was acknowledged, until it is killed: see test_store_kill.py.

Usage: python committing_child.py DATABASE. Each line on standard output: session, seq, message id.
"""

import asyncio
import os
import sys
from pathlib import Path
from random import Random

from betcode.adapters.sqlite.store import SqliteStore
from betcode.model.ids import SessionId
from betcode.testing.sample_rows import creation, step

SESSIONS = 8


async def work(store: SqliteStore, session: SessionId) -> None:
    """Commit for ever, going on where an earlier process was killed."""
    row = await store.session(session)
    if row is None:
        await store.commit(creation(session))
        acknowledge(f"{session} 0 -")
    seq = row.seq if row else 0
    rng = Random(f"{session}{seq}")
    while True:
        events = rng.randint(1, 4)
        seq += events
        message = f"{session}-{seq}" if rng.random() < 0.5 else ""
        await store.commit(step(session, seq, events=events, message=message, size=rng.choice([10, 500, 9_000])))
        acknowledge(f"{session} {seq} {message or '-'}")


def acknowledge(line: str) -> None:
    os.write(1, f"{line}\n".encode())


async def main() -> None:
    store = await SqliteStore.open(Path(sys.argv[1]), rng=Random(1))
    await asyncio.gather(*(work(store, SessionId(f"session{n:03}")) for n in range(SESSIONS)))


if __name__ == "__main__":
    asyncio.run(main())
