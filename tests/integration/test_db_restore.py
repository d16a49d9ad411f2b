"""`betcode db restore`: what is put in place, what is refused, and what becomes of what was open."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import apsw
import msgspec
import pytest

from betcode.adapters.marks import write_mark
from betcode.adapters.rescue.opening import open_whole
from betcode.adapters.rescue.places import Places
from betcode.adapters.rescue.rebuild import ALL
from betcode.adapters.rescue.repair import Task, Ways, repair
from betcode.adapters.sqlite import row_check
from betcode.adapters.sqlite.store import SqliteStore
from betcode.cli.main import main
from betcode.core.instant import Instant
from betcode.model.ids import SessionId
from betcode.model.rescue import RescueReport
from betcode.model.rows import Mark
from betcode.model.states import MessageState
from betcode.testing.sample_rows import creation, message_row, permission_row, step

A, B = SessionId("aaaaaaaaaa"), SessionId("bbbbbbbbbb")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two sessions of three events; one has a message that waits and a question that is open."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)

    async def fill(store: SqliteStore) -> None:
        for session in (A, B):
            await store.commit(creation(session))
            for seq in range(1, 4):
                await store.commit(step(session, seq))
        opened = step(A, 4)
        waiting = msgspec.structs.replace(opened, messages=(message_row(A, "waits", state=MessageState.QUEUED),))
        await store.commit(msgspec.structs.replace(waiting, permissions=(permission_row(A, "asked"),)))

    in_store(folder, fill)
    return folder


@pytest.fixture
def betcode(data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process."""
    for name, place in (("DATA", data), ("RUNTIME", data.parent / "run"), ("CONFIG", data.parent / "config")):
        monkeypatch.setenv(f"BETCODE_{name}_DIR", str(place))

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(["db", *arguments])
        return (status, *capsys.readouterr())

    return run


def in_store(data: Path, work: Callable[[SqliteStore], Any]) -> Any:
    async def whole() -> Any:
        store = await SqliteStore.open(data / "daemon.db", rng=Random(1))
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(whole())


def object_of(betcode: Run, *arguments: str) -> Any:
    status, out, err = betcode(*arguments, "--json")
    assert status == 0, (out, err)
    return json.loads(out)


def more_of(data: Path, session: SessionId, first: int) -> None:
    """Two more events, and a mark that knows of them."""

    async def add(store: SqliteStore) -> None:
        for seq in (first, first + 1):
            await store.commit(step(session, seq))

    in_store(data, add)
    (data / "sessions" / session).mkdir(parents=True, exist_ok=True)
    write_mark(data / "sessions" / session, Mark(1, first + 1, 1, 10))


@pytest.mark.req("INV-2", "SQ-7")
def test_exactly_begins_a_new_epoch_where_a_session_had_gone_on_and_runs_nothing_again(
    data: Path, betcode: Run
) -> None:
    backup = object_of(betcode, "backup")["path"]
    more_of(data, A, 5)
    newer = Path(object_of(betcode, "backup")["path"])
    done = object_of(betcode, "restore", "--yes", "--exactly", backup)
    assert done["renumbered"] == [A]

    async def look(store: SqliteStore) -> None:
        sessions = {row.id: row for row in await store.sessions()}
        assert (sessions[A].epoch, sessions[B].epoch) == (2, 1), "B had not gone on"
        events = await store.events(A, 2, 0, 100)
        assert [event.seq for event in events] == list(range(1, sessions[A].seq + 1))
        assert await store.events(A, 1, 0, 100) == []
        bodies = [json.loads(event.body) for event in events]
        assert [(body["epoch"], body["seq"]) for body in bodies] == [(2, event.seq) for event in events]
        assert any("put back to the backup" in body.get("message", "") for body in bodies)
        waited = await store.message("waits")  # type: ignore[arg-type]
        assert waited is not None
        assert (waited.state, await store.open_messages(A)) == ("unknown", [])
        assert await store.open_permissions(A) == []
        assert store.unstored == ()
        await store.commit(step(B, 4))

    in_store(data, look)
    with contextlib.closing(apsw.Connection(str(data / "daemon.db"))) as connection:
        assert connection.execute("PRAGMA integrity_check").get == "ok"
        assert [found.bad for found in row_check.steps(connection) if found.bad] == []
    assert not newer.exists()
    kept = {Path(path).name.split(".replaced.")[0] for path in done["kept"]}
    assert kept == {"daemon.db", "intake", "sessions", "backups"}
    assert object_of(betcode, "check")["ok"]


