"""What the database keeps of lines that could not be read, and of what is new in claude's output."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest
from msgspec.structs import replace

from betcode.adapters.sqlite import odd_lines, statements
from betcode.adapters.sqlite.schema import MIGRATIONS, migrate
from betcode.adapters.sqlite.store import SqliteStore
from betcode.model import limits
from betcode.model.ids import SessionId
from betcode.model.rows import Deletion, Drift, Quarantined, Transaction
from betcode.testing.sample_rows import creation, session_row, step

A, B = SessionId("aaaaaaaaaa"), SessionId("bbbbbbbbbb")
DAY_1, DAY_8, DAY_9 = "2026-01-01T00:00:00.000Z", "2026-01-08T00:00:00.000Z", "2026-01-08T00:00:00.001Z"


@pytest.fixture
def database() -> Iterator[apsw.Connection]:
    connection = apsw.Connection(":memory:")
    connection.pragma("foreign_keys", 1)
    migrate(connection)
    for session in (A, B):
        statements.apply(connection, creation(session))
    yield connection
    connection.close()


def line(offset: int, *, session: SessionId = A, run: int = 1, time: str = DAY_1) -> Quarantined:
    return Quarantined(session, run, offset, 3, time, "invalid_json", "no JSON", b"\xff\x00{")


def sight(name: str, *, version: str = "2.1.330", session: SessionId = A, count: int = 1, time: str = DAY_1) -> Drift:
    return Drift(version, "kind", name, count, time, time, session, f"example of {session}")


def put(database: apsw.Connection, seq: int, session: SessionId = A, **odd: Any) -> None:
    statements.apply(database, replace(step(session, seq), **odd))


def offsets(database: apsw.Connection, session: SessionId = A, since: str = DAY_1) -> list[tuple[int, int]]:
    return [(q.run, q.offset) for q in odd_lines.quarantine(database, session, since)]


@pytest.mark.req("ND-9")
def test_a_line_is_kept_once_with_its_very_bytes_however_often_it_is_read(database: apsw.Connection) -> None:
    first = line(7)
    put(database, 1, quarantine=(first,))
    put(database, 2, quarantine=(replace(first, time=DAY_8), line(3, run=2)))
    assert odd_lines.quarantine(database, A, DAY_1) == [first, line(3, run=2)]
    assert odd_lines.quarantined(database, A, 1, 7) == first
    assert odd_lines.quarantined(database, A, 1, 8) is None
    assert odd_lines.quarantined(database, B, 1, 7) is None


@pytest.mark.req("ND-9", "INV-8")
def test_of_each_session_the_newest_lines_are_kept(database: apsw.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "QUARANTINED_MAX", 3)
    put(database, 1, B, quarantine=(line(1, session=B),))
    put(database, 1, quarantine=tuple(line(n) for n in range(5)))
    put(database, 2, quarantine=(line(1, run=2),))
    assert offsets(database) == [(1, 3), (1, 4), (2, 1)]
    assert offsets(database, B) == [(1, 1)]


@pytest.mark.req("ND-9")
def test_after_seven_days_a_line_is_shown_to_nobody_and_goes_with_the_next(database: apsw.Connection) -> None:
    put(database, 1, quarantine=(line(1),))
    assert offsets(database, since=DAY_1) == [(1, 1)]
    assert offsets(database, since=DAY_8) == []
    put(database, 1, B, quarantine=(line(1, session=B, time=DAY_8),))
    assert offsets(database) == [(1, 1)], "not a moment before"
    put(database, 2, B, quarantine=(line(2, session=B, time=DAY_9),))
    assert offsets(database) == [], "whichever session brings the next"


@pytest.mark.req("ND-4", "INV-8")
def test_what_is_new_is_counted_by_version_in_bounded_room(
    database: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(database, 1, drift=(sight("mood", count=3), sight("mood", version="2.1.331")))
    put(database, 2, drift=(sight("mood", count=4, time=DAY_8),))
    newer, older = odd_lines.drift(database)[::-1]
    assert (older.count, older.first_seen, older.last_seen) == (7, DAY_1, DAY_8)
    assert (newer.version, newer.count) == ("2.1.331", 1)
    monkeypatch.setattr(limits, "DRIFT_MAX", 2)
    put(database, 3, drift=(sight("weather", time=DAY_9),))
    assert [d.name for d in odd_lines.drift(database)] == ["mood", "weather"]


@pytest.mark.req("ND-9", "SQ-11")
def test_a_deleted_session_leaves_nothing_that_it_said(database: apsw.Connection) -> None:
    put(database, 1, quarantine=(line(1),), drift=(sight("mood"),))
    put(database, 1, B, quarantine=(line(1, session=B),), drift=(sight("weather", session=B),))
    statements.apply(database, Transaction(session_row(A), deletion=Deletion(DAY_8)))
    statements.apply(database, Transaction(session_row(A), sweeps=True))
    assert not statements.leftovers(database)
    assert offsets(database) == []
    assert offsets(database, B) == [(1, 1)]
    assert [(d.name, d.session, d.example) for d in odd_lines.drift(database)] == [
        ("mood", "", ""),
        ("weather", B, f"example of {B}"),
    ]
    put(database, 2, B, drift=(sight("mood", session=B),))
    assert [d.example for d in odd_lines.drift(database)] == [f"example of {B}"] * 2


@pytest.mark.req("SQ-8", "ND-9")
def test_a_database_of_an_older_version_gets_the_tables_and_keeps_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "daemon.db"
    with apsw.Connection(str(path)) as old:
        migrate(old, MIGRATIONS[:3])
        rows = "(1, 'aaaaaaaaaa', 'c', '/', 'old', '', '{}', 'IDLE', '', 1, 0, 0, 0, 0, '{}')"
        old.execute(f"INSERT INTO sessions VALUES {rows}")
    old.close()

    async def run() -> None:
        store = await SqliteStore.open(path, rng=Random(1))
        await store.commit(replace(step(A, 1), quarantine=(line(5),), drift=(sight("mood"),)))
        assert [s.name for s in await store.sessions()] == [""], "the sample row renames it"
        assert await store.quarantine(A, DAY_1) == [line(5)]
        assert await store.quarantined(A, 1, 5) == line(5)
        assert await store.drift() == [sight("mood")]
        await store.close()

    asyncio.run(run())
