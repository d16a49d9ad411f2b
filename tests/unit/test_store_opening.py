"""Opening the database: what is checked, refused, created and migrated."""

import asyncio
import contextlib
import stat
from pathlib import Path
from random import Random

import apsw
import pytest

from betcode.adapters.sqlite import connection as opening
from betcode.adapters.sqlite.errors import StoreError
from betcode.adapters.sqlite.schema import MIGRATIONS, Migration, migrate
from betcode.adapters.sqlite.store import SqliteStore
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.ids import SessionId
from betcode.testing.sample_rows import creation, step

A = SessionId("aaaaaaaaaa")


def write(path: Path, *, events: int = 1) -> None:
    """Make a database with one session and close it."""

    async def run() -> None:
        store = await SqliteStore.open(path, rng=Random(1))
        await store.commit(creation(A))
        await store.commit(step(A, events, events=events, message="m", size=500))
        await store.close()

    asyncio.run(run())


def read(path: Path, *, limit: int = 10_000) -> list[int]:
    """The seqs that a new store finds."""

    async def run() -> list[int]:
        store = await SqliteStore.open(path, rng=Random(1))
        try:
            return [e.seq for e in await store.events(A, 1, 0, limit)]
        finally:
            await store.close()

    return asyncio.run(run())


def refused(path: Path) -> BetcodeError:
    """The error with which opening fails, and that it was counted once unless it is no failure of the database."""
    counted: list[str] = []
    with pytest.raises(BetcodeError) as raised:
        asyncio.run(SqliteStore.open(path, rng=Random(1), failed=counted.append))
    error = raised.value
    assert error.hint
    assert counted == ([error.error_type] if isinstance(error, StoreError) else [])
    return error


@pytest.mark.req("SQ-1")
def test_a_commit_is_durable_and_rows_refer_to_rows_that_exist(tmp_path: Path) -> None:
    writer = opening.open_writer(tmp_path / "daemon.db")
    reader = opening.open_reader(tmp_path / "daemon.db")
    pragmas = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "secure_delete")
    assert [writer.pragma(name) for name in pragmas] == ["wal", 2, 1, 5000, 1]
    assert reader.pragma("busy_timeout") == 5000
    with pytest.raises(apsw.ReadOnlyError):
        reader.execute("CREATE TABLE t (x)")
    migrate(writer)
    with pytest.raises(apsw.ConstraintError):
        writer.execute("INSERT INTO events VALUES ('none', 1, 1, 'text', '', 0, x'', 1)")
    reader.close()
    writer.close()


@pytest.mark.req("SQ-1")
def test_a_pragma_that_does_not_take_is_noticed(tmp_path: Path) -> None:
    opened: list[apsw.Connection] = []

    def in_memory(path: str, flags: int) -> apsw.Connection:  # which cannot keep a write-ahead log
        opened.append(apsw.Connection(":memory:", flags))
        return opened[0]

    with pytest.raises(StoreError, match="journal_mode = 'memory', not 'wal'"):
        opening.open_writer(tmp_path / "daemon.db", in_memory)
    with pytest.raises(apsw.ConnectionClosedError):
        opened[0].execute("SELECT 1")


@pytest.mark.req("SQ-1")
def test_all_files_are_private_even_where_they_were_not(tmp_path: Path) -> None:
    (tmp_path / "daemon.db").touch(mode=0o644)
    (tmp_path / "intake").mkdir(mode=0o755)

    def modes() -> dict[str, int]:
        return {p.relative_to(tmp_path).as_posix(): stat.S_IMODE(p.stat().st_mode) for p in tmp_path.rglob("*")}

    async def found() -> dict[str, int]:
        store = await SqliteStore.open(tmp_path / "daemon.db", rng=Random(1))
        await store.commit(creation(A))
        try:
            return modes()
        finally:
            await store.close()

    assert asyncio.run(found()) == {
        "daemon.db": 0o600,
        "daemon.db-wal": 0o600,
        "daemon.db-shm": 0o600,
        "intake": 0o700,
        "intake/1.log": 0o600,
    }


def test_an_orderly_close_leaves_one_complete_file(tmp_path: Path) -> None:
    write(tmp_path / "daemon.db", events=20)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["daemon.db", "intake"]
    with apsw.Connection(str(tmp_path / "daemon.db")) as alone:
        assert alone.execute("SELECT count(*) FROM events").get == 20


@pytest.mark.req("SQ-8")
def test_a_newer_database_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "daemon.db"
    write(path)
    newer = Migration(MIGRATIONS[-1].version + 1, 1, "CREATE TABLE more (x)")
    writer = opening.open_writer(path)
    migrate(writer, (*MIGRATIONS, newer))
    writer.close()
    before = path.read_bytes()
    error = refused(path)
    assert error.code == "store.newer"
    assert "knows schema 1 could open it" in error.hint
    assert path.read_bytes() == before


@pytest.mark.req("SQ-8")
def test_a_migration_that_fails_leaves_the_database_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "daemon.db"
    write(path)
    writer = opening.open_writer(path)
    version = writer.pragma("user_version")
    broken = Migration(MIGRATIONS[-1].version + 1, 1, "CREATE TABLE more (x); INSERT INTO nowhere VALUES (1)")
    with pytest.raises(apsw.SQLError):
        migrate(writer, (*MIGRATIONS, broken))
    assert writer.pragma("user_version") == version
    assert not writer.table_exists(None, "more")
    writer.close()
    assert read(path) == [1]


