"""A rescue allows nothing that nobody allowed, and runs nothing twice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest
from msgspec.structs import replace

from betcode.adapters.rescue import rebuild
from betcode.adapters.rescue.places import Places
from betcode.adapters.rescue.repair import Task, Ways, repair
from betcode.adapters.sqlite import statements
from betcode.adapters.sqlite.store import SqliteStore
from betcode.core.instant import Instant
from betcode.keeper.journal import segment_path
from betcode.keeper.records import read_records
from betcode.model.ids import MessageId, PermissionId, SessionId
from betcode.model.rescue import RescueReport
from betcode.model.rows import EventRow, Message, Permission, Transaction
from betcode.model.states import Delivery, MessageState, PermissionState
from betcode.testing.sample_rows import TIME, creation, message_row, permission_row, session_row

A = SessionId("aaaaaaaaaa")
ASKED = permission_row(A, "p")
ALLOWED = replace(ASKED, state=PermissionState.ALLOWED, by="ada", settled_at=TIME, delivery=Delivery.SENDING)


def event(seq: int, kind: str, **fields: Any) -> EventRow:
    body = json.dumps({"kind": kind, "epoch": 1, "seq": seq, "time": TIME, **fields}).encode()
    return EventRow(A, 1, seq, kind, TIME, body)


def asking(permission: Permission, seq: int) -> Transaction:
    told = event(seq, "permission_asked", permission_id=permission.id, tool=permission.tool, input=permission.input)
    return Transaction(session_row(A, seq=seq, run=1), events=(told,), permissions=(permission,))


def settling(permission: Permission, seq: int) -> Transaction:
    told = event(seq, "permission_settled", permission_id=permission.id, state=permission.state.value)
    return Transaction(session_row(A, seq=seq, run=1), events=(told,), permissions=(permission,))


def store(data: Path, *transactions: Transaction) -> None:
    async def run() -> None:
        opened = await SqliteStore.open(data / "daemon.db", rng=Random(1))
        for transaction in transactions:
            await opened.commit(transaction)
        await opened.close()

    asyncio.run(run())


def lose(data: Path, table: str) -> None:
    """The rows of a table are gone, and so is the intake log."""
    with contextlib.closing(apsw.Connection(str(data / "daemon.db"))) as connection:
        connection.pragma("secure_delete", 1)
        connection.execute(f"DELETE FROM {table}")
    shutil.rmtree(data / "intake")


def rescued(data: Path) -> RescueReport:
    task = Task(Places(data / "daemon.db", data), Instant(1_800_000_000.0, 0.0), Random(1), lambda row: {})
    return repair(task, "a test", Ways(rebuild.ALL, lambda name, error: pytest.fail(f"{name}: {error!r}")))


def question(data: Path) -> Permission | None:
    with contextlib.closing(apsw.Connection(str(data / "daemon.db"))) as connection:
        return statements.permission(connection, PermissionId("p"))


def message(data: Path, name: str) -> Message | None:
    with contextlib.closing(apsw.Connection(str(data / "daemon.db"))) as connection:
        return statements.message(connection, MessageId(name))


def kinds(data: Path) -> list[str]:
    with contextlib.closing(apsw.Connection(str(data / "daemon.db"))) as connection:
        return [row.kind for row in statements.events(connection, A, epoch=1, after=0, limit=100)]


@pytest.mark.req("INV-3", "INV-6")
def test_a_question_whose_record_is_lost_is_refused_and_that_is_told(tmp_path: Path) -> None:
    store(tmp_path, creation(A), asking(ASKED, 1))
    lose(tmp_path, "permissions")
    report = rescued(tmp_path)
    found = question(tmp_path)
    assert found is not None
    assert (found.state, found.by) == (PermissionState.CANCELLED, "recovery")
    assert found.input == ASKED.input
    assert kinds(tmp_path) == ["permission_asked", "permission_settled"]
    assert any("none counts as allowed" in sentence for sentence in report.sentences)


@pytest.mark.req("INV-3", "INV-6")
def test_a_question_whose_record_the_intake_log_has_is_open_again(tmp_path: Path) -> None:
    store(tmp_path, creation(A), asking(ASKED, 1))
    shutil.copytree(tmp_path / "intake", tmp_path / "log")
    lose(tmp_path, "permissions")
    shutil.copytree(tmp_path / "log", tmp_path / "intake")
    rescued(tmp_path)
    assert question(tmp_path) == ASKED


@pytest.mark.req("INV-3")
def test_an_allow_of_which_no_record_is_left_is_no_allow(tmp_path: Path) -> None:
    store(tmp_path, creation(A), asking(ASKED, 1), settling(ALLOWED, 2))
    lose(tmp_path, "permissions")
    with contextlib.closing(apsw.Connection(str(tmp_path / "daemon.db"))) as connection:
        connection.execute("DELETE FROM decisions")
    rescued(tmp_path)
    found = question(tmp_path)
    assert found is None or found.state is not PermissionState.ALLOWED


@pytest.mark.req("INV-3", "INV-6")
def test_a_decision_that_is_left_settles_the_question_as_it_was(tmp_path: Path) -> None:
    store(tmp_path, creation(A), asking(ASKED, 1), settling(ALLOWED, 2))
    shutil.copytree(tmp_path / "intake", tmp_path / "log")
    lose(tmp_path, "permissions")
    rescued(tmp_path)
    with contextlib.closing(apsw.Connection(str(tmp_path / "daemon.db"))) as connection:
        assert connection.execute("SELECT state FROM decisions").fetchall() == [("ALLOWED",)]


@pytest.mark.req("INV-1", "INV-6")
def test_a_message_that_claude_was_given_since_is_never_given_to_it_again(tmp_path: Path) -> None:
    waiting = message_row(A, "m", state=MessageState.QUEUED)
    never = message_row(A, "n", state=MessageState.QUEUED)
    store(tmp_path, creation(A), Transaction(session_row(A, run=1), messages=(waiting, never)))
    folder = tmp_path / "sessions" / A
    folder.mkdir(parents=True)
    Path(segment_path(str(folder), 1, 0)).write_bytes(b"{}\n")
    record = {"id": "m", "state": "intent", "time": 0, "offset": 0}
    (folder / "1.in").write_bytes(json.dumps(record).encode() + b"\n")
    if not any(found.get("id") == "m" for found in read_records(str(folder / "1.in"))):
        pytest.fail("the keeper's records have another form now")
    with (tmp_path / "daemon.db").open("r+b") as file:
        file.write(bytes(100))
    report = rescued(tmp_path)
    given, other = message(tmp_path, "m"), message(tmp_path, "n")
    assert given is not None
    assert other is not None
    assert (given.state, given.run) == (MessageState.DELIVERED, 1)
    assert other.state is MessageState.QUEUED
    assert any("not given to it again" in sentence for sentence in report.sentences)


@pytest.mark.req("INV-6", "SQ-4")
def test_without_rows_and_journals_claudes_own_transcript_gives_back_what_was_said(tmp_path: Path) -> None:
    data, home = tmp_path / "data", tmp_path / "claude"
    data.mkdir()
    answers = [
        event(seq, "assistant", block=f"m{seq}:0", part="text", text=f"answer {seq}", scope="", interrupted=False)
        for seq in (2, 3, 4)
    ]
    asked = event(1, "user_message", message_id="m", text="a question", client="ada")
    first = Transaction(session_row(A, seq=1, run=1), events=(asked,), messages=(message_row(A, "m"),))
    store(data, creation(A), first, Transaction(session_row(A, seq=4, run=1), events=tuple(answers)))
    shutil.rmtree(data / "intake")
    with contextlib.closing(apsw.Connection(str(data / "daemon.db"))) as connection:
        connection.pragma("secure_delete", 1)
        connection.execute("DELETE FROM events WHERE seq IN (2, 4)")
    entries = [{"type": "user", "uuid": "m", "message": {"content": "a question"}}]
    for seq in (2, 3, 4):
        block = {"type": "text", "text": f"answer {seq}"}
        entries.append({"type": "assistant", "message": {"id": f"m{seq}", "content": [block]}})
    (home / "projects/-home").mkdir(parents=True)
    name = home / f"projects/-home/claude-{A}.jsonl"
    name.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    places, now = Places(data / "daemon.db", data), Instant(1_800_000_000.0, 0.0)
    task = Task(places, now, Random(1), lambda row: {"CLAUDE_CONFIG_DIR": str(home)})
    report = repair(task, "a test", Ways(rebuild.ALL, lambda name, error: pytest.fail(f"{name}: {error!r}")))
    with contextlib.closing(apsw.Connection(str(data / "daemon.db"))) as connection:
        rows = statements.events(connection, A, epoch=2, after=0, limit=100)
    bodies = [json.loads(row.body) for row in rows]
    assert [body["text"] for body in bodies if body["kind"] == "assistant"] == ["answer 2", "answer 3", "answer 4"]
    kinds_shown = [body["kind"] for body in bodies if body["kind"] != "status"]
    assert kinds_shown == ["user_message", "assistant", "assistant", "assistant", "notice"]
    assert [(s.name, s.rows) for s in report.sources if s.name == "transcripts"] == [("transcripts", 2)]
    assert report.missing == []
