"""The rescue of a damaged database from all that is left of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import apsw
import msgspec
import pytest

from betcode.adapters.marks import write_mark
from betcode.adapters.rescue import rebuild
from betcode.adapters.rescue.opening import open_whole
from betcode.adapters.rescue.places import Places
from betcode.adapters.rescue.repair import Task, Ways, repair
from betcode.adapters.sqlite.store import SqliteStore
from betcode.core.instant import Instant
from betcode.model.ids import SessionId
from betcode.model.rescue import Outcome, RescueReport
from betcode.model.rows import Deletion, EventRow, Mark, Message, SessionRow, Transaction
from betcode.testing.sample_rows import creation, session_row, step

A, B, C = SessionId("aaaaaaaaaa"), SessionId("bbbbbbbbbb"), SessionId("cccccccccc")
EVENTS = 40


async def fill(data: Path) -> None:
    """Two sessions with events, and a third one that was deleted."""
    store = await SqliteStore.open(data / "daemon.db", rng=Random(1))
    for session in (A, B, C):
        await store.commit(creation(session))
        for seq in range(1, EVENTS + 1):
            await store.commit(step(session, seq, message=f"{session}-{seq}" if seq % 4 == 0 else "", size=300))
        folder = data / "sessions" / session
        folder.mkdir(parents=True)
        write_mark(folder, Mark(1, EVENTS, 1, EVENTS * 100))
    await store.commit(Transaction(session_row(C, seq=EVENTS), deletion=Deletion("2026-01-03T00:00:00.000Z")))
    for _ in range(3):
        await store.commit(Transaction(session_row(C), sweeps=True))
    await store.close()


async def rescued(data: Path) -> tuple[SqliteStore, RescueReport | None]:
    """Open it as the daemon does."""
    path = data / "daemon.db"
    places = Places(path, data)

    def mend(cause: str) -> RescueReport:
        task = Task(places, Instant(1_800_000_000.0, 0.0), Random(1), lambda row: {})
        return repair(task, cause, Ways(rebuild.ALL, lambda name, error: pytest.fail(f"{name}: {error!r}")))

    return await open_whole(places, lambda: SqliteStore.open(path, rng=Random(1)), mend)


Content = tuple[list[SessionRow], list[list[EventRow]], list[list[Message]]]


async def content(store: SqliteStore) -> Content:
    rows = await store.sessions()
    events = [await store.events(row.id, row.epoch, 0, 1000) for row in rows]
    return rows, events, [await store.open_messages(row.id) for row in rows]


def run(data: Path, damage: Callable[[Path], None]) -> tuple[Content, Content, RescueReport | None]:
    """What was there before the damage and after the rescue."""

    async def scenario() -> tuple[Content, Content, RescueReport | None]:
        await fill(data)
        store = await SqliteStore.open(data / "daemon.db", rng=Random(1))
        before = await content(store)
        await store.close()
        damage(data)
        store, report = await rescued(data)
        after = await content(store)
        await store.close()
        again, none = await rescued(data)
        assert none is None
        assert await content(again) == after
        await again.close()
        return before, after, report

    return asyncio.run(scenario())


def _overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def header_zeroed(data: Path) -> None:
    _overwrite(data / "daemon.db", 0, bytes(100))


def first_page_random(data: Path) -> None:
    _overwrite(data / "daemon.db", 0, Random(1).randbytes(4096))


def file_removed(data: Path) -> None:
    (data / "daemon.db").unlink()


def file_emptied(data: Path) -> None:
    os.truncate(data / "daemon.db", 0)


def cut_to_a_third(data: Path) -> None:
    size = (data / "daemon.db").stat().st_size
    os.truncate(data / "daemon.db", size // 3)


def interior_page_zeroed(data: Path) -> None:
    with contextlib.closing(apsw.Connection(str(data / "daemon.db"))) as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'events'").get
    _overwrite(data / "daemon.db", (root - 1) * 4096, bytes(4096))


WITH_LOG = [header_zeroed, first_page_random, interior_page_zeroed]


@pytest.mark.req("INV-6", "SQ-4", "SQ-5")
@pytest.mark.parametrize("damage", WITH_LOG)
def test_what_the_damaged_file_still_holds_is_back_as_it_was(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    before, after, report = run(tmp_path, damage)
    assert after == before
    assert report is not None
    assert report.outcome is Outcome.REPAIRED
    assert report.kept
    assert Path(report.kept[0]).exists()


@pytest.mark.req("INV-6", "SQ-11", "INV-2")
@pytest.mark.parametrize("damage", [file_removed, file_emptied, cut_to_a_third])
def test_without_the_file_the_intake_log_gives_back_all_that_was_promised_and_the_rest_is_told_of(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    before, after, report = run(tmp_path, damage)
    assert [row.id for row in after[0]] == [A, B]
    assert after[2] == before[2]
    assert report is not None
    for row, events, was in zip(after[0], after[1], before[1], strict=True):
        assert [event.seq for event in events] == list(range(1, row.seq + 1))
        kept = {msgspec.json.decode(event.body).get("text", "") for event in events}
        assert kept - {""} <= {msgspec.json.decode(event.body)["text"] for event in was}
        assert row.epoch > 1
    gaps = [event for events in after[1] for event in events if event.kind == "gap"]
    assert gaps
    notices = [event for events in after[1] for event in events if event.kind == "notice"]
    assert len(notices) == 2
    if damage is not cut_to_a_third:
        assert report.outcome is Outcome.PARTLY
        assert any(A in sentence for sentence in report.missing)


async def closed(data: Path) -> None:
    store, _ = await rescued(data)
    await store.close()


@pytest.mark.req("SQ-4")
def test_a_rescue_that_is_killed_between_any_two_steps_comes_to_the_same_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each rename is the last thing that is done, once."""

    class KilledError(BaseException):
        pass

    real = Path.rename
    for last in range(20):
        data = tmp_path / str(last)
        data.mkdir()
        asyncio.run(fill(data))
        header_zeroed(data)
        count = 0

        def rename(self: Path, target: Path, last: int = last) -> Path:
            nonlocal count
            count += 1
            if count > last:
                raise KilledError
            return real(self, target)

        monkeypatch.setattr(Path, "rename", rename)
        killed = False
        try:
            asyncio.run(closed(data))
        except KilledError:
            killed = True
        monkeypatch.setattr(Path, "rename", real)

        async def look(data: Path = data) -> Content:
            store, _ = await rescued(data)
            found = await content(store)
            await store.close()
            return found

        if not killed:
            assert last > 1
            return
        rows, events, _ = asyncio.run(look())
        assert [(row.id, row.seq) for row in rows] == [(A, EVENTS), (B, EVENTS)]
        assert [len(found) for found in events] == [EVENTS, EVENTS]
    pytest.fail("there are more steps than expected")
