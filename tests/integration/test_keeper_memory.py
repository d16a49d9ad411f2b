"""A real keeper over a claude whose tools use too much: warned, ended with its tree, and told what it was (PS-9)."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from betcode.keeper.limits import FILES_HARD_MAX, FILES_MAX, MIB
from betcode.testing.keeper_process import is_running, scripted_child, wait_until

HOG = """
import os, subprocess, sys, time
print("ready", flush=True)
eat = '''
import os, sys, time
held = b"x" * (int(sys.argv[1]) << 20)
open("pid", "w").write(str(os.getpid()))
time.sleep(600)
'''
for line in sys.stdin:
    subprocess.Popen([sys.executable, "-I", "-S", "-c", eat, line])
    print("started", flush=True)
"""
"""Each line of stdin is a number of MiB that one more tool uses."""

SHARED = """
import os, sys, time
print("ready", flush=True)
sys.stdin.readline()
held = bytearray(b"x") * (48 << 20)
for _ in range(4):
    if os.fork() == 0: time.sleep(600)
print("forked", flush=True)
sys.stdin.readline()
"""
"""Five processes that share the same 48 MiB."""

GREEDY = """
import os, resource, subprocess, sys
limits = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))    # as claude does
print(*limits, flush=True)
take = '''
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
taken = []
try:
    while True: taken.append(os.open("/dev/null", os.O_RDONLY))
except OSError as error:
    print(taken[-1] + 1, error.strerror, flush=True)
'''
for line in sys.stdin:
    subprocess.run([sys.executable, "-I", "-S", "-c", take, line], stdin=subprocess.DEVNULL)
    print(resource.getrlimit(resource.RLIMIT_NOFILE), flush=True)
"""
"""For each line a tool takes as many files as it gets, after it has set its own limit to this number."""


@pytest.fixture
def session_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a short name: the path of a socket has 107 bytes at most."""
    path = tmp_path_factory.mktemp("m")
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.mark.req("PS-9")
def test_a_tool_that_uses_too_much_is_warned_of_and_then_ended_with_its_claude_and_the_report_names_it(
    session_dir: Path,
) -> None:
    with scripted_child(session_dir, HOG, memory_bytes_max=64 * MIB) as keeper:
        link = keeper.link().attach()
        link.until(lambda: b"ready" in link.out, what="ready")
        wait_until(lambda: _memory(link.ping())["base"], what="the base")
        assert not _memory(link.beats[-1])["high"]
        link.write("a", b"58")
        link.until(lambda: any(_memory(beat)["high"] for beat in link.beats), what="the warning")
        assert is_running(keeper.claude_pid)
        wait_until((session_dir / "pid").exists, what="the tool")
        first = int((session_dir / "pid").read_text())
        link.write("b", b"200")
        link.until(lambda: link.exit, what="EXIT")
        report = keeper.report()
        assert (report["reason"], report["signal"]) == ("memory", signal.SIGKILL)
        memory = _memory(report)
        assert memory["used"] >= memory["limit"] == memory["base"] + 64 * MIB
        assert memory["base"] < 32 * MIB
        most = memory["most"][0]
        assert most[1].startswith("python")
        assert most[2] > 58 * MIB
        assert most[0] not in (keeper.claude_pid, keeper.keeper_pid)
        assert not is_running(first)


@pytest.mark.req("PS-9", "PS-6")
def test_the_limit_holds_while_no_daemon_is_there(session_dir: Path) -> None:
    with scripted_child(session_dir, HOG, memory_bytes_max=64 * MIB) as keeper:
        link = keeper.link().attach()
        link.until(lambda: b"ready" in link.out, what="ready")
        link.write("a", b"300")
        link.ack("a")
        link.close()
        assert keeper.report()["reason"] == "memory"


@pytest.mark.req("PS-9")
def test_memory_that_several_processes_share_is_counted_once(session_dir: Path) -> None:
    with scripted_child(session_dir, SHARED, memory_bytes_max=96 * MIB) as keeper:
        link = keeper.link().attach()
        link.until(lambda: b"ready" in link.out, what="ready")
        wait_until(lambda: _memory(link.ping())["base"], what="the base")
        link.write("a", b"go")
        link.until(lambda: b"forked" in link.out, what="the processes")
        wait_until(lambda: len(_memory(link.ping())["most"]) == 5, what="a look at all five")
        for _ in range(3):
            memory = _memory(link.ping())
            assert 48 * MIB <= memory["used"] < memory["limit"]
        assert is_running(keeper.claude_pid)


@pytest.mark.req("PS-9", "INV-4")
def test_a_tool_that_takes_files_is_refused_at_the_limit_and_nobody_else_is(session_dir: Path) -> None:
    with scripted_child(session_dir, GREEDY) as keeper:
        link = keeper.link().attach()
        link.until(lambda: b"\n" in link.out, what="the limits at the start")
        assert link.out.decode().split() == [str(FILES_MAX), str(FILES_HARD_MAX)]
        wait_until(lambda: _memory(link.ping())["base"], what="the look after its first answer")
        for wanted in (FILES_MAX, FILES_HARD_MAX):
            seen = len(link.out)
            link.write(str(wanted), str(wanted).encode())
            link.until(lambda: link.out.endswith(b")\n") and len(link.out) > seen, what="the refusal")  # noqa: B023
            assert link.out[seen:].decode().splitlines() == [
                f"{wanted} Too many open files",
                str((FILES_MAX, FILES_HARD_MAX)),  # of claude, which had raised its own
            ]


def _memory(fields: dict[str, object]) -> dict[str, Any]:
    memory = fields["memory"]
    assert isinstance(memory, dict)
    return memory
