"""Looking at an installation changes nothing, and ends in time whatever hangs."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import apsw
import msgspec
import pytest

from betcode.adapters.sqlite import statements
from betcode.adapters.sqlite.connection import open_writer
from betcode.adapters.sqlite.schema import migrate
from betcode.adapters.survey import locks, machine, programs
from betcode.adapters.survey.database import NotLookedError, look_at_database, opened
from betcode.adapters.survey.intake import look_at_intake
from betcode.adapters.survey.sessions import look_at_folders, look_at_runs
from betcode.adapters.survey.variables import sort_out
from betcode.cli.doctor_checks import beside
from betcode.core.diagnosis import finding
from betcode.core.diagnosis.daemon import Held
from betcode.core.diagnosis.finding import Finding
from betcode.model import limits
from betcode.model.ids import SessionId
from betcode.model.rows import EventRow, Options, Transaction
from betcode.testing.sample_rows import TIME, session_row

PAGE = 4096
WRITER = """
import sys
from pathlib import Path
from betcode.adapters.sqlite.connection import open_writer
from betcode.adapters.sqlite.schema import migrate
connection = open_writer(Path(sys.argv[1]))
migrate(connection)
if sys.argv[2] == "clean":
    connection.close()
print("ready", flush=True)
sys.stdin.read()
"""


def picture(folder: Path) -> dict[str, tuple[str, int, int, int]]:
    """Content, time, size and mode of everything below a folder."""
    found = {}
    for path in folder.rglob("*"):
        state = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path)] = (content, state.st_mtime_ns, state.st_size, state.st_mode)
    return found


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "daemon.db"


def writer(database: Path, how: str) -> subprocess.Popen[bytes]:
    """Another process that has made the database and holds it open."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(database), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


