"""A keeper whose session folder is removed, or which left things behind when it was killed."""

import os
import shutil
import signal
from collections.abc import Iterator
from errno import ENOENT
from pathlib import Path

import pytest

from betcode.adapters.session_files import SessionFiles
from betcode.keeper.tree import start_ticks
from betcode.testing.keeper_process import is_running, scripted_child, wait_until

WAITS = "import time\nprint('ready', flush=True)\ntime.sleep(600)"
PRINTS = "import sys\nprint('ready', flush=True)\nfor line in sys.stdin: print(line * 20, flush=True)"


@pytest.fixture
def session_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a short name: the path of a socket has 107 bytes at most."""
    path = tmp_path_factory.mktemp("h")
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.mark.req("PS-11")
@pytest.mark.parametrize("daemon", ["no daemon", "an attached daemon"])
def test_a_keeper_whose_folder_is_gone_ends_once_its_claude_is_dead(session_dir: Path, daemon: str) -> None:
    with scripted_child(session_dir, WAITS, cwd="/") as keeper:
        link = keeper.link().attach()
        link.until(lambda: link.out, what="ready")
        if daemon == "no daemon":
            link.close()
        shutil.rmtree(session_dir)
        os.kill(keeper.claude_pid, signal.SIGKILL)
        wait_until(lambda: not is_running(keeper.keeper_pid), what="the end of the keeper")
        if daemon != "no daemon":
            link.until(lambda: link.exit, what="the report, which fits nowhere else")
            assert link.exit is not None
            assert link.exit["signal"] == signal.SIGKILL


@pytest.mark.req("INV-7")
@pytest.mark.req("PS-11")
def test_a_claude_that_no_daemon_can_find_any_more_is_ended(session_dir: Path) -> None:
    with scripted_child(session_dir, WAITS, cwd="/") as keeper:
        link = keeper.link().attach()
        link.until(lambda: link.out, what="ready")
        shutil.rmtree(session_dir)
        assert link.ping()["journal_blocked"] == ENOENT
        assert is_running(keeper.claude_pid)
        link.close()
        wait_until(lambda: not is_running(keeper.claude_pid), what="the end of claude")
        wait_until(lambda: not is_running(keeper.keeper_pid), what="the end of the keeper")


@pytest.mark.req("PS-11")
def test_a_journal_that_cannot_go_on_in_a_removed_folder_does_not_hold_the_keeper_for_ever(session_dir: Path) -> None:
    with scripted_child(session_dir, PRINTS, cwd="/", segment_bytes=64) as keeper:
        link = keeper.link().attach()
        link.until(lambda: link.out, what="ready")
        shutil.rmtree(session_dir)
        link.write("a", b"x" * 200)
        link.until(lambda: any(b["journal_blocked"] == ENOENT for b in link.beats), what="the news that it is blocked")
        os.kill(keeper.claude_pid, signal.SIGKILL)
        wait_until(lambda: not is_running(keeper.keeper_pid), what="the end of the keeper")


@pytest.mark.req("INV-8")
def test_the_reserves_of_killed_keepers_are_freed_by_the_next_one(session_dir: Path) -> None:
    for run in (1, 2):
        with scripted_child(session_dir, WAITS, run=run) as keeper:
            wait_until(keeper.path("reserve").exists, what="the reserve")
            wait_until(lambda: len(list(session_dir.glob("*.reserve"))) == 1, what="the end of the other reserve")
            keeper.signal(signal.SIGKILL)
            wait_until(lambda: not is_running(keeper.claude_pid), what="the end of claude")


@pytest.mark.req("INV-7")
def test_the_holder_of_the_lock_is_found_whatever_run_it_belongs_to(session_dir: Path) -> None:
    files = SessionFiles(session_dir)
    with scripted_child(session_dir, WAITS, run=3) as keeper:
        assert not files.lock_is_free()
        assert keeper.claude_pid in files.kill_leftovers(5)
        wait_until(files.lock_is_free, what="the lock")


@pytest.mark.req("INV-7")
def test_a_keeper_that_was_stopped_is_ended_with_its_claude(session_dir: Path) -> None:
    files = SessionFiles(session_dir)
    with scripted_child(session_dir, WAITS) as keeper:
        keeper.signal(signal.SIGSTOP)
        files.kill_leftovers(1)
        assert not files.lock_is_free()
        assert files.kill_keepers(1) == [keeper.keeper_pid]
        wait_until(files.lock_is_free, what="the lock")


@pytest.mark.req("INV-7")
def test_a_claude_whose_folder_is_gone_is_found_by_its_mark(session_dir: Path) -> None:
    files = SessionFiles(session_dir)
    with scripted_child(session_dir, WAITS, cwd="/", mark=files.mark(1)) as keeper:
        link = keeper.link().attach()
        link.until(lambda: link.out, what="ready")
        shutil.rmtree(session_dir)
        assert files.is_gone()
        assert keeper.claude_pid in files.kill_leftovers(1)
        wait_until(lambda: start_ticks(keeper.claude_pid) is None, what="the end of claude")