@pytest.mark.req("SQ-7", "SQ-5")
def test_without_more_all_comes_back_at_the_next_start_and_it_is_not_called_damage(data: Path, betcode: Run) -> None:
    backup = object_of(betcode, "backup")["path"]
    more_of(data, A, 5)
    said = betcode("restore", "--yes", backup)[1]
    assert "comes back" in said
    places = Places(data / "daemon.db", data)

    def mend(cause: str) -> RescueReport:
        task = Task(places, Instant(1_800_000_000.0, 0.0), Random(1), lambda row: {})
        return repair(task, cause, Ways(ALL, lambda name, error: None))

    async def start() -> tuple[int, RescueReport | None]:
        store, report = await open_whole(places, lambda: SqliteStore.open(data / "daemon.db", rng=Random(1)), mend)
        row = await store.session(A)
        await store.close()
        assert row is not None
        return row.seq, report

    seq, report = asyncio.run(start())
    assert seq >= 6
    assert report is not None
    assert report.sentences[0].startswith("A backup was put in the place of the database")
    assert not (data / "restored").exists()


@pytest.mark.req("SQ-7")
def test_a_process_that_runs_is_not_left_without_its_session(data: Path, betcode: Run) -> None:
    backup = object_of(betcode, "backup")["path"]
    before = (data / "daemon.db").read_bytes()
    lock = data / "sessions" / A / "lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        status, _, err = betcode("restore", "--yes", "--exactly", backup)
        assert (status, "--stop-sessions" in err, A in err) == (5, True, True)
        assert (data / "daemon.db").read_bytes() == before
    assert object_of(betcode, "restore", "--yes", "--exactly", backup)["renumbered"] == [A]


@pytest.mark.req("SQ-7", "SQ-8")
def test_a_file_that_is_no_backup_of_this_program_is_refused(data: Path, betcode: Run, tmp_path: Path) -> None:
    before = (data / "daemon.db").read_bytes()
    empty, foreign, newer = tmp_path / "empty.db", tmp_path / "foreign.db", tmp_path / "newer.db"
    empty.touch()
    with contextlib.closing(apsw.Connection(str(foreign))) as connection:
        connection.execute("CREATE TABLE meta (a); INSERT INTO meta VALUES (1)")
    newer.write_bytes(before)
    with contextlib.closing(apsw.Connection(str(newer))) as connection:
        connection.pragma("user_version", 99)
    in_use = tmp_path / "used.db"
    in_use.write_bytes(before)
    in_use.with_name("used.db-wal").write_bytes(b"something")
    for path, status in ((empty, 78), (foreign, 78), (newer, 78), (in_use, 5)):
        result = betcode("restore", "--yes", str(path))
        assert (result[0], (data / "daemon.db").read_bytes()) == (status, before), result
    assert list(data.glob("*.replaced.*")) == []


@pytest.mark.req("SQ-2")
def test_a_check_finds_holes_and_references_to_nothing(data: Path, betcode: Run) -> None:
    whole = (data / "daemon.db").read_bytes()
    with contextlib.closing(apsw.Connection(str(data / "daemon.db"))) as connection:
        connection.execute("DELETE FROM events WHERE session = ? AND seq = 2", (B,))
    status, out, _ = betcode("check", "--json")
    assert (status, json.loads(out)["holes"]) == (5, [f"{B} (1)"])
    (data / "daemon.db").write_bytes(whole)
    with contextlib.closing(apsw.Connection(str(data / "daemon.db"))) as connection:
        connection.execute("PRAGMA foreign_keys = 0; DELETE FROM sessions WHERE id = ?", (B,))
    status, out, _ = betcode("check")
    assert (status, "refer to rows that are not there" in out, "betcode db recover" in out) == (5, True, True)
