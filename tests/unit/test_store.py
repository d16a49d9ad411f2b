"""The store as the engine uses it: many tasks, one file."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from random import Random

import apsw
import pytest

from betcode.adapters import intake
from betcode.adapters.sqlite.committer import Committer
from betcode.adapters.sqlite.connection import open_writer
from betcode.adapters.sqlite.errors import StoreError
from betcode.adapters.sqlite.health import Health
from betcode.adapters.sqlite.schema import migrate
from betcode.adapters.sqlite.store import SqliteStore
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.ids import MessageId, SessionId
from betcode.model.rows import Transaction
from betcode.testing.faults import FaultPlan, FaultyFiles, faulty_disk
from betcode.testing.sample_rows import creation, message_row, session_row, step

A, B = SessionId("aaaaaaaaaa"), SessionId("bbbbbbbbbb")
WAIT_S = 20.0


class Watch:
    """What the store reported."""

    def __init__(self) -> None:
        self.operations: Counter[str] = Counter()
        self.failures: list[str] = []

    def observe(self, operation: str, seconds: float) -> None:
        assert seconds >= 0
        self.operations[operation] += 1


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[tuple[SqliteStore, Watch]]:
    watch = Watch()
    store = await SqliteStore.open(path, rng=Random(1), observe=watch.observe, failed=watch.failures.append)
    try:
        yield store, watch
    finally:
        await store.close()


@contextmanager
def locked(path: Path) -> Iterator[apsw.Connection]:
    """As if another process held the write lock, until `ROLLBACK` is executed on what is yielded."""
    connection = apsw.Connection(str(path))
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    finally:
        connection.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WAIT_S
    while not condition():
        assert loop.time() < deadline
        await asyncio.sleep(0.001)


async def all_done(*coroutines: Awaitable[None]) -> list[BaseException | None]:
    async with asyncio.timeout(WAIT_S):
        return await asyncio.gather(*coroutines, return_exceptions=True)


@pytest.mark.req("SQ-11", "ND-8")
@pytest.mark.parametrize("seed", range(20))
def test_many_tasks_at_once_each_find_their_own_events_without_a_hole(tmp_path: Path, seed: int) -> None:
    rng = Random(seed)

    async def use(store: SqliteStore, session: SessionId) -> None:
        await store.commit(creation(session))
        seq = 0
        for n in range(rng.randint(1, 12)):
            events = rng.randint(1, 5)
            seq += events
            await store.commit(step(session, seq, events=events, message=f"{session}-{n}" if n % 3 == 0 else ""))
            row = await store.session(session)
            assert row is not None
            assert row.seq == seq, "what was acknowledged is what the next read sees"
        assert [e.seq for e in await store.events(session, 1, 0, 100)] == list(range(1, seq + 1))
        assert [m.id for m in await store.open_messages(session)] == [f"{session}-{n}" for n in range(0, n + 1, 3)]

    async def run() -> None:
        async with opened(tmp_path / "daemon.db") as (store, watch):
            sessions = [SessionId(f"session{n:03}") for n in range(30)]
            assert await all_done(*(use(store, session) for session in sessions)) == [None] * len(sessions)
            assert sorted(row.id for row in await store.sessions()) == sessions
            assert store.state == "ok"
            assert store.queued == 0
            assert watch.failures == []
            assert watch.operations["session"] > len(sessions)

    asyncio.run(run())


@pytest.mark.req("SQ-1")
@pytest.mark.parametrize("repetition", range(20))
def test_what_queued_during_a_commit_is_committed_together(tmp_path: Path, repetition: int) -> None:
    async def run() -> None:
        async with opened(tmp_path / "daemon.db") as (store, watch):
            with locked(tmp_path / "daemon.db") as lock:
                first = asyncio.ensure_future(store.commit(creation("session000")))
                await until(lambda: store.queued == 1 and store._writer._jobs.empty())
                rest = [asyncio.ensure_future(store.commit(creation(f"session{n:03}"))) for n in range(1, 40)]
                await until(lambda: store.queued == 40)
                lock.execute("ROLLBACK")
                assert await all_done(first, *rest) == [None] * 40
            assert watch.operations["commit"] == 2

    asyncio.run(run())


@pytest.mark.req("SQ-1")
def test_one_caller_that_does_not_wait_still_gets_its_order(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path / "daemon.db") as (store, _):
            commits = [store.commit(creation(A)), *(store.commit(step(A, seq)) for seq in range(1, 200))]
            assert await all_done(*commits) == [None] * 200

    asyncio.run(run())


@pytest.mark.req("INV-1")
def test_a_transaction_that_contradicts_what_is_stored_fails_alone(tmp_path: Path) -> None:
    """In one group: the good ones around the bad ones are committed, and the intake log holds only those."""
    huge = Transaction(session_row(A, seq=1, run=2**70), step(A, 1).events)
    half = Transaction(session_row(A), messages=(message_row(A, "half", text="\ud800"),))

    async def run() -> None:
        async with opened(tmp_path / "daemon.db") as (store, watch):
            await store.commit(creation(A))
            await store.commit(creation(B))
            await store.commit(step(A, 1, message="m1"))
            with locked(tmp_path / "daemon.db") as lock:
                group = [creation("dddddddddd"), step(B, 1, message="m1"), creation(A), step(A, 9), huge, half]
                group += [step(A, 2, message="m2"), step(B, 1, message="m3")]
                commits = [asyncio.ensure_future(store.commit(t)) for t in group]
                await until(lambda: store.queued == len(group))
                lock.execute("ROLLBACK")
                outcomes = await all_done(*commits)
            codes = [o.code if isinstance(o, BetcodeError) else o for o in outcomes]
            assert codes == [None, "message.key_conflict", *["store.failed"] * 4, None, None]
            assert watch.failures == ["defect"] * 4, "a key that was used twice is no failure of the database"
            assert store.state == "ok"
            assert [e.seq for e in await store.events(A, 1, 0, 10)] == [1, 2]
            assert [m.id for m in await store.open_messages(B)] == ["m3"]
        records = list(intake.read_all(tmp_path / "intake", []))
        assert [m.id for r in records for m in r.messages] == ["m1", "m2", "m3"]

    asyncio.run(run())


@pytest.mark.req("SQ-11")
def test_a_promise_is_synced_into_the_intake_log_before_the_database_hears_of_it(tmp_path: Path) -> None:
    plan = FaultPlan()

    async def run() -> None:
        with faulty_disk(plan) as connect:
            store = await SqliteStore.open(
                tmp_path / "daemon.db", rng=Random(1), connect=connect, files=FaultyFiles(plan)
            )
            await store.commit(creation(A))
            plan.seen.clear()
            await store.commit(step(A, 1, message="m1"))
            promised = list(plan.seen)
            plan.seen.clear()
            await store.commit(step(A, 2))
            shown = list(plan.seen)
            await store.close()
        assert promised[:2] == ["intake write", "intake sync"]
        assert set(promised[2:]) == {"wal write", "wal sync"}
        assert promised[-1] == "wal sync"
        assert set(shown) == {"wal write", "wal sync"}, "what nobody was promised needs one sync, not two"
        assert shown[-1] == "wal sync"

    asyncio.run(run())


@pytest.mark.req("SQ-1")
def test_a_held_lock_is_waited_for_and_then_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BUSY_TIMEOUT_MS", 5)
    monkeypatch.setattr(limits, "BUSY_PAUSE_FIRST_S", 0.001)
    monkeypatch.setattr(limits, "BUSY_PAUSE_MAX_S", 0.002)

    async def run() -> None:
        async with opened(tmp_path / "daemon.db") as (store, watch):
            with locked(tmp_path / "daemon.db") as lock:
                outcomes = await all_done(store.commit(creation(A)))
                assert isinstance(outcomes[0], StoreError)
                assert outcomes[0].error_type == "busy"
                assert "lsof" in outcomes[0].hint
                assert watch.failures == ["busy"], "tries are not failures"
                assert store.state == "degraded"
                lock.execute("ROLLBACK")
            await store.commit(creation(A))
            assert store.state == "ok"
        assert [r.session.id for r in intake.read_all(tmp_path / "intake", [])] == [A]

    asyncio.run(run())


@pytest.mark.req("SQ-1")
def test_a_lock_that_is_freed_between_two_tries_costs_nothing_but_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BUSY_TIMEOUT_MS", 5)
    pauses: list[float] = []
    failures: list[str] = []
    connection = open_writer(tmp_path / "daemon.db")
    migrate(connection)

    def pause(seconds: float) -> bool:
        pauses.append(seconds)
        if len(pauses) == limits.BUSY_TRIES - 1:
            lock.execute("ROLLBACK")
        return False

    log = intake.IntakeLog(tmp_path / "intake")
    committer = Committer(connection, log, health=Health(failures.append), pause=pause, rng=Random(1))
    with locked(tmp_path / "daemon.db") as lock:
        assert committer.commit([creation(A)]) == [None]
    assert len(pauses) == limits.BUSY_TRIES - 1
    assert pauses == sorted(pauses), "they grow"
    assert limits.BUSY_TRIES * 5.0 + sum(pauses) < limits.BUSY_WAIT_S
    assert failures == []
    log.close()
    connection.close()


@pytest.mark.req("SQ-1")
def test_as_many_transactions_as_the_queue_holds_are_let_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WRITE_QUEUE_MAX", 3)

    async def run() -> None:
        async with opened(tmp_path / "daemon.db") as (store, _):
            most = 0
            with locked(tmp_path / "daemon.db") as lock:
                commits = [asyncio.ensure_future(store.commit(creation(f"session{n:03}"))) for n in range(20)]
                await until(lambda: store.queued == 3)
                lock.execute("ROLLBACK")
                while not all(commit.done() for commit in commits):
                    most = max(most, store.queued)
                    await asyncio.sleep(0)
            assert await all_done(*commits) == [None] * 20
            assert most == 3
            assert [row.id for row in await store.sessions()] == [f"session{n:03}" for n in range(20)]

    asyncio.run(run())


@pytest.mark.req("SQ-11")
def test_a_cancelled_commit_waits_for_its_outcome(tmp_path: Path) -> None:
    """Otherwise whoever begins again from the stored state would read the past."""

    async def run() -> None:
        async with opened(tmp_path / "daemon.db") as (store, _):
            with locked(tmp_path / "daemon.db") as lock:
                commit = asyncio.ensure_future(store.commit(creation(A)))
                await until(lambda: store.queued == 1)
                commit.cancel()
                done, _ = await asyncio.wait([commit], timeout=0.05)
                assert not done
                lock.execute("ROLLBACK")
                assert isinstance((await all_done(commit))[0], asyncio.CancelledError)
            assert await store.session(A) == session_row(A)

    asyncio.run(run())


@pytest.mark.req("SQ-11")
def test_closing_finishes_what_was_handed_in_and_refuses_the_rest(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path / "daemon.db") as (store, _):
            commits = [asyncio.ensure_future(store.commit(creation(f"session{n:03}"))) for n in range(50)]
            await until(lambda: store.queued == 50)
            await all_done(store.close(), store.close())
            assert await all_done(*commits) == [None] * 50
            assert store.state == "closed"
            for late in (store.commit(creation(A)), store.sessions()):
                with pytest.raises(StoreError) as raised:
                    await late
                assert raised.value.error_type == "closed"
        async with opened(tmp_path / "daemon.db") as (store, _):
            assert len(await store.sessions()) == 50

    asyncio.run(run())


@pytest.mark.req("SQ-3")
def test_after_damage_was_seen_nothing_more_is_written(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path / "daemon.db") as (store, watch):
            await store.commit(creation(A))
            await store.commit(step(A, 1))
            with apsw.Connection(str(tmp_path / "daemon.db")) as other:
                other.execute("UPDATE events SET body = x'00'")
            with pytest.raises(StoreError, match="damaged"):
                await store.events(A, 1, 0, 10)
            assert store.state == "damaged"
            with pytest.raises(StoreError, match="nothing more is written"):
                await store.commit(step(A, 2))
            assert watch.failures == ["corrupt"]
            assert store.state == "damaged"

    asyncio.run(run())


def test_an_argument_that_no_row_can_have_is_no_damage(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path / "daemon.db") as (store, _):
            with pytest.raises(StoreError, match="no row"):
                await store.events(A, 2**80, 0, 10)
            with pytest.raises(StoreError, match="no row"):
                await store.message(MessageId("\ud800"))
            assert store.state == "ok"

    asyncio.run(run())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_writer_that_dies_of_a_defect_leaves_nobody_waiting(tmp_path: Path) -> None:
    def broken(operation: str, seconds: float) -> None:
        if operation == "commit":
            raise ZeroDivisionError

    async def run() -> None:
        store = await SqliteStore.open(tmp_path / "daemon.db", rng=Random(1), observe=broken)
        outcomes = await all_done(*(store.commit(creation(f"session{n:03}")) for n in range(5)))
        assert {type(outcome) for outcome in outcomes} == {StoreError}
        assert store.state == "stopped"
        assert isinstance((await all_done(store.commit(creation(A))))[0], StoreError)
        await asyncio.wait_for(store.close(), WAIT_S)
        assert not any(thread.name.startswith("betcode-store") for thread in threading.enumerate())

    asyncio.run(run())
