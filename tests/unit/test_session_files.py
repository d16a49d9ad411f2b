"""The lock of a session is cleared of whoever still holds it."""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from betcode.adapters.session_files import SessionFiles
from betcode.keeper.tree import start_ticks


def _run_file(directory: Path, run: int, *, pid: int, start: int | None) -> None:
    fields = {"claude_pid": pid, "claude_start": start, "mark": f"nobody.{run}"}
    (directory / f"{run}.run").write_text(json.dumps(fields))


@pytest.mark.req("INV-7")
def test_a_claude_of_any_earlier_run_is_ended_when_it_holds_the_lock(tmp_path: Path) -> None:
    files = SessionFiles(tmp_path)
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[lock]) as late:
        os.close(lock)
        _run_file(tmp_path, 3, pid=late.pid, start=start_ticks(late.pid))
        _run_file(tmp_path, 5, pid=late.pid, start=1)  # ended long ago; its pid belongs to somebody else by now
        (tmp_path / "6.in").touch()
        (tmp_path / "x.run").touch()
        assert not files.lock_is_free()
        files.kill_leftovers(8)
        assert late.wait(timeout=10) != 0
    assert files.lock_is_free()


def test_a_session_without_a_directory_has_nothing_to_end(tmp_path: Path) -> None:
    assert SessionFiles(tmp_path / "nowhere").kill_leftovers(9) == []
