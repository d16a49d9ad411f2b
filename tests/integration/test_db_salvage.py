"""`betcode db salvage`: what a person sees who has nothing left but a damaged file."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest
from msgspec.structs import replace as change

from betcode.adapters.sqlite import row_check, schema, statements
from betcode.cli.main import main
from betcode.model.ids import SessionId
from betcode.model.rows import Deletion, Transaction
from betcode.testing.sample_rows import creation, message_row, permission_row, session_row, step

A, B, C = SessionId("aaaaaaaaaa"), SessionId("bbbbbbbbbb"), SessionId("cccccccccc")
EVENTS = 400


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Written by the product itself: two sessions, and one that was deleted."""
    path = tmp_path / "daemon.db"
    connection = apsw.Connection(str(path))
    schema.migrate(connection)
    transactions = [creation(A), creation(B), creation(C)]
    for seq in range(2, EVENTS + 1, 2):
        messages = (message_row(A, f"m{seq}"),) if seq % 10 == 0 else ()
        transactions.append(change(step(A, seq, events=2), messages=messages))
        transactions.append(step(C, seq, events=2))
    transactions.append(change(step(B, 1, events=1), permissions=(permission_row(B, "p"),)))
    transactions.append(Transaction(session_row(C), deletion=Deletion("2026-11-26T12:00:00Z")))
    for transaction in transactions:
        with connection:
            statements.apply(connection, transaction)
    connection.close()
    return path


def salvaged(capsys: pytest.CaptureFixture[str], source: Path, target: Path) -> dict[str, Any]:
    assert main(["db", "salvage", "--json", str(source), str(target)]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def rows(path: Path, table: str) -> list[Any]:
    connection = apsw.Connection(str(path), apsw.SQLITE_OPEN_READONLY)
    found: list[Any] = connection.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall()
    connection.close()
    return found


@pytest.mark.req("SQ-4")
def test_from_a_database_without_a_header_all_comes_back_but_what_was_deleted(
    database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {table: rows(database, table) for table in ("sessions", "messages", "permissions")}
    events = sorted(row for row in rows(database, "events") if row[0] != C)
    database.write_bytes(bytes(100) + database.read_bytes()[100:])
    target = tmp_path / "new.db"
    result = salvaged(capsys, database, target)
    assert result["rows"]["events"] == len(events) == EVENTS + 1
    assert (result["damaged"], result["orphans"], result["missing"]) == ({}, {}, [])
    assert {table: rows(target, table) for table in before} == before
    assert sorted(rows(target, "events")) == events
    assert target.stat().st_mode & 0o777 == 0o600
    connection = apsw.Connection(str(target))
    assert connection.execute("PRAGMA integrity_check").get == "ok"
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert [step.bad for step in row_check.steps(connection) if step.bad] == []
    schema.migrate(connection)
    with connection:
        statements.apply(connection, step(A, EVENTS + 1, events=1))  # it can be worked with at once
    connection.close()
    assert [file.name for file in tmp_path.iterdir() if ".part" in file.name] == []


@pytest.mark.req("SQ-4")
def test_lost_pages_are_told_as_holes_in_the_numbering_and_a_lost_session_as_orphans(
    database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    connection = apsw.Connection(str(database))
    connection.pragma("secure_delete", 1)
    connection.execute("DELETE FROM sessions WHERE id = ?", (B,))
    connection.close()
    data = bytearray(database.read_bytes())
    pages = [
        at for at in range(0, len(data), 4096) if data[at] == 0x0D and data[at : at + 4096].count(b'"kind":"text"') > 5
    ]
    first = pages[len(pages) // 2]
    data[first : first + 4096] = bytes(4096)
    said = data.index(b"text of m200")
    data[said] ^= 1
    database.write_bytes(data)
    result = salvaged(capsys, database, tmp_path / "new.db")
    assert {(hole["session"], hole["epoch"]) for hole in result["missing"]} == {(A, 1)}
    assert result["missing_events"] > 5
    assert result["rows"]["events"] + result["missing_events"] == EVENTS + 1
    assert any(f"Session {A} lacks" in sentence for sentence in result["sentences"])
    assert result["orphans"] == {B: {"events": 1, "permissions": 1}}
    assert result["damaged"] == {"messages": 1}
    [lost] = result["lost"]
    assert (lost["table"], lost["session"], lost["key"]) == ("messages", A, ["m200"])
    assert len(rows(tmp_path / "new.db", "permissions")) == 1, "an orphan is written too"


@pytest.mark.req("SQ-4")
def test_a_file_that_is_absent_or_empty_or_foreign_is_an_error_that_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new.db"
    empty, noise, foreign = tmp_path / "empty", tmp_path / "noise", tmp_path / "foreign.db"
    empty.touch()
    noise.write_bytes(Random(1).randbytes(300_000))
    connection = apsw.Connection(str(foreign))
    connection.execute("CREATE TABLE events (a, b); INSERT INTO events VALUES (1, 2)")
    connection.close()
    fresh = tmp_path / "fresh.db"
    connection = apsw.Connection(str(fresh))
    schema.migrate(connection)
    connection.close()
    cases = {
        tmp_path / "absent": ("salvage.source", "there is no file"),
        empty: ("salvage.source", "is empty"),
        tmp_path: ("salvage.source", "cannot be read"),
        noise: ("salvage.nothing", "has no whole row"),
        foreign: ("salvage.nothing", "has no whole row"),
        fresh: ("salvage.nothing", "without a whole row of a session"),
    }
    for source, (code, words) in cases.items():
        assert main(["db", "salvage", "--json", str(source), str(target)]) == 5
        error = json.loads(capsys.readouterr().out)["error"]
        assert error["code"] == code
        assert words in error["message"]
        assert error["hint"]
        assert not target.exists()
    target.touch()
    assert main(["db", "salvage", str(noise), str(target)]) == 5
    assert "exists already" in capsys.readouterr().err
    assert target.stat().st_size == 0


@pytest.mark.req("SQ-4")
def test_rows_of_an_older_version_have_no_checksum_and_are_not_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "old.db"
    connection = apsw.Connection(str(old))
    schema.migrate(connection)
    connection.execute(
        "INSERT INTO tombstones (key, kind, session, state, deleted_at) VALUES ('k', 'message', 's', '', '')"
    )
    connection.close()
    assert main(["db", "salvage", str(old), str(tmp_path / "new.db")]) == 5
    assert "without checksums" in capsys.readouterr().err


@pytest.mark.req("SQ-4")
def test_a_person_is_told_in_a_table_and_in_sentences(
    database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["db", "salvage", str(database), str(tmp_path / "new.db")]) == 0
    said = capsys.readouterr()
    assert "TABLE" in said.out
    assert "As far as the rows tell, nothing is missing." in said.out
    assert "Saved in" in said.out
    assert said.err == ""
