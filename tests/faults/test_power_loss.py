"""A loss of power at any moment: what was acknowledged is there, and the database is whole."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from pathlib import Path
from random import Random

import apsw
import pytest

from betcode.adapters import intake
from betcode.adapters.sqlite.store import SqliteStore
from betcode.model.rows import Transaction
from betcode.testing.power_loss import Disk, NotedFiles, leave, noted_disk
from betcode.testing.sample_rows import creation, step

A, B = "aaaaaaaaaa", "bbbbbbbbbb"
SCRIPT = [
    creation(A),
    step(A, 2, events=2, message="a1"),
    creation(B),
    step(B, 3, events=3, message="b1", size=6_000),
    *(step(A, seq, message=f"a{seq}") for seq in range(3, 9)),
]
SEEDS = 2


async def run(path: Path, disk: Disk, acknowledged: list[Transaction]) -> None:
    with noted_disk(disk) as connect:
        store = await SqliteStore.open(path, rng=Random(1), connect=connect, files=NotedFiles(disk))
        for transaction in SCRIPT:
            await store.commit(transaction)
            acknowledged.append(transaction)
        await store.close()


async def missing(path: Path, acknowledged: list[Transaction]) -> list[Transaction]:
    """What a start finds missing, after it has repeated what only the intake log holds."""
    store = await SqliteStore.open(path, rng=Random(1))
    for transaction in store.unstored:
        await store.commit(transaction)
    lost = []
    for transaction in acknowledged:
        events = await store.events(transaction.session.id, 1, 0, 100)
        there = all(event in events for event in transaction.events)
        there &= all([await store.message(message.id) == message for message in transaction.messages])
        if not there or await store.session(transaction.session.id) is None:
            lost.append(transaction)
    await store.close()
    return lost


@pytest.mark.req("SQ-9", "SQ-11")
def test_a_loss_of_power_at_any_sync_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    data = (tmp_path / "data").resolve()
    data.mkdir()
    acknowledged: list[Transaction] = []
    disk = Disk(lambda: len(acknowledged))
    asyncio.run(run(data / "daemon.db", disk, acknowledged))
    assert len(disk.moments) > 2 * len(SCRIPT), "each transaction is synced in the log and in the database"
    for number, moment in enumerate(disk.moments):
        for seed in range(SEEDS):
            left = tmp_path / "left"
            shutil.rmtree(left, ignore_errors=True)
            left.mkdir()
            leave(moment, data, left, Random(f"{number} {seed}"))
            lost = asyncio.run(missing(left / "daemon.db", acknowledged[: moment.acknowledged]))
            assert not lost, (number, seed, lost)
            with contextlib.closing(apsw.Connection(str(left / "daemon.db"))) as database:
                assert database.execute("PRAGMA integrity_check").get == "ok"
            problems: list[intake.Problem] = []
            list(intake.read_all(left / "intake", problems))
            assert all(problem.torn_end for problem in problems)


def test_a_disk_that_syncs_nothing_would_be_found_out(tmp_path: Path) -> None:
    disk = Disk(lambda: 1)
    path = str(tmp_path / "file")
    disk.wrote(path, 0, b"one")
    disk.syncs(path)
    disk.wrote(path, 3, b"two")
    disk.syncs(path)
    assert [moment.certain[path] for moment in disk.moments] == [b"", b"one"]
    seen = set()
    for seed in range(40):
        leave(disk.moments[1], tmp_path, tmp_path / "into", Random(seed))
        seen.add((tmp_path / "into/file").read_bytes())
    assert seen == {b"one", b"onetwo"}