@pytest.mark.req("SQ-8")
def test_a_migration_keeps_what_is_stored_and_is_done_once(tmp_path: Path) -> None:
    writer = opening.open_writer(tmp_path / "daemon.db")
    migrate(writer, MIGRATIONS[:1])
    writer.execute("INSERT INTO meta VALUES ('mine', 'kept')")
    more = Migration(2, 2, "CREATE TABLE more (x); INSERT INTO more VALUES (1)")
    for _ in range(2):
        migrate(writer, (MIGRATIONS[0], more))
    assert writer.execute("SELECT count(*) FROM more").get == 1
    assert writer.execute("SELECT name, value FROM meta ORDER BY name").fetchall() == [
        ("mine", "kept"),
        ("oldest_compatible", "2"),
        ("schema_version", "2"),
    ]
    writer.close()


@pytest.mark.req("SQ-8")
def test_migrations_count_from_one_without_a_hole() -> None:
    assert [m.version for m in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))
    assert all(m.oldest_compatible <= m.version for m in MIGRATIONS)


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "daemon.db"
    with apsw.Connection(str(path)) as other:
        other.execute("CREATE TABLE theirs (x)")
    assert "another program" in str(refused(path))


@pytest.mark.req("SQ-2")
def test_an_empty_file_beside_a_full_log_is_not_a_new_database(tmp_path: Path) -> None:
    path = tmp_path / "daemon.db"
    for make in (path.touch, path.unlink):
        make()
        (tmp_path / "daemon.db-wal").write_bytes(b"x" * 4096)
        error = refused(path)
        assert isinstance(error, StoreError)
        assert error.error_type == "notadb"
        assert not path.exists() or path.stat().st_size == 0


@pytest.mark.req("SQ-2")
def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "daemon.db"
    path.write_bytes(b"\0" * 4096)
    assert "does not begin like a database" in str(refused(path))
    assert path.read_bytes() == b"\0" * 4096


@pytest.mark.req("SQ-2")
def test_damage_in_the_middle_is_found_before_anything_is_served(tmp_path: Path) -> None:
    path = tmp_path / "daemon.db"
    write(path, events=400)
    content = bytearray(path.read_bytes())
    content[3 * 4096 : 4 * 4096] = Random(1).randbytes(4096)
    path.write_bytes(content)
    error = refused(path)
    assert isinstance(error, StoreError)
    assert error.error_type == "corrupt"
    assert "betcode db recover" in error.hint


@pytest.mark.req("SQ-2")
def test_a_large_database_is_not_read_through_before_it_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "daemon.db"
    write(path, events=400)
    content = bytearray(path.read_bytes())
    content[-4096:] = bytes(4096)
    path.write_bytes(content)
    refused(path)
    monkeypatch.setattr(limits, "QUICK_CHECK_BYTES_MAX", len(content) - 1)
    assert read(path, limit=2) == [1, 2]


def test_a_directory_that_does_not_exist_is_told_with_a_hint(tmp_path: Path) -> None:
    error = refused(tmp_path / "none" / "daemon.db")
    assert error.code == "store.failed"
    assert "No such file or directory" in str(error)
    assert "data directory" in error.hint


def test_a_database_opens_after_a_failed_opening(tmp_path: Path) -> None:
    path = tmp_path / "daemon.db"
    (tmp_path / "intake").write_text("a file where the folder belongs")
    refused(path)
    (tmp_path / "intake").unlink()
    write(path)
    assert read(path) == [1]


@pytest.mark.req("SQ-1")
def test_a_database_that_another_process_holds_for_a_moment_is_opened_all_the_same(tmp_path: Path) -> None:
    """The system's own wait of five seconds is not waited for: opening says at once that it is held."""
    path = tmp_path / "daemon.db"
    write(path)
    held = 2

    def connect(name: str, flags: int) -> apsw.Connection:
        nonlocal held
        held -= 1
        if held >= 0:
            raise apsw.BusyError("database is locked")
        return apsw.Connection(name, flags)

    async def run(tries: int) -> list[int]:
        nonlocal held
        held = tries
        store = await SqliteStore.open(path, rng=Random(1), connect=connect)
        try:
            return [event.seq for event in await store.events(A, 1, 0, 10)]
        finally:
            await store.close()

    assert asyncio.run(run(2)) == [1]
    with pytest.raises(StoreError) as error:
        asyncio.run(run(limits.BUSY_TRIES))
    assert (error.value.error_type, "fuser" in error.value.hint) == ("busy", True)


@pytest.mark.req("SQ-3")
def test_a_text_that_is_none_any_more_counts_as_damage(tmp_path: Path) -> None:
    path = tmp_path / "daemon.db"
    write(path)
    path.write_bytes(path.read_bytes().replace(b"/home/ada/project", b"/home/\xff\xfe\xfd/project", 1))

    async def run() -> None:
        store = await SqliteStore.open(path, rng=Random(1))
        try:
            with pytest.raises(StoreError) as error:
                await store.sessions()
            assert error.value.error_type == "corrupt"
            with pytest.raises(StoreError):
                await store.commit(step(A, 2, message="n"))
            assert store.state == "damaged"
        finally:
            await store.close()

    asyncio.run(run())


@pytest.mark.req("SQ-2")
def test_a_row_that_belongs_to_no_session_is_found_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "daemon.db"
    write(path)
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        connection.execute("DELETE FROM sessions")
    error = refused(path)
    assert isinstance(error, StoreError)
    assert error.error_type == "corrupt"
    assert "belongs to no session" in str(error)
