"""kill -9 in the middle of commits: what was acknowledged is there, and nothing is half there."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import apsw
import pytest

from betcode.adapters import intake
from betcode.adapters.intake import Problem
from betcode.adapters.sqlite.store import SqliteStore
from betcode.model.ids import MessageId, SessionId

CHILD = Path(__file__).with_name("committing_child.py")
ROUNDS = 6


@contextmanager
def child(database: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen([sys.executable, str(CHILD), str(database)], stdout=subprocess.PIPE, env=environment) as made:
        try:
            yield made
        finally:
            if made.poll() is None:
                made.kill()


def acknowledged(process: subprocess.Popen[bytes], *, kill_after: int) -> list[tuple[str, int, str]]:
    """What the child said before it was killed, right after its line number `kill_after`."""
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(kill_after)]
    process.send_signal(signal.SIGKILL)
    lines += process.stdout.readlines()
    assert process.wait() == -signal.SIGKILL
    fields = [line.decode().split() for line in lines if line.endswith(b"\n")]
    return [(session, int(seq), message) for session, seq, message in fields]


async def compare(database: Path, said: list[tuple[str, int, str]], recorded: set[str]) -> None:
    """Check the reopened store against what was acknowledged; `recorded` are the message ids of the intake log."""
    store = await SqliteStore.open(database, rng=Random(1))
    rows = {row.id: row for row in await store.sessions()}
    for session, seq, message in said:
        assert rows[SessionId(session)].seq >= seq
        if message != "-":
            assert await store.message(MessageId(message)) is not None
            assert message in recorded
    for row in rows.values():
        events = await store.events(row.id, 1, 0, 1_000_000)
        assert [event.seq for event in events] == list(range(1, row.seq + 1)), "the session and its events, or neither"
        assert {message.id for message in await store.open_messages(row.id)} <= recorded, "promises were recorded first"
    await store.close()


@pytest.mark.req("SQ-11", "INV-1", "ND-8")
def test_everything_that_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    """One file through several lives, killed at other moments; the log of the last life is read by the next."""
    database = tmp_path / "daemon.db"
    rng = Random(7)
    said: list[tuple[str, int, str]] = []
    for _ in range(ROUNDS):
        with child(database) as process:
            now = acknowledged(process, kill_after=rng.randint(1, 400))
        assert now
        said += now
        with apsw.Connection(str(database)) as raw:
            assert raw.execute("PRAGMA integrity_check").get == "ok"
            assert raw.execute("PRAGMA foreign_key_check").fetchall() == []
        problems: list[Problem] = []
        recorded = {m.id for record in intake.read_all(tmp_path / "intake", problems) for m in record.messages}
        assert all(problem.torn_end for problem in problems)
        asyncio.run(compare(database, said, set(recorded)))
    assert len({session for session, _, _ in said}) > 1
