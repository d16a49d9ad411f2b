"""Upkeep when things are not as they should be: a lost backup, a damaged row, a long log, a daemon that leaves."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest

from betcode.adapters.sqlite import backup as backups
from betcode.adapters.sqlite.backup import backups_of, make_backup, verify
from betcode.adapters.sqlite.errors import StoreError
from betcode.adapters.sqlite.store import SqliteStore
from betcode.core.instant import Instant
from betcode.daemon.upkeep import CHECKED, Upkeep
from betcode.model import upkeep_limits
from betcode.model.ids import SessionId
from betcode.testing.sample_rows import creation, step
from betcode.testing.small_engine import KeptLog

A = SessionId("aaaaaaaaaa")
NOW = 1_800_000_000.0
HOUR_S = 3_600.0


@dataclass
class Kept:
    """A database with six events, and its upkeep, with a clock that is set."""

    path: Path
    store: SqliteStore
    at: Instant = field(default_factory=lambda: Instant(NOW, 0.0))
    log: KeptLog = field(default_factory=KeptLog)
    found: list[StoreError] = field(default_factory=list)
    upkeep: Upkeep = field(init=False)

    def __post_init__(self) -> None:
        self.upkeep = Upkeep(self.path, self, self.log, usable=lambda: True, suspect=self.found.append)

    def now(self) -> Instant:
        return self.at

    async def after(self, hours: float, *, wall_hours: float | None = None) -> None:
        """Once more, so much later."""
        wall = hours if wall_hours is None else wall_hours
        self.at = Instant(self.at.unix_s + wall * HOUR_S, self.at.steady_s + hours * HOUR_S)
        await self.upkeep.once()

    async def change(self) -> None:
        row = await self.store.session(A)
        assert row is not None
        await self.store.commit(step(A, row.seq + 1))

    def spoil(self, path: Path) -> None:
        """A row is not what was written, which SQLite itself does not see."""
        whole = path.read_bytes()
        assert whole.count(b"the text of m3") == 1
        path.write_bytes(whole.replace(b"the text of m3", b"the text of m4", 1))


def run(tmp_path: Path, scenario: Callable[[Kept], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        path = tmp_path / "daemon.db"
        store = await SqliteStore.open(path, rng=Random(1))
        await store.commit(creation(A))
        for seq in range(1, 7):
            await store.commit(step(A, seq, message=f"m{seq}"))
        try:
            await scenario(Kept(path, store))
        finally:
            await store.close()

    asyncio.run(whole())


@pytest.mark.req("SQ-7")
@pytest.mark.parametrize("how", ["removed", "damaged"])
def test_a_backup_that_is_damaged_or_removed_is_replaced_by_another(tmp_path: Path, how: str) -> None:
    async def scenario(kept: Kept) -> None:
        await kept.after(0)
        [first] = backups_of(kept.path)
        file = tmp_path / "backups" / first.name
        file.unlink() if how == "removed" else file.write_bytes(b"noise" * 2_000)
        await kept.after(7)
        assert verify(tmp_path / "backups" / backups_of(kept.path)[-1].name) > 12
        assert kept.upkeep.status()["warnings"] == []
        assert kept.upkeep.status()["backup"]["age_s"] == 0

    run(tmp_path, scenario)


@pytest.mark.req("SQ-7")
def test_a_backup_that_a_person_made_counts_as_the_newest(tmp_path: Path) -> None:
    async def scenario(kept: Kept) -> None:
        await kept.after(0)
        await kept.change()
        by_hand = await asyncio.to_thread(make_backup, kept.path, "manual", NOW + HOUR_S)
        await kept.after(2)
        assert kept.upkeep.status()["backup"]["path"] == str(by_hand.path)
        await kept.after(5)
        assert len(backups_of(kept.path)) == 2, "nothing has changed since"

    run(tmp_path, scenario)


@pytest.mark.req("SQ-7")
def test_a_backup_made_after_the_clock_was_set_back_is_not_removed_as_the_oldest(tmp_path: Path) -> None:
    async def scenario(kept: Kept) -> None:
        for _ in range(5):
            await kept.change()
            await kept.after(7)
        await kept.change()
        before = {one.name for one in backups_of(kept.path)}
        await kept.after(7, wall_hours=-24 * 60)
        [made] = {one.name for one in backups_of(kept.path)} - before
        assert verify(tmp_path / "backups" / made) > 12

    run(tmp_path, scenario)


@pytest.mark.req("SQ-2", "SQ-3")
def test_a_damaged_copy_has_the_whole_database_looked_at_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(kept: Kept) -> None:
        real = backups._copy

        def spoiling(database: Path, part: Path, *, alone: bool) -> None:
            real(database, part, alone=alone)
            kept.spoil(part)

        with monkeypatch.context() as patch:
            patch.setattr(backups, "_copy", spoiling)
            await kept.after(0)
        assert kept.upkeep.status()["warnings"] == ["no backup can be made: the row m3 of messages is damaged"]
        assert backups_of(kept.path) == []
        await kept.after(0.02)
        assert kept.found == [], "it was the copy alone"
        assert any("a copy of the database was damaged" in message for message, _ in kept.log.lines)
        await kept.after(1)
        assert kept.upkeep.status()["warnings"] == []
        assert len(backups_of(kept.path)) == 1

    run(tmp_path, scenario)


@pytest.mark.req("SQ-6", "SQ-2")
def test_a_check_is_put_off_when_the_log_grows_too_long_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(kept: Kept) -> None:
        with contextlib.closing(apsw.Connection(str(kept.path))) as reader:
            reader.execute("BEGIN; SELECT count(*) FROM events")  # keeps the log from being cut
            await kept.change()
            monkeypatch.setattr(upkeep_limits, "LOG_BYTES_MAX", 1_000)
            monkeypatch.setattr(upkeep_limits, "LOG_LOOK_S", 0.0)
            monkeypatch.setattr("betcode.daemon.upkeep._OPS", 1)
            await kept.after(0)
            assert not (tmp_path / CHECKED).exists()
            [told] = kept.upkeep.status()["warnings"]
            assert "write-ahead log stays" in told
            reader.execute("COMMIT")
        await kept.after(0.5)
        assert kept.upkeep.status()["warnings"] == []
        assert not (tmp_path / CHECKED).exists(), "it is tried again after a while"
        await kept.after(1)
        assert (tmp_path / CHECKED).exists()
        assert kept.found == []

    run(tmp_path, scenario)


@pytest.mark.req("SQ-7")
def test_a_daemon_that_leaves_does_not_wait_for_a_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep_limits, "REST_S", 60.0)  # for ever, unless it is told

    async def scenario(kept: Kept) -> None:
        begun, ended = threading.Event(), threading.Event()
        real = backups.verify

        def verifying(path: Path, stop: backups.Stop) -> int:
            begun.set()
            try:
                return real(path, stop)
            finally:
                ended.set()

        monkeypatch.setattr(backups, "verify", verifying)
        working = asyncio.create_task(kept.upkeep.run())
        assert await asyncio.to_thread(begun.wait, 10)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        assert await asyncio.to_thread(ended.wait, 10)
        assert backups_of(kept.path) == []

    run(tmp_path, scenario)


@pytest.mark.req("SQ-7")
def test_two_backups_are_not_made_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(kept: Kept) -> None:
        def another(_seconds: float) -> bool:
            with pytest.raises(StoreError, match="another backup"):
                make_backup(kept.path, "auto", NOW)
            return False

        made = await asyncio.to_thread(make_backup, kept.path, "manual", NOW, stop=another)
        assert verify(made.path) == made.rows

    run(tmp_path, scenario)
