"""`betcode db backup`, `check`, `stats`, `recover` and `restore` without a daemon."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from betcode.adapters.sqlite.store import SqliteStore
from betcode.cli.main import main
from betcode.testing.sample_rows import creation, step

A = "aaaaaaaaaa"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with a session of six events, and no daemon."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)

    async def fill() -> None:
        store = await SqliteStore.open(folder / "daemon.db", rng=Random(1))
        await store.commit(creation(A))
        for seq in range(1, 7):
            await store.commit(step(A, seq, message=f"m{seq}"))
        await store.close()

    asyncio.run(fill())
    return folder


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def betcode(data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process."""
    monkeypatch.setenv("BETCODE_DATA_DIR", str(data))
    monkeypatch.setenv("BETCODE_RUNTIME_DIR", str(data.parent / "run"))
    monkeypatch.setenv("BETCODE_CONFIG_DIR", str(data.parent / "config"))

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(list(arguments))
        return (status, *capsys.readouterr())

    return run


def object_of(betcode: Run, *arguments: str) -> Any:
    status, out, err = betcode(*arguments)
    assert status == 0, (out, err)
    return json.loads(out)


def overwrite(path: Path, content: bytes, at: int = 0) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


@pytest.mark.req("SQ-7")
def test_a_backup_holds_every_row_and_is_private(data: Path, betcode: Run) -> None:
    made = object_of(betcode, "db", "backup", "--json")
    path = Path(made["path"])
    assert path.parent == data / "backups"
    assert path.name.endswith("-manual.db")
    assert path.stat().st_mode & 0o077 == 0
    counted = object_of(betcode, "db", "stats", "--json")
    assert sum(counted["rows"].values()) == made["rows"]
    assert [backup["name"] for backup in counted["backups"]] == [path.name]
    assert object_of(betcode, "db", "check", "--json", str(path))["ok"]
    assert betcode("db", "stats")[0] == 0


@pytest.mark.req("SQ-2", "SQ-3")
def test_a_check_names_a_damaged_row_and_what_mends_it(data: Path, betcode: Run) -> None:
    assert object_of(betcode, "db", "check", "--json")["ok"]
    whole = (data / "daemon.db").read_bytes()
    (data / "daemon.db").write_bytes(whole.replace(b"the text of m3", b"the text of m4", 1))
    status, out, _ = betcode("db", "check", "--json")
    found = json.loads(out)
    assert (status, found["ok"], len(found["bad_rows"])) == (5, False, 1)
    status, out, _ = betcode("db", "check")
    assert (status, "betcode db recover" in out) == (5, True)
    status, out, _ = betcode("db", "recover", "--json")
    assert (status, json.loads(out)["missing"]) == (0, [])
    assert object_of(betcode, "db", "check", "--json")["ok"]


@pytest.mark.req("SQ-7", "SQ-4")
def test_a_restore_keeps_the_old_database_and_what_came_since_comes_back_unless_exactly_is_said(
    data: Path, betcode: Run
) -> None:
    object_of(betcode, "db", "backup", "--json")

    async def more(seq: int) -> None:
        store = await SqliteStore.open(data / "daemon.db", rng=Random(1))
        await store.commit(step(A, seq, message=f"m{seq}"))
        await store.close()

    async def unstored() -> tuple[int, int]:
        store = await SqliteStore.open(data / "daemon.db", rng=Random(1))
        row = await store.session(A)  # type: ignore[arg-type]
        count = len(store.unstored)
        await store.close()
        assert row is not None
        return row.seq, count

    asyncio.run(more(7))
    restored = object_of(betcode, "db", "restore", "--yes", "--json")
    assert all(Path(path).exists() for path in restored["kept"])
    assert asyncio.run(unstored()) == (6, 1)
    exactly = object_of(betcode, "db", "restore", "--yes", "--json", "--exactly")
    assert any("intake.replaced" in path for path in exactly["kept"])
    seq, back = asyncio.run(unstored())
    assert (seq > 6, back) == (True, 0), "what was open is told to be unknown now"
    status, _, err = betcode("db", "restore", "--yes", "nothing.db")
    assert (status, "nothing.db" in err) == (5, True)


@pytest.mark.req("SQ-7")
def test_a_damaged_backup_is_not_put_in_place_of_anything(data: Path, betcode: Run) -> None:
    path = Path(object_of(betcode, "db", "backup", "--json")["path"])
    before = (data / "daemon.db").read_bytes()
    path.write_bytes(path.read_bytes().replace(b"the text of m3", b"the text of m4", 1))
    assert betcode("db", "restore", "--yes")[0] == 78
    assert (data / "daemon.db").read_bytes() == before


@pytest.mark.req("SQ-5")
def test_a_report_is_shown_again_as_it_was(data: Path, betcode: Run) -> None:
    assert "never rescued" in betcode("db", "recover", "--report")[1]
    overwrite(data / "daemon.db", bytes(100))
    first = betcode("db", "recover")
    assert "is repaired" in first[1]
    assert betcode("db", "recover", "--report")[1] == first[1]