@pytest.fixture
def in_use(database: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = writer(database, "open")
    yield process
    end(process)


def test_a_database_in_use_is_checked_without_a_change(database: Path, in_use: object) -> None:
    before = picture(database.parent)
    found = look_at_database(database, database.parent / "sessions", live=True, others_left=False)
    assert (found.damage, found.not_looked, found.schema, found.finished) == ("", "", found.newest_schema, True)
    assert picture(database.parent) == before


@pytest.mark.parametrize("how", ["open", "clean"])
def test_a_database_that_nobody_uses_is_checked_without_a_change(database: Path, how: str) -> None:
    end(writer(database, how))
    before = picture(database.parent)
    assert (database.with_name("daemon.db-wal") in database.parent.iterdir()) is (how == "open")
    found = look_at_database(database, database.parent / "sessions", live=False, others_left=False)
    assert (found.damage, found.not_looked, found.schema, found.finished) == ("", "", found.newest_schema, True)
    assert picture(database.parent) == before


def test_a_log_without_its_index_is_left_alone_and_said_so(database: Path) -> None:
    end(writer(database, "open"))
    database.with_name("daemon.db-shm").unlink()
    before = picture(database.parent)
    for live in (False, True):
        assert look_at_database(database, database.parent, live=live, others_left=False).not_looked
    assert picture(database.parent) == before


def test_nothing_is_made_where_there_is_no_database(tmp_path: Path) -> None:
    found = look_at_database(tmp_path / "daemon.db", tmp_path / "sessions", live=False, others_left=True)
    assert (found.exists, found.others_left) == (False, True)
    assert list(tmp_path.iterdir()) == []


def test_a_check_of_a_database_ends_when_its_time_is_over(database: Path) -> None:
    end(writer(database, "clean"))
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with opened(database, live=False, wait_s=0.05) as connection, pytest.raises(apsw.InterruptError):
        connection.execute(endless).fetchall()


def test_a_database_of_another_program_and_of_a_newer_version_are_told_apart(tmp_path: Path) -> None:
    for name, sql in (("other", "CREATE TABLE t (a)"), ("newer", "PRAGMA user_version = 99")):
        connection = apsw.Connection(str(tmp_path / name))
        connection.execute(sql)
        connection.close()
    other, newer = (look_at_database(tmp_path / n, tmp_path, live=False, others_left=False) for n in ("other", "newer"))
    assert (other.foreign, newer.foreign, newer.schema) == (True, False, 99)


def test_a_file_that_is_no_database_is_named_so(tmp_path: Path) -> None:
    (tmp_path / "daemon.db").write_bytes(b"\0" * 4096)
    found = look_at_database(tmp_path / "daemon.db", tmp_path, live=False, others_left=False)
    assert "does not begin like a database" in found.header
    with pytest.raises((apsw.Error, NotLookedError)), opened(tmp_path / "daemon.db", live=False, wait_s=1) as c:
        c.execute("SELECT * FROM sqlite_schema").fetchall()


def test_random_bytes_in_any_page_are_noticed(database: Path) -> None:
    connection = open_writer(database)
    migrate(connection)
    with connection:
        rows = Transaction(session_row(), creates=True), filled(400)
        for transaction in rows:
            statements.apply(connection, transaction)
    connection.close()
    whole = database.read_bytes()
    missed = []
    for page in range(len(whole) // PAGE):
        rubbish = hashlib.shake_128(bytes([page])).digest(PAGE)
        database.write_bytes(whole[: page * PAGE] + rubbish + whole[(page + 1) * PAGE :])
        found = look_at_database(database, database.parent / "sessions", live=False, others_left=False)
        if not (found.header or found.damage or found.bad_rows):
            missed.append(page)
    assert len(whole) // PAGE > 30
    assert missed == []
    database.write_bytes(whole)
    found = look_at_database(database, database.parent / "sessions", live=False, others_left=False)
    assert (found.damage, found.bad_rows, found.rows) == ("", (), 404), "events, the session, three rows of meta"


def filled(count: int) -> Transaction:
    """So many events of the sample session, some larger than a page."""
    rows = []
    for seq in range(1, count + 1):
        text = "word " * (3000 if seq % 100 == 0 else 40)
        body = msgspec.json.encode({"kind": "note", "epoch": 1, "seq": seq, "text": text})
        rows.append(EventRow(SessionId("aaaaaaaaaa"), 1, seq, "note", TIME, body))
    return Transaction(session_row(epoch=1, seq=count), tuple(rows))


# --- locks ----------------------------------------------------------------------------------------------------------

HOLDER = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(fd, fcntl.LOCK_EX)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A lock file and the process that holds it."""
    path = tmp_path / "lock"
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    yield path, process.pid
    end(process)


def test_a_held_lock_is_seen_with_its_holder(held: tuple[Path, int]) -> None:
    path, pid = held
    found = locks.read_locks().look(path)
    assert found.state is Held.HELD
    assert found.pids in ((pid,), ())  # a container may hide who it is


def test_a_lock_is_also_tried_where_the_system_lists_none(held: tuple[Path, int], tmp_path: Path) -> None:
    nothing = locks.Locks({}, frozenset())
    assert nothing.look(held[0]).state is Held.HELD
    (tmp_path / "free").touch()
    assert nothing.look(tmp_path / "free").state is Held.FREE


def test_a_free_lock_can_be_taken_while_it_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert locks.read_locks().look(path).state is Held.NO_FILE
    path.touch()
    fd = os.open(path, os.O_RDWR)
    try:
        assert locks.read_locks().look(path).state is Held.FREE
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert locks.read_locks().look(path).state is Held.HELD
    finally:
        os.close(fd)


def test_a_lock_that_cannot_be_looked_at_is_not_called_free(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = locks.read_locks().look(tmp_path / "file" / "lock")
    assert (found.state, bool(found.problem)) == (Held.HIDDEN, True)


# --- files ----------------------------------------------------------------------------------------------------------


def test_open_files_and_files_from_the_future_are_found(tmp_path: Path) -> None:
    (tmp_path / "intake").mkdir(mode=0o700)
    for name, mode in (("closed", 0o600), ("open", 0o644), ("intake/unreadable", 0o000)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    (tmp_path / "link").symlink_to("/etc/passwd")
    now = time.time()
    os.utime(tmp_path / "closed", (now, now + 9000))
    private, times = machine.look_through(tmp_path, now)
    assert private.open_to_others == (str(tmp_path / "open"),)
    assert private.unreadable == (str(tmp_path / "intake/unreadable"),)
    assert (private.looked_at, private.complete, private.of_others) == (4, True, ())
    assert (times.ahead_count, times.ahead_path, round(times.ahead_s)) == (1, str(tmp_path / "closed"), 9000)


@pytest.mark.req("INV-8")
def test_a_data_directory_with_very_many_files_is_not_looked_through_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DOCTOR_FILES_MAX", 3)
    for number in range(5):
        (tmp_path / str(number)).touch(mode=0o600)
    private, _ = machine.look_through(tmp_path, time.time())
    assert (private.looked_at, private.complete) == (3, False)


def test_room_and_kind_of_file_system_are_known_before_the_directory_exists(tmp_path: Path) -> None:
    missing = tmp_path / "a" / "b"
    assert machine.look_at_room("data", missing).total > 0
    assert machine.filesystem_of(missing) == machine.filesystem_of(tmp_path) != ""


def test_damage_in_the_intake_log_is_found_and_a_folder_that_is_none_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "1.log").write_bytes(b"rubbish" * 100)
    found = look_at_intake(tmp_path, live=False)
    assert [(d.segment, d.offset, d.torn_end) for d in found.damage] == [(1, 0, True)]
    assert not look_at_intake(tmp_path / "none", live=False).exists
    assert look_at_intake(tmp_path / "1.log", live=False).problem


def test_folders_of_sessions_are_read_with_what_is_in_them(tmp_path: Path) -> None:
    folder = tmp_path / "k3jqabcdef"
    folder.mkdir()
    (folder / "lock").touch()
    (folder / "3.exit").write_text('{"reason": "exited", "code": 1, "ended_unix_s": 1790000000.5}')
    (folder / "3.in").write_text('{"id": "a", "state": "intent"}\n{"id": "a", "state": "done"}\n{"id": "b", "sta')
    (folder / "4.run").write_text("not JSON")
    (folder / "3.0.out").write_bytes(b"12345")
    (folder / "rubbish").touch()
    folders, unread, hidden = look_at_folders(tmp_path)
    assert ([(f.session, f.held) for f in folders], unread, hidden) == ([("k3jqabcdef", False)], 0, [])
    runs, older = look_at_runs(folder)
    assert [(r.run, r.out_bytes, r.lines_written, r.report is None) for r in runs] == [
        (3, 5, 1, False),
        (4, 0, 0, True),
    ]
    assert (older, runs[0].ended) == (0, "2026-09-21T14:13:20.500Z")
    assert look_at_folders(tmp_path / "none") == ([], 0, [])
    assert look_at_runs(tmp_path / "none") == ([], 0)


# --- names without values -------------------------------------------------------------------------------------------


@pytest.mark.req("PS-10")
def test_names_are_sorted_into_those_that_claude_gets_and_those_kept_from_it() -> None:
    names = ["PATH", "HOME", "SECRET", "BETCODE_DATA_DIR", "CLAUDECODE", "ANTHROPIC_API_KEY", "EXTRA_1"]
    found = sort_out(names, Options(trace_id="a" * 32, virtual_env="/v"), ["EXTRA_*"])
    assert {"PATH", "HOME", "ANTHROPIC_API_KEY", "EXTRA_1"} <= set(found.gets)
    assert found.removed == ("BETCODE_DATA_DIR", "CLAUDECODE", "SECRET")
    assert {"TRACEPARENT", "VIRTUAL_ENV"} <= set(found.added)
    running = sort_out(names, Options(), [], actual=["PATH", "OLD"])
    assert (running.gets, running.added) == (("OLD", "PATH"), ("OLD",))


def test_a_login_is_found_in_claudes_files_by_the_names_of_their_members(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "ANTHROPIC_API_KEY": "secret-1"}
    assert programs.look_at_login({"HOME": str(tmp_path)}, None).files == ()
    (tmp_path / ".claude").mkdir()
    (tmp_path / ".claude/.credentials.json").write_text('{"token": "secret-2"}')
    (tmp_path / ".claude/settings.json").write_text('{"apiKeyHelper": "/bin/secret-3", "model": "x"}')
    (tmp_path / ".claude.json").write_text('{"primaryApiKey": "secret-4", "oauthAccount": null}')
    found = programs.look_at_login(env, None)
    assert found.variables == {"ANTHROPIC_API_KEY"}
    assert [name.split(" of ")[0] for name in found.files][1:] == ["apiKeyHelper", "primaryApiKey"]
    assert "secret" not in repr(found).replace(str(tmp_path), "")


# --- in time --------------------------------------------------------------------------------------------------------


def test_a_check_that_hangs_or_fails_hides_no_other() -> None:
    never = threading.Event()
    one = finding.ok("disk.data", "fine")

    def fail() -> list[Finding]:
        raise OSError("the disk is on fire")

    begun = time.monotonic()
    said = beside({"disk.data": lambda: [one], "disk.claude": never.wait, "clock.wall": fail}, begun + 0.2)
    assert time.monotonic() - begun < 60
    never.set()
    assert said["disk.data"] == [one]
    assert (said["disk.claude"].severity, "did not end" in said["disk.claude"].what) == ("warning", True)
    assert (said["clock.wall"].severity, "on fire" in said["clock.wall"].what) == ("warning", True)
    assert replace(one, what="x").id == "disk.data"
