"""The steps of a daemon's start (RS-1), with the real command."""

from __future__ import annotations

import asyncio
import json
import stat
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from betcode.model import limits
from betcode.testing.installation import Installation, installation, session_of, until

STEPS = ["configuration", "claude", "storage check and open", "intake compare", "restore", "reconcile", "server"]


def start(made: Installation) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "betcode", "daemon", "start"]
    return subprocess.run(command, env=made.env, capture_output=True, text=True, timeout=60, check=False)


async def create(made: Installation) -> None:
    """A session, so that the intake log has a record."""
    async with made.client() as client, session_of(made, client):
        pass


def log(made: Installation) -> list[dict[str, Any]]:
    return [json.loads(line) for line in made.paths.log.read_text().splitlines()]


def retries(made: Installation) -> list[dict[str, Any]]:
    return [line for line in log(made) if line["message"] == "the socket is tried again"]


@pytest.mark.req("RS-1", "OB-1")
def test_each_step_of_the_start_is_logged_with_its_duration() -> None:
    with installation() as made:
        asyncio.run(made.start_daemon())
        steps = [line for line in log(made) if "step" in line]
    assert [line["step"] for line in steps] == STEPS
    assert all(0 <= line["duration_ms"] < 60_000 for line in steps)
    assert sum(line["duration_ms"] for line in steps) > 0


@pytest.mark.req("RS-1", "INV-5")
def test_a_socket_that_cannot_be_made_is_tried_again_and_then_the_start_fails_plainly() -> None:
    with installation() as made:
        made.paths.runtime.mkdir(mode=0o700)
        made.paths.socket.mkdir()
        done = start(made)
        assert done.returncode == 2
        assert f"cannot create the socket {str(made.paths.socket)!r}" in done.stderr
        assert "hint: Look what is in its place" in done.stderr
        pauses = [line["after_s"] for line in retries(made)]
        assert len(pauses) == limits.BIND_TRIES - 1
        longest = [limits.BIND_PAUSE_FIRST_S * 2**n for n in range(len(pauses))]
        assert all(full / 2 <= pause <= full for pause, full in zip(pauses, longest, strict=True)), "they grow"
        assert [line["error_type"] for line in log(made) if line["message"] == "the daemon ends"] == ["daemon.socket"]
        asyncio.run(until(lambda: made.daemon_pid() is None, within_s=20, what="its end"))
        assert made.paths.socket.is_dir(), "nothing was removed"


@pytest.mark.req("OB-1")
def test_the_log_holds_json_alone_and_plain_words_of_a_daemon_in_the_background_have_a_file_of_their_own() -> None:
    with installation() as made:
        made.paths.config.mkdir(mode=0o700)
        made.paths.settings.write_text('{"daemon": {"slot": 3}}')
        made.paths.runtime.mkdir(mode=0o700)
        made.paths.socket.mkdir()
        assert start(made).returncode == 2
        made.paths.socket.rmdir()
        assert start(made).returncode == 0
        told = [line for line in log(made) if line["message"] == "a setting is not used as it stands"]
        assert [line["level"] for line in told] == ["warning"] * 2, "each start says it"
        assert "slot" in told[0]["detail"]
        words = made.paths.stderr.read_text().splitlines()
        assert [line.partition(":")[0] for line in words] == ["error", "hint"]
        assert stat.S_IMODE(made.paths.stderr.stat().st_mode) == 0o600


@pytest.mark.req("RS-1")
def test_a_socket_that_cannot_be_made_at_first_serves_when_the_cause_is_gone() -> None:
    with installation() as made:
        made.paths.runtime.mkdir(mode=0o700)
        made.paths.socket.mkdir()

        def clear() -> None:
            end = time.monotonic() + 60
            while time.monotonic() < end and not (made.paths.log.exists() and retries(made)):
                time.sleep(0.01)
            made.paths.socket.rmdir()

        clearing = threading.Thread(target=clear)
        clearing.start()
        done = start(made)
        clearing.join()
        assert done.returncode == 0, done.stderr
        assert made.paths.socket.is_socket()


@pytest.mark.req("SQ-2", "SQ-4", "RS-1")
def test_a_database_without_its_main_file_is_told_as_damage_and_its_log_is_kept() -> None:
    with installation() as made:
        assert start(made).returncode == 0
        made.kill_daemon()
        asyncio.run(until(lambda: made.daemon_pid() is None, within_s=20, what="its end"))
        made.paths.database.unlink()
        wal = made.paths.database.with_name("daemon.db-wal")
        before = wal.read_bytes()
        assert before
        done = start(made)
        assert done.returncode == 0
        assert "the database file is missing or empty, but its write-ahead log is not" in done.stderr
        [kept] = made.paths.data.glob("daemon.db.corrupt.*-wal")
        assert kept.read_bytes() == before
        assert made.paths.database.exists()
        told = [line for line in log(made) if line["message"] == "the database was rescued"]
        assert [line["error_type"] for line in told] == ["rescue"]


@pytest.mark.req("INV-8", "SQ-11")
def test_an_intake_log_that_has_grown_too_far_is_told_in_status_and_log_and_nothing_of_it_is_dropped() -> None:
    def status() -> str:
        command = [sys.executable, "-m", "betcode", "status"]
        return subprocess.run(command, env=made.env, capture_output=True, text=True, timeout=60, check=True).stdout

    with installation() as made:
        asyncio.run(create(made))
        assert "warning" not in status()
        made.kill_daemon()
        asyncio.run(until(lambda: made.daemon_pid() is None, within_s=20, what="its end"))
        older, newest = made.paths.intake / "1.log", made.paths.intake / "2.log"
        older.rename(newest)
        with older.open("wb") as segment:
            segment.truncate(limits.INTAKE_BYTES_TOLD)  # sparse: it takes no room
        size = limits.INTAKE_BYTES_TOLD + newest.stat().st_size
        assert start(made).returncode == 0
        assert "warning   the intake log has 1.0 GiB and is not dropped by itself" in status()
        told = [line for line in log(made) if "intake_bytes" in line]
        assert [(line["level"], line["intake_bytes"]) for line in told] == [("warning", size)]
        assert sorted(file.name for file in made.paths.intake.iterdir()) == ["1.log", "2.log"]
