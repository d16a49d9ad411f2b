"""kill -9 in the middle of deletions: each session is whole or out of reach, and what was said is true."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from betcode.adapters import intake
from betcode.adapters.sqlite.store import SqliteStore
from betcode.model.ids import MessageId, SessionId

CHILD = Path(__file__).with_name("deleting_child.py")
EVENTS = 3_000
ROUNDS = 6


def live_and_die(database: Path, first: int, rng: Random) -> dict[str, str]:
    """Run the child, kill it some time after a random line; returns what it said last of each session."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    argv = [sys.executable, str(CHILD), str(database), str(first)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(rng.randint(1, 6))]
        # Right after some line: the next transaction or the sweeping is under way.
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
        assert process.wait() == -signal.SIGKILL
    return dict(line.decode().split() for line in lines if line.endswith(b"\n"))


async def check(database: Path, said: dict[str, str]) -> int:
    """Compare the reopened store with what was said. Returns how many deleted sessions were not swept yet."""
    store = await SqliteStore.open(database, rng=Random(1))
    there = {row.id: row for row in await store.sessions()}
    recorded = {r.session.id for r in intake.read_all(database.parent / "intake", []) if r.deletion is not None}
    for name, last in said.items():
        session = SessionId(name)
        message = await store.message(MessageId(f"{name}-m"))
        assert message is not None, "a key is remembered whatever happened"
        if session in there:
            assert last == "made"
            assert len(await store.events(session, 1, 0, 2 * EVENTS)) == EVENTS
            assert message.text
        else:
            assert session in recorded, "out of reach only with a record outside the database"
            assert not message.text
            assert await store.tombstone(session) is not None
    left = len(await store.leftovers())
    await store.close()
    return left


@pytest.mark.req("SQ-11", "INV-1")
def test_a_session_is_whole_or_deleted_whenever_the_process_is_killed(tmp_path: Path) -> None:
    database = tmp_path / "daemon.db"
    rng = Random(11)
    said: dict[str, str] = {}
    for number in range(ROUNDS):
        said |= live_and_die(database, 100 * number, rng)
        asyncio.run(check(database, said))
    assert "deleted" in said.values()
