"""`betcode doctor` as people run it: healthy, without a daemon, and with one thing broken at a time."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from betcode.model import limits
from betcode.testing.command import Command, Ended
from betcode.testing.installation import Installation, installation, scripted

ENOUGH_S = limits.DOCTOR_CHECK_WAIT_S + 40
"""For a doctor that met something that hangs, on a busy machine."""


@pytest.fixture
def made() -> Iterator[Installation]:
    with installation() as one:
        yield one


@pytest.fixture
def betcode(made: Installation) -> Command:
    return Command(made.env, made.project)


def examined(ended: Ended) -> dict[str, dict[str, str]]:
    """Findings by id; their shape and the exit status hold for each."""
    findings = ended.json()
    assert isinstance(findings, list)
    for one in findings:
        assert list(one) == ["id", "severity", "what", "hint"]
        assert one["severity"] in ("ok", "info", "warning", "error")
        assert one["what"]
        assert one["hint"] or one["severity"] in ("ok", "info"), one
    has_error = any(one["severity"] == "error" for one in findings)
    assert (ended.status, ended.err) == (1 if has_error else 0, ""), ended
    return {one["id"]: one for one in findings}


def errors(found: dict[str, dict[str, str]]) -> set[str]:
    return {one["id"] for one in found.values() if one["severity"] == "error"}


def look(betcode: Command) -> dict[str, dict[str, str]]:
    return examined(betcode("doctor", "--json", limit_s=ENOUGH_S))


def picture(made: Installation) -> dict[str, Any]:
    """Everything in the home of the installation: content, time and mode."""
    found: dict[str, Any] = {}
    for path in made.home.rglob("*"):
        state = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path)] = (content, state.st_mtime_ns, state.st_mode)
    return found


def with_session(betcode: Command) -> str:
    """The id of a session that has answered once."""
    return betcode.session_of(betcode("run", "--output-format", "json", scripted("hello", {"words": 5})))


@pytest.mark.req("SE-1")
def test_a_healthy_installation_has_no_trouble(betcode: Command) -> None:
    with_session(betcode)
    found = look(betcode)
    assert errors(found) == set()
    for name in (
        *("installation.python", "claude.found", "claude.version", "claude.login", "directories.data"),
        *("directories.files", "config.settings", "daemon.lock", "daemon.running", "daemon.version"),
        *("database.state", "database.check", "database.schema", "intake.readable", "sessions.leftovers", "clock.wall"),
    ):
        assert found[name]["severity"] == "ok", found[name]
    shown = betcode("doctor")
    assert (shown.status, shown.err) == (0, "")
    assert shown.out.splitlines()[0] == "installation"
    assert shown.out.splitlines()[-1].endswith("0 errors")
    assert betcode.env["ANTHROPIC_API_KEY"] not in shown.out


def test_it_changes_nothing_and_starts_nothing_before_the_first_use(betcode: Command, made: Installation) -> None:
    before = picture(made)
    found = look(betcode)
    assert errors(found) == set()
    assert found["daemon.running"]["hint"] == "betcode daemon start"
    assert picture(made) == before
    assert betcode("status").status == 2


def test_it_changes_nothing_after_the_daemon_was_killed_and_while_it_runs(betcode: Command, made: Installation) -> None:
    session = with_session(betcode)
    betcode("daemon", "stop", "--stop-sessions")
    betcode("daemon", "start")
    before = picture(made)
    for words in (["doctor"], ["doctor", "session", session], ["doctor", "env", session]):
        assert betcode(*words).status == 0
    assert picture(made) == before, "beside a daemon"
    made.kill_daemon()
    before = picture(made)
    found = look(betcode)
    for words in (["doctor", "session", session], ["doctor", "env", session]):
        assert betcode(*words).status == 0
    assert picture(made) == before, "after its death"
    assert (errors(found), found["daemon.running"]["severity"]) == (set(), "info")
    assert str(made.paths.socket) in found["daemon.running"]["what"], "the stale socket is named"
    assert betcode("status").status == 2


@pytest.mark.req("PS-12")
def test_a_claude_that_is_missing_or_too_old_is_an_error(betcode: Command, tmp_path: Path) -> None:
    missing = look(betcode.with_env(BETCODE_CLAUDE=str(tmp_path / "none")))
    assert (errors(missing), missing["claude.found"]["hint"]) == ({"claude.found"}, 'pip install "betcode[claude]"')
    old = tmp_path / "claude"
    old.write_text("#!/bin/sh\necho '1.0.0 (Claude Code)'\n")
    old.chmod(0o755)
    assert errors(look(betcode.with_env(BETCODE_CLAUDE=str(old)))) == {"claude.version"}
    old.write_text("#!/bin/sh\necho no version\n")
    assert errors(look(betcode.with_env(BETCODE_CLAUDE=str(old)))) == {"claude.version"}


def test_without_any_login_it_warns(betcode: Command) -> None:
    betcode.env.pop("ANTHROPIC_API_KEY")
    assert look(betcode)["claude.login"]["severity"] in ("warning", "info")


@pytest.mark.req("SE-1")
def test_a_directory_that_is_open_to_others_is_closed_by_the_command_it_names(
    betcode: Command, made: Installation
) -> None:
    with_session(betcode)
    made.paths.data.chmod(0o755)
    (made.paths.intake / "1.log").chmod(0o644)
    found = look(betcode)
    assert errors(found) == {"directories.data"}
    assert found["directories.files"]["severity"] == "warning"
    for name in ("directories.data", "directories.files"):
        assert os.system(found[name]["hint"]) == 0
    assert errors(look(betcode)) == set()
    assert look(betcode)["directories.files"]["severity"] == "ok"


def test_a_directory_that_cannot_be_read_or_is_none_is_an_error(betcode: Command, made: Installation) -> None:
    made.paths.data.mkdir(mode=0o700)
    made.paths.data.chmod(0o000)
    assert errors(look(betcode)) >= {"directories.data"}
    made.paths.data.chmod(0o700)
    made.paths.data.rmdir()
    made.paths.data.write_text("a file")
    assert errors(look(betcode)) >= {"directories.data"}
    made.paths.data.unlink()
    made.paths.data.symlink_to(made.paths.data)  # a link to itself cannot be followed
    assert errors(look(betcode)) >= {"directories.data"}


@pytest.mark.req("CF-1")
def test_broken_settings_and_impossible_directories_stop_no_other_check(betcode: Command, made: Installation) -> None:
    with_session(betcode)
    made.paths.settings.write_text('{"daemon": {\n  "connections_max": 47110}}')
    found = look(betcode)
    assert errors(found) == {"config.settings"}
    assert f"{made.paths.settings}:2:" in found["config.settings"]["what"]
    assert found["database.check"]["severity"] == "ok"
    nowhere = look(betcode.with_env(BETCODE_DATA_DIR="~no-such-user-here/data"))
    assert (errors(nowhere), nowhere["claude.version"]["severity"]) == ({"directories.paths"}, "ok")


# --- damage -----------------------------------------------------------------------------------------------------------


def without_page(whole: bytes, number: int) -> bytes:
    """The file with random bytes in the place of one page."""
    rubbish = hashlib.shake_128(b"seed").digest(4096)
    return whole[: number * 4096] + rubbish + whole[(number + 1) * 4096 :]


def test_a_damaged_database_is_an_error_and_the_session_is_still_told_of(betcode: Command, made: Installation) -> None:
    session = with_session(betcode)
    assert betcode("run", "--resume", session, scripted("more", {"words": 3000})).status == 0
    assert betcode("daemon", "stop", "--stop-sessions").status == 0
    whole = made.paths.database.read_bytes()
    root = 3  # of the table of sessions, behind the schema and `meta` with its index
    damages = {
        "header zeroed": (b"\0" * 100 + whole[100:], {"database.file"}),
        "cut in its header": (whole[:60], {"database.check"}),
        "cut in half": (whole[: len(whole) // 2], {"database.check"}),
        "a random page": (without_page(whole, root), {"database.check"}),
        "letters flipped": (whole.replace(b"w10 w11", b"w10 W11", 1), {"database.rows"}),
        "none": (whole, set()),
    }
    for name, (content, expected) in damages.items():
        made.paths.database.write_bytes(content)
        before = picture(made)
        assert errors(look(betcode)) == expected, name
        told = betcode("doctor", "session", session)
        assert session in told.out, (name, told)
        assert betcode("doctor", "env", session).status in (0, 7), name
        assert picture(made) == before, name


def test_an_empty_database_beside_a_full_log_is_an_error(betcode: Command, made: Installation) -> None:
    session = with_session(betcode)
    made.kill_daemon()
    assert made.paths.database.with_name("daemon.db-wal").stat().st_size
    made.paths.database.write_bytes(b"")
    found = look(betcode)
    assert (errors(found), "write-ahead log" in found["database.file"]["what"]) == ({"database.file"}, True)
    told = betcode("doctor", "session", "--json", session)
    assert (told.status, told.json()["source"], told.json()["session"]["id"]) == (1, "files", session)


def test_the_command_for_a_damaged_database_brings_back_what_was_acknowledged(
    betcode: Command, made: Installation
) -> None:
    session = with_session(betcode)
    assert betcode("daemon", "stop", "--stop-sessions").status == 0
    made.paths.database.write_bytes(b"\0" * 4096)
    hint = look(betcode)["database.file"]["hint"]
    path = f"{Path(betcode.argv()[0]).parent}:{betcode.env['PATH']}"
    mended = Command({**betcode.env, "PATH": path}, betcode.directory)
    for part in hint.replace("; ", " && ").split(" && "):
        words = part.split(" ")
        done = mended(*words[1:])
        # A state that was shown after the last thing that claude printed is in no other file: its loss is told.
        told = "what claude printed then is read again from its journal" in done.out
        assert words[0] == "betcode", part
        assert done.status == (1 if told else 0), f"{part}: {done.out} {done.err}"
    assert errors(look(betcode)) == set()
    mended("daemon", "stop", "--stop-sessions")
    assert b"w3 w4" in made.paths.database.read_bytes(), "the answer"
    assert session in betcode("sessions", "list").out


def test_a_database_that_lost_its_end_is_found_by_the_marks(betcode: Command, made: Installation) -> None:
    session = with_session(betcode)
    betcode("daemon", "stop", "--stop-sessions")
    old = made.paths.database.read_bytes()
    betcode("run", "--resume", session, scripted("again", {"words": 5}))
    betcode("daemon", "stop", "--stop-sessions")
    made.paths.database.write_bytes(old)
    found = look(betcode)
    assert (errors(found), session in found["database.behind"]["what"]) == ({"database.behind"}, True)
    assert betcode("daemon", "start").status == 0
    assert errors(look(betcode)) == set(), "the next start mends it, as it says"


def test_a_damaged_intake_log_is_an_error_and_a_torn_end_is_none(betcode: Command, made: Installation) -> None:
    with_session(betcode)
    betcode("daemon", "stop", "--stop-sessions")
    log = made.paths.intake / "1.log"
    whole = log.read_bytes()
    log.write_bytes(whole[:40] + b"XXXX" + whole[44:])
    found = look(betcode)
    assert errors(found) == {"intake.readable"}
    assert f"mv {log} {log}.damaged" in found["intake.readable"]["hint"]
    content = whole.rstrip(b"\0")
    log.write_bytes(content[:-10])
    assert look(betcode)["intake.end"]["severity"] == "info"


# --- processes --------------------------------------------------------------------------------------------------------


@pytest.mark.limit(300)
def test_a_daemon_that_hangs_does_not_hang_the_doctor(betcode: Command, made: Installation) -> None:
    session = with_session(betcode)
    pid = made.daemon_pid()
    assert pid
    os.kill(pid, signal.SIGSTOP)
    try:
        found = look(betcode)
        assert errors(found) == {"daemon.running"}
        assert found["daemon.running"]["hint"] == f"kill -9 {pid}; betcode daemon start"
        assert found["database.check"]["severity"] == "ok"
        told = betcode("doctor", "session", "--json", session, limit_s=ENOUGH_S).json()
        assert (told["source"], told["now"]["command"]) == ("database", "betcode daemon start")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert errors(look(betcode)) == set()


def test_a_claude_that_hangs_does_not_hang_the_doctor(betcode: Command, tmp_path: Path) -> None:
    slow = tmp_path / "claude"
    slow.write_text("#!/bin/sh\nexec sleep 1000\n")
    slow.chmod(0o755)
    begun = time.monotonic()
    found = look(betcode.with_env(BETCODE_CLAUDE=str(slow)))
    assert time.monotonic() - begun < ENOUGH_S
    assert found["claude.version"]["severity"] == "error"
    assert found["installation.python"]["severity"] == "ok"


def test_a_socket_that_nobody_serves_and_one_that_is_none_are_told_apart(betcode: Command, made: Installation) -> None:
    made.paths.runtime.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(made.paths.socket))
        made.paths.socket.chmod(0o600)
    assert look(betcode)["daemon.running"]["severity"] == "info"
    made.paths.socket.unlink()
    made.paths.socket.write_text("a file")
    assert "daemon.socket" in errors(look(betcode))


def test_the_socket_of_a_keeper_that_was_killed_is_named_with_the_command_that_removes_it(
    betcode: Command, made: Installation
) -> None:
    session = with_session(betcode)
    [run] = made.runs()
    os.kill(run["keeper_pid"], signal.SIGKILL)
    end = time.monotonic() + 60
    while "sessions.sockets" not in (found := look(betcode)):
        assert time.monotonic() < end, found
    assert (made.paths.sessions / session / "keeper.sock").exists()
    assert os.system(found["sessions.sockets"]["hint"]) == 0
    assert look(betcode)["sessions.leftovers"]["severity"] == "ok"


def test_a_daemon_of_another_version_is_a_warning(betcode: Command) -> None:
    betcode("daemon", "start")
    older = "import sys, betcode; betcode.__version__ = '0.0.9'; from betcode.cli import main; sys.exit(main.main())"
    argv = betcode.argv()
    found = _run(betcode, [argv[0], "-P", "-c", older, "doctor", "--json"])
    assert found["daemon.version"]["severity"] == "warning"
    assert found["daemon.version"]["hint"] == "betcode daemon upgrade"


def _run(betcode: Command, argv: list[str]) -> dict[str, dict[str, str]]:
    import subprocess

    done = subprocess.run(argv, env=betcode.env, capture_output=True, timeout=ENOUGH_S, check=False)
    return examined(Ended(done.returncode, done.stdout.decode(), done.stderr.decode()))


@pytest.mark.req("PS-11")
def test_sessions_without_a_daemon_and_orphans_beside_one_are_found(betcode: Command, made: Installation) -> None:
    session = with_session(betcode)
    made.kill_daemon()
    found = look(betcode)
    assert (found["sessions.waiting"]["severity"], session in found["sessions.waiting"]["what"]) == ("info", True)
    [run] = made.runs()
    for ending in ("", "-wal", "-shm"):
        made.paths.database.with_name(f"daemon.db{ending}").unlink()
    for left in (*made.paths.intake.iterdir(), *made.paths.sessions.glob("*/mark")):  # or it would come back
        left.unlink()
    betcode("daemon", "start")
    found = look(betcode)
    assert found["sessions.orphan"]["hint"] == f"kill {run['keeper_pid']}"
    os.kill(run["keeper_pid"], signal.SIGTERM)
    end = time.monotonic() + 60
    while "sessions.orphan" in look(betcode):
        assert time.monotonic() < end
