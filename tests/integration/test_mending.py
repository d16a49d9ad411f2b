"""A store whose database is damaged while it is used: repaired in its place, with nothing lost that was promised."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import apsw
import pytest

from betcode.adapters.desk import Desk
from betcode.adapters.rescue import rebuild
from betcode.adapters.rescue.places import Places
from betcode.adapters.rescue.repair import Task, Ways, repair
from betcode.adapters.sqlite.errors import StoreError
from betcode.adapters.sqlite.store import SqliteStore
from betcode.core.instant import Instant
from betcode.daemon.mending import MendingStore, Tools
from betcode.model import rescue_limits
from betcode.model.errors import BetcodeError
from betcode.model.ids import MessageId, SessionId
from betcode.model.rescue import RescueReport
from betcode.model.rows import Transaction
from betcode.testing.sample_rows import creation, message_row, step

SESSION = SessionId("aaaaaaaaaa")


@dataclass
class Heard:
    """What the listener was told."""

    damage: list[str] = field(default_factory=list)
    failures: list[tuple[str, float | None]] = field(default_factory=list)
    reports: list[RescueReport] = field(default_factory=list)
    after: int = 0

    def damaged(self, error: StoreError) -> None:
        self.damage.append(str(error))

    def not_repaired(self, error: BaseException, again_s: float | None) -> None:
        self.failures.append((str(error), again_s))

    async def repaired(self, report: RescueReport, store: SqliteStore) -> None:
        self.reports.append(report)
        for transaction in store.unstored:
            await store.commit(transaction)

    async def goes_on(self) -> None:
        self.after += 1


async def mending(data: Path, heard: Heard, hold: Callable[[], object] = lambda: None) -> MendingStore:
    """A store in `data` whose repairs wait for `hold`."""
    path = data / "daemon.db"

    async def open_store() -> SqliteStore:
        return await SqliteStore.open(path, rng=Random(1))

    def mend(cause: str, desk: Desk) -> RescueReport:
        hold()
        task = Task(
            Places(path, data, desk.first_segment, desk.begun_ns),
            Instant(1_800_000_000.0, 0.0),
            Random(1),
            lambda row: {},
        )
        return repair(task, cause, Ways(rebuild.ALL, lambda name, error: pytest.fail(f"{name}: {error!r}")))

    tools = Tools(open_store, mend, lambda: Desk(data / "intake"), heard, Random(1))
    return MendingStore(await open_store(), data / "intake", tools)


def damage(path: Path) -> None:
    """Make an index unreadable in the file, behind the back of those who have read it."""
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        connection.execute("UPDATE meta SET value = value")  # or they would go on with what is in their memory
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'messages_open'").get
        size = connection.execute("PRAGMA page_size").get
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until it is so; the caller has a deadline."""
    pause = asyncio.Event()
    while not holds():
        asyncio.get_running_loop().call_later(0.001, pause.set)
        await pause.wait()
        pause.clear()


async def filled(store: MendingStore) -> None:
    await store.commit(creation())
    for seq in range(1, 6):
        await store.commit(step(SESSION, seq, message=f"m{seq}"))


@pytest.mark.req("SQ-3", "SQ-4", "INV-6")
def test_damage_at_a_read_is_repaired_and_the_read_gets_its_answer(tmp_path: Path) -> None:
    async def scenario() -> None:
        heard = Heard()
        store = await mending(tmp_path, heard)
        await filled(store)
        damage(tmp_path / "daemon.db")
        async with asyncio.timeout(20):
            found = await store.open_messages(SESSION)
        assert [message.id for message in found] == ["m1", "m2", "m3", "m4", "m5"]
        assert len(heard.damage) == 1
        assert heard.reports[0].missing == []
        assert await store.events(SESSION, 1, 0, 100) != []
        await store.close()

    asyncio.run(scenario())


@pytest.mark.req("SQ-11")
def test_what_is_taken_during_a_repair_is_acknowledged_and_in_the_database_afterwards(tmp_path: Path) -> None:
    async def scenario() -> None:
        heard, go_on = Heard(), threading.Event()
        store = await mending(tmp_path, heard, lambda: go_on.wait(20))
        try:
            await filled(store)
            damage(tmp_path / "daemon.db")
            async with asyncio.timeout(20):
                waiting = asyncio.gather(store.open_messages(SESSION))
                await eventually(lambda: store.state == "repairing")
                await store.commit(step(SESSION, 6, message="m6"))
                assert not go_on.is_set()
                assert (await store.message(MessageId("m6"))) is not None
                assert (await store.message(MessageId("m3"))) is not None
                assert (await store.message(MessageId("never"))) is None
                other = message_row(SESSION, "m3", text="another text")
                with pytest.raises(BetcodeError) as error:
                    await store.commit(Transaction(step(SESSION, 7).session, messages=(other,)))
                assert error.value.code == "message.key_conflict"
                await store.commit(creation("bbbbbbbbbb"))
                assert (await store.session(SessionId("bbbbbbbbbb"))) is not None
                go_on.set()
                assert [m.id for m in (await waiting)[0]] == ["m1", "m2", "m3", "m4", "m5", "m6"]
                assert len(await store.sessions()) == 2
                await eventually(lambda: heard.after > 0)
            assert store.state == "ok"
        finally:
            go_on.set()
            await store.close()

    asyncio.run(scenario())


@pytest.mark.req("INV-5")
def test_a_database_that_is_damaged_again_and_again_is_left_to_a_person(tmp_path: Path) -> None:
    async def scenario() -> None:
        heard = Heard()
        store = await mending(tmp_path, heard)
        await filled(store)
        for _ in range(rescue_limits.REPAIRS_MAX):
            damage(tmp_path / "daemon.db")
            await store.open_messages(SESSION)
        damage(tmp_path / "daemon.db")
        with pytest.raises(StoreError):
            await store.open_messages(SESSION)
        assert len(heard.reports) == rescue_limits.REPAIRS_MAX
        assert heard.failures[-1][1] is None
        await store.close()

    asyncio.run(scenario())
    assert len(list(tmp_path.glob("daemon.db.corrupt.*Z*"))) >= rescue_limits.REPAIRS_MAX
