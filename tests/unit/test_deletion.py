"""Deleted sessions in the database: out of reach at once, swept in steps, their keys remembered."""

import asyncio
import errno
from collections.abc import Iterator
from pathlib import Path
from random import Random

import apsw
import pytest
from msgspec.structs import replace

from betcode.adapters import intake
from betcode.adapters.intake import DiskFiles, IntakeLog
from betcode.adapters.sqlite import deletion, statements
from betcode.adapters.sqlite.errors import StoreError
from betcode.adapters.sqlite.schema import MIGRATIONS, migrate
from betcode.adapters.sqlite.store import SqliteStore
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.ids import MessageId, SessionId
from betcode.model.rows import Deletion, Transaction
from betcode.model.states import MessageState
from betcode.testing.sample_rows import creation, message_row, permission_row, session_row, step

A, B = SessionId("aaaaaaaaaa"), SessionId("bbbbbbbbbb")
DAY_1, DAY_2, DAY_40 = "2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z", "2026-02-10T00:00:00.000Z"


@pytest.fixture
def database() -> Iterator[apsw.Connection]:
    connection = apsw.Connection(":memory:")
    connection.pragma("foreign_keys", 1)
    migrate(connection)
    for session in (A, B):
        statements.apply(connection, creation(session))
    done = message_row(A, "m", state=MessageState.COMPLETED)
    statements.apply(connection, replace(step(A, 5, events=5), messages=(done,), permissions=(permission_row(A, "p"),)))
    yield connection
    connection.close()


def deleted(session: SessionId, at: str = DAY_2, forget_before: str = "") -> Transaction:
    return Transaction(session_row(session), deletion=Deletion(at, forget_before))


def sweep(session: SessionId) -> Transaction:
    return Transaction(session_row(session), sweeps=True)


def count(database: apsw.Connection, table: str) -> int:
    return int(database.execute(f"SELECT count(*) FROM {table}").get)


@pytest.mark.req("SQ-11")
def test_a_deleted_session_is_out_of_reach_and_its_row_says_what_is_left(database: apsw.Connection) -> None:
    statements.apply(database, deleted(A))
    assert statements.session(database, A) is None
    assert [row.id for row in statements.sessions(database)] == [B]
    assert [row.id for row in statements.leftovers(database)] == [A]
    assert (count(database, "messages"), count(database, "permissions"), count(database, "events")) == (0, 0, 5)
    for later in (step(A, 6), deleted(A)):
        with pytest.raises(StoreError):
            statements.apply(database, later)


@pytest.mark.req("INV-8")
def test_what_is_left_is_swept_in_steps_and_the_row_goes_last(
    database: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SWEEP_EVENTS", 2)
    with pytest.raises(StoreError, match="was not deleted"):
        statements.apply(database, sweep(A))
    statements.apply(database, deleted(A))
    left = []
    while statements.leftovers(database):
        statements.apply(database, sweep(A))
        left.append(count(database, "events"))
    assert left == [3, 1, 0]
    statements.apply(database, sweep(A))  # once more does no harm
    assert database.execute("PRAGMA foreign_key_check").fetchall() == []


@pytest.mark.req("INV-1", "SQ-11")
def test_the_key_of_a_deleted_message_is_not_used_again(database: apsw.Connection) -> None:
    statements.apply(database, deleted(A))
    statements.apply(database, sweep(A))
    known = statements.message(database, MessageId("m"))
    assert known is not None
    assert (known.session, known.text, known.state) == (A, "", MessageState.COMPLETED)
    with pytest.raises(BetcodeError) as raised:
        statements.apply(database, step(B, 1, message="m"))
    assert raised.value.code == "message.key_conflict"
    session, conversation = (deletion.tombstone(database, key) for key in (A, f"claude-{A}"))
    assert session is not None
    assert conversation is not None
    assert (session.kind, conversation.kind, conversation.session) == ("session", "conversation", A)


@pytest.mark.req("SQ-11")
def test_keys_are_forgotten_when_their_time_is_over_and_not_before(database: apsw.Connection) -> None:
    statements.apply(database, deleted(A, DAY_2))
    statements.apply(database, deleted(B, DAY_40, forget_before=DAY_2))
    assert deletion.tombstone(database, A) is not None
    statements.apply(database, creation(SessionId("cccccccccc")))
    statements.apply(database, deleted(SessionId("cccccccccc"), DAY_40, forget_before=DAY_40))
    assert deletion.tombstone(database, A) is None
    assert statements.message(database, MessageId("m")) is None
    assert deletion.tombstone(database, B) is not None


@pytest.mark.req("INV-8")
def test_where_no_more_keys_can_be_remembered_nothing_is_deleted(
    database: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TOMBSTONES_MAX", 2)
    with pytest.raises(BetcodeError) as raised, database:
        statements.apply(database, deleted(A))
    assert raised.value.code == "limit.deletions"
    assert statements.session(database, A) is not None
    statements.apply(database, deleted(B))


@pytest.mark.req("SQ-8")
def test_a_database_from_before_deletion_is_migrated_with_all_that_is_in_it() -> None:
    connection = apsw.Connection(":memory:")
    connection.pragma("foreign_keys", 1)
    migrate(connection, MIGRATIONS[:1])
    connection.execute(
        "INSERT INTO sessions VALUES (1, 'aaaaaaaaaa', 'claude', '/', '', ?, '{}', 'IDLE', '', 1, 1, 1, 9, 0, '{}');"
        "INSERT INTO messages VALUES (1, 'm', 'aaaaaaaaaa', 'c', 'queued', '', 0, 0, ?, 'text')",
        (DAY_1, DAY_1),
    )
    migrate(connection)
    assert connection.pragma("user_version") == MIGRATIONS[-1].version
    (row,) = statements.sessions(connection)
    assert (row.id, row.offset) == (A, 9)
    assert [m.text for m in statements.open_messages(connection, A)] == ["text"]
    statements.apply(connection, deleted(A))
    assert statements.sessions(connection) == []


@pytest.mark.req("SQ-11")
def test_a_deletion_is_recorded_in_the_intake_log(tmp_path: Path) -> None:
    folder = tmp_path / "intake"
    payload = intake.encode(deleted(A))
    assert payload is not None
    assert intake.encode(sweep(A)) is None
    log = IntakeLog(folder)
    log.append([payload])
    log.close()
    (record,) = intake.read_all(folder, [])
    assert (record.session.id, record.deletion) == (A, Deletion(DAY_2))


class FullDisk(DiskFiles):
    """The disk of the intake log, full on demand."""

    full = False

    def sync(self, fd: int) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "no room")
        super().sync(fd)


@pytest.mark.req("SQ-11")
def test_a_deletion_that_cannot_be_recorded_is_not_done(tmp_path: Path) -> None:
    async def play() -> None:
        disk = FullDisk()
        store = await SqliteStore.open(tmp_path / "daemon.db", rng=Random(1), files=disk)
        await store.commit(creation(A))
        await store.commit(step(A, 1, message="m"))
        disk.full = True
        with pytest.raises(StoreError):
            await store.commit(deleted(A))
        assert [row.id for row in await store.sessions()] == [A]
        assert await store.tombstone(A) is None
        disk.full = False
        await store.commit(deleted(A))
        assert await store.sessions() == []
        await store.close()
        reopened = await SqliteStore.open(tmp_path / "daemon.db", rng=Random(1))
        assert [row.id for row in await reopened.leftovers()] == [A]
        await reopened.close()

    asyncio.run(play())
    records = list(intake.read_all(tmp_path / "intake", []))
    assert [record.deletion is not None for record in records] == [False, False, True]
