"""Processes are found by parent and by mark, and only the very process that was listed is killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from betcode.keeper.tree import MARK_NAME, Process, find_tree, has_mark, kill, kill_tree, start_ticks
from betcode.testing.keeper_process import is_running, wait_until

SLEEP = "import time; time.sleep(600)"
# A double fork into another session: no parent leads to the grandchild, only the mark does.
ORPHAN = f"""
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1] + ".new", "w").write(str(os.getpid()))
        os.rename(sys.argv[1] + ".new", sys.argv[1])
        {SLEEP}
    os._exit(0)
{SLEEP}
"""


@pytest.fixture
def mark(tmp_path: Path) -> str:
    return f"{tmp_path.name}-{os.getpid()}"


@pytest.fixture
def orphan(tmp_path: Path, mark: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A marked process and the pid of a marked orphan it left."""
    command = [sys.executable, "-I", "-S", "-c", ORPHAN, str(tmp_path / "pid")]
    with subprocess.Popen(command, env={MARK_NAME: mark}) as parent:
        wait_until((tmp_path / "pid").exists, what="the orphan")
        pid = int((tmp_path / "pid").read_text())
        yield parent, pid
        parent.kill()
        if is_running(pid):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.req("PS-11")
def test_the_mark_finds_what_has_left_its_parent(orphan: tuple[subprocess.Popen[bytes], int], mark: str) -> None:
    parent, pid = orphan
    found = {process.pid for process in find_tree(parent.pid, mark)}
    assert pid in found
    assert parent.pid not in found
    assert os.getpid() not in found
    assert pid not in {process.pid for process in find_tree(parent.pid, mark + "x")}


@pytest.mark.req("PS-11")
def test_a_mark_is_compared_whole(orphan: tuple[subprocess.Popen[bytes], int], mark: str) -> None:
    _, pid = orphan
    assert has_mark(pid, mark)
    assert not has_mark(pid, mark[:-1])
    assert not has_mark(pid, mark + "0")
    assert not has_mark(os.getpid(), mark)


@pytest.mark.req("PS-11")
def test_the_tree_is_killed_to_the_last_process_and_the_root_is_spared(
    orphan: tuple[subprocess.Popen[bytes], int], mark: str
) -> None:
    parent, pid = orphan
    assert kill_tree(parent.pid, mark) == [pid]
    wait_until(lambda: not is_running(pid), what="the end of the orphan")
    assert parent.poll() is None
    assert kill_tree(parent.pid, mark) == []


@pytest.mark.req("PS-11")
def test_a_number_that_belongs_to_another_process_by_now_is_not_killed() -> None:
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", SLEEP]) as process:
        start = start_ticks(process.pid)
        assert start is not None
        assert not kill(Process(process.pid, os.getpid(), start - 1), signal.SIGKILL)
        assert process.poll() is None
        assert kill(Process(process.pid, os.getpid(), start), signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not kill(Process(process.pid, os.getpid(), start), signal.SIGKILL)
