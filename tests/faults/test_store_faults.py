"""A disk that fails at any one operation, once or for ever: nothing acknowledged is lost and nothing is torn.

Goal: no fault, at any write, sync, truncation, creation or deletion of the database, its log or the intake log, loses
or tears a transaction that was acknowledged; and a fault that passes costs nothing but the one attempt it met.
Method: fail operation 1, then 2, ... until a run passes unharmed; after each, reopen with no faults and compare.
"""

import asyncio
import contextlib
import errno
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import apsw
import pytest

from betcode.adapters import intake
from betcode.adapters.intake import Problem
from betcode.adapters.sqlite.errors import StoreError
from betcode.adapters.sqlite.store import SqliteStore
from betcode.model.ids import MessageId
from betcode.model.rows import Transaction
from betcode.testing.faults import FaultPlan, FaultyFiles, faulty_disk, points
from betcode.testing.sample_rows import creation, step

A, B, C = "aaaaaaaaaa", "bbbbbbbbbb", "cccccccccc"
SCRIPT = [
    creation(A),
    step(A, 2, events=2, message="a1"),
    step(A, 3),
    creation(B),
    step(B, 3, events=3, message="b1", size=6_000),  # rows on overflow pages
    step(A, 4, message="a2"),
]
TOGETHER = [step(A, 5, message="a3"), step(B, 4, message="b2"), creation(C)]


@dataclass
class Outcome:
    """What a run under faults achieved."""

    acknowledged: list[Transaction] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    state: str = ""


async def run(path: Path, plan: FaultPlan) -> Outcome:
    """Commit the script, trying each transaction twice, and stop at the first that fails twice."""
    outcome = Outcome()
    with faulty_disk(plan) as connect:
        store = None
        for _ in range(2):
            with contextlib.suppress(StoreError):
                store = await SqliteStore.open(
                    path, rng=Random(1), failed=outcome.failures.append, connect=connect, files=FaultyFiles(plan)
                )
                break
        if store is None:
            return outcome
        for transaction in SCRIPT:
            if not await committed(store, transaction, outcome):
                break
        else:
            await asyncio.gather(*(committed(store, transaction, outcome) for transaction in TOGETHER))
        outcome.state = store.state
        await store.close()
    return outcome


async def committed(store: SqliteStore, transaction: Transaction, outcome: Outcome) -> bool:
    for _ in range(2):
        with contextlib.suppress(StoreError):
            await store.commit(transaction)
            outcome.acknowledged.append(transaction)
            return True
    return False


async def stored(path: Path) -> list[Transaction]:
    """Those transactions of the script that are there; an assertion fails for one that is there in part."""
    store = await SqliteStore.open(path, rng=Random(1))
    found = []
    for transaction in [*SCRIPT, *TOGETHER]:
        row = await store.session(transaction.session.id)
        events = await store.events(transaction.session.id, 1, 0, 100)
        there = {row is not None and row.seq >= transaction.session.seq}
        there |= {event in events for event in transaction.events}
        there |= {await store.message(MessageId(message.id)) == message for message in transaction.messages}
        assert len(there) == 1, f"torn: {transaction}"
        if there == {True}:
            found.append(transaction)
        assert row is None or [event.seq for event in events] == list(range(1, row.seq + 1))
    await store.close()
    return found


@pytest.mark.req("SQ-11", "SQ-9", "INV-1", "ND-8")
@pytest.mark.parametrize("then_forever", [False, True], ids=["once", "for ever"])
@pytest.mark.parametrize(
    "error, reads, phase",
    [(errno.EIO, False, 0), (errno.ENOSPC, False, 1), (errno.EIO, True, 2)],
    ids=["EIO", "ENOSPC", "reads"],
)
def test_nothing_acknowledged_is_lost_or_torn_by_any_single_fault(
    tmp_path: Path, then_forever: bool, error: int, reads: bool, phase: int
) -> None:
    whole = [*SCRIPT, *TOGETHER]
    for fail_at in points(phase):
        path = tmp_path / str(fail_at) / "daemon.db"
        path.parent.mkdir()
        plan = FaultPlan(fail_at=fail_at, then_forever=then_forever, errno=error, reads=reads)
        outcome = asyncio.run(run(path, plan))
        there = asyncio.run(stored(path))
        assert set(outcome.failures) <= {"full", "io", "intake_full", "intake_io", "cantopen"}
        missing = [transaction for transaction in outcome.acknowledged if transaction not in there]
        assert not missing, (fail_at, plan.seen[fail_at - 1])
        unpromised = [transaction for transaction in there if transaction not in outcome.acknowledged]
        assert len(unpromised) <= (len(TOGETHER) if then_forever else 0), "only a commit whose sync failed may be found"
        if not then_forever:
            assert sorted(map(repr, outcome.acknowledged)) == sorted(map(repr, whole)), (fail_at, plan.seen[-1])
            assert outcome.state == "ok"
        with apsw.Connection(str(path)) as database:
            assert database.execute("PRAGMA integrity_check").get == "ok"
        problems: list[Problem] = []
        records = list(intake.read_all(path.parent / "intake", problems))
        recorded = sorted(message.id for record in records for message in record.messages)
        promised = sorted(message.id for t in outcome.acknowledged for message in t.messages)
        assert set(recorded) >= set(promised)
        assert then_forever or recorded == promised, "an attempt that failed was taken back"
        assert problems == [], "the reopening has cut off what was torn"
        if not plan.fired:
            assert there == whole
            assert outcome.failures == []
            assert fail_at > 3 * len(SCRIPT), "the loop did reach the end"
            return


@pytest.mark.req("SQ-9")
def test_every_kind_of_operation_is_met_by_the_faults(tmp_path: Path) -> None:
    plan = FaultPlan()
    asyncio.run(run(tmp_path / "daemon.db", plan))
    assert set(plan.seen) >= {
        "intake open",
        "intake write",
        "intake sync",
        "intake sync directory",
        "wal write",
        "wal sync",
        "database write",
        "database sync",
        "database delete",
    }


@pytest.mark.req("SQ-9")
def test_a_full_disk_stops_acknowledgements_until_there_is_room_again(tmp_path: Path) -> None:
    plan = FaultPlan()

    async def session() -> None:
        with faulty_disk(plan) as connect:
            store = await SqliteStore.open(
                tmp_path / "daemon.db", rng=Random(1), connect=connect, files=FaultyFiles(plan)
            )
            await store.commit(creation(A))
            plan.fail_at, plan.then_forever = len(plan.seen) + 1, True
            for _ in range(5):
                with pytest.raises(StoreError) as raised:
                    await store.commit(step(A, 1, message="m"))
                assert raised.value.error_type == "intake_full"
                with pytest.raises(StoreError) as raised:
                    await store.commit(step(A, 1))
                assert raised.value.error_type == "full"
                assert await store.message(MessageId("m")) is None
            assert store.state == "degraded"
            plan.then_forever = False
            await store.commit(step(A, 1, message="m"))
            assert store.state == "ok"
            await store.close()

    asyncio.run(session())
    assert len(list((tmp_path / "intake").iterdir())) <= 2
