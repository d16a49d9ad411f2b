"""Backups: verified, private, thinned, made before a migration; and the upkeep that makes them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from random import Random

import apsw
import pytest

from betcode.adapters.sqlite import backup as backups
from betcode.adapters.sqlite import schema
from betcode.adapters.sqlite.backup import backups_of, make_backup, rev_of, verify
from betcode.adapters.sqlite.connection import open_writer
from betcode.adapters.sqlite.errors import StoreError
from betcode.adapters.sqlite.store import SqliteStore
from betcode.adapters.sqlite.tables import TABLES
from betcode.core.instant import Instant
from betcode.daemon.upkeep import Upkeep, drop_segments, scrub
from betcode.model import upkeep_limits
from betcode.testing.sample_rows import creation, step
from betcode.testing.small_engine import KeptLog

A = "aaaaaaaaaa"
NOW = 1_800_000_000.0


async def fill(path: Path, events: int = 6) -> SqliteStore:
    store = await SqliteStore.open(path, rng=Random(1))
    await store.commit(creation(A))
    for seq in range(1, events + 1):
        await store.commit(step(A, seq, message=f"m{seq}"))
    return store


@pytest.mark.req("SQ-7")
def test_a_backup_beside_a_writer_holds_what_is_committed_and_blocks_nobody(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "daemon.db"
        store = await fill(path)
        copying = asyncio.to_thread(make_backup, path, "auto", NOW)
        made, _ = await asyncio.gather(copying, store.commit(step(A, 7)))
        assert verify(made.path) == made.rows > 12
        await store.close()

    asyncio.run(scenario())
    [only] = backups_of(tmp_path / "daemon.db")
    assert (only.reason, only.at_unix_s) == ("auto", NOW)
    assert (tmp_path / "backups").stat().st_mode & 0o077 == 0


@pytest.mark.req("SQ-7")
def test_a_copy_that_is_damaged_is_no_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "daemon.db"

    async def scenario() -> None:
        await (await fill(path)).close()

    asyncio.run(scenario())
    real = backups._copy

    def damaged(database: Path, part: Path, *, alone: bool) -> None:
        real(database, part, alone=alone)
        part.write_bytes(part.read_bytes().replace(b"the text of m3", b"the text of m4", 1))

    monkeypatch.setattr(backups, "_copy", damaged)
    with pytest.raises(StoreError):
        make_backup(path, "auto", NOW)
    assert backups_of(path) == []
    assert list((tmp_path / "backups").iterdir()) == []


@pytest.mark.req("SQ-7", "SQ-8")
def test_before_a_migration_the_old_database_is_saved(tmp_path: Path) -> None:
    path = tmp_path / "daemon.db"
    with contextlib.closing(open_writer(path)) as connection:
        schema.migrate(connection, schema.MIGRATIONS[:4])

    async def open_and_close() -> None:
        store = await SqliteStore.open(path, rng=Random(1))
        await store.close()

    asyncio.run(open_and_close())
    [saved] = backups_of(path)
    assert saved.reason == "migration"
    with contextlib.closing(apsw.Connection(str(tmp_path / "backups" / saved.name))) as connection:
        assert connection.execute("PRAGMA user_version").get == 4
    asyncio.run(open_and_close())
    assert len(backups_of(path)) == 1, "the second start migrates nothing"


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.at = Instant(NOW, 0.0)

    def now(self) -> Instant:
        return self.at


@pytest.mark.req("SQ-7", "SQ-2", "SQ-3", "SQ-6")
def test_upkeep_saves_once_what_changed_and_finds_a_damaged_row(tmp_path: Path) -> None:
    path = tmp_path / "daemon.db"

    async def scenario() -> None:
        store = await fill(path)
        clock, log, found = Clock(), KeptLog(), list[StoreError]()
        upkeep = Upkeep(path, clock, log, usable=lambda: True, suspect=found.append)
        for hours in range(13):
            clock.at = Instant(NOW + hours * 3_600, hours * 3_600.0)
            await upkeep.once()
        [only] = backups_of(path)
        assert upkeep.status()["backup"]["path"].endswith(only.name)
        await store.commit(step(A, 7))
        clock.at = Instant(NOW + 20 * 3_600, 20 * 3_600.0)
        await upkeep.once()
        assert len(backups_of(path)) == 2
        assert not found
        await store.close()
        path.write_bytes(path.read_bytes().replace(b"the text of m3", b"the text of m4", 1))
        await upkeep.once()
        assert [error.error_type for error in found] == ["corrupt"]
        assert "m3" in str(found[0])

    asyncio.run(scenario())


@pytest.mark.req("SQ-2")
def test_a_walk_through_all_checksums_comes_round(tmp_path: Path) -> None:
    path = tmp_path / "daemon.db"

    async def scenario() -> None:
        await (await fill(path, 30)).close()

    asyncio.run(scenario())
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        at, steps = scrub(connection, (0, ()), 1), 1
        while at != (0, ()):
            at, steps = scrub(connection, at, 1), steps + 1
    assert steps == len(TABLES)
    assert rev_of(path) > 30


@pytest.mark.req("SQ-6")
def test_a_log_that_is_too_long_is_brought_in_and_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "daemon.db"
    log = tmp_path / "daemon.db-wal"

    async def scenario() -> None:
        store = await fill(path)
        upkeep = Upkeep(path, Clock(), KeptLog(), usable=lambda: True, suspect=lambda error: None)
        await upkeep.once()
        assert log.stat().st_size > 10_000, "it is not cut before it is too long"
        monkeypatch.setattr(upkeep_limits, "LOG_BYTES_MAX", 10_000)
        await upkeep.once()
        assert log.stat().st_size == 0
        await store.commit(step(A, 7))
        assert (await store.events(A, 1, 0, 100))[-1].seq == 7  # type: ignore[arg-type]
        await store.close()

    asyncio.run(scenario())


@pytest.mark.req("SQ-11", "INV-8")
def test_segments_of_the_intake_log_that_are_old_are_dropped_after_a_backup_but_never_the_newest(
    tmp_path: Path,
) -> None:
    for number, age_days in ((1, 20), (2, 8), (3, 6), (4, 30)):
        path = tmp_path / f"{number}.log"
        path.touch()
        os.utime(path, (NOW - age_days * 86_400, NOW - age_days * 86_400))
    assert drop_segments(tmp_path, NOW) == [1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3.log", "4.log"]
    (tmp_path / "3.log").unlink()
    assert drop_segments(tmp_path, NOW) == []
