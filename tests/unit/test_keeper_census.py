"""The processes of a run are found and measured, whoever their parent is by now, and no other is (PS-9)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from betcode.keeper.census import kib, memory_of, plain
from betcode.keeper.limits import MIB, PROCESS_NAME_CHARS_MAX
from betcode.testing.keeper_process import wait_until

ROOT = """
import json, os, sys, time
sys.path.insert(0, sys.argv[1])
from betcode.keeper.child import become_subreaper
from betcode.keeper.census import Census
become_subreaper()
census = Census(os.getpid())
def look():
    now = time.monotonic()
    print(json.dumps([[u.pid, u.name, u.size] for u in census.used(now)]), flush=True)
for line in sys.stdin:
    if line == "spawn\\n":
        census.used(time.monotonic())
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                held = bytearray(b"x") * (30 << 20)
                print(json.dumps(os.getpid()), flush=True)
                time.sleep(600)
            os._exit(0)
        os.wait()
    else:
        look()
"""
"""The root of a tree: it looks at its processes, and leaves one whose parent has ended."""


@pytest.fixture
def root() -> Iterator[subprocess.Popen[str]]:
    source = str(Path(__file__).resolve().parents[2] / "src")
    command = [sys.executable, "-I", "-S", "-c", ROOT, source]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def said(process: subprocess.Popen[str], line: str) -> object:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


@pytest.mark.req("PS-9")
def test_a_process_whose_parent_has_ended_is_found_also_if_it_came_after_the_first_look(
    root: subprocess.Popen[str],
) -> None:
    assert said(root, "look") == []
    for count in (1, 2):
        pid = said(root, "spawn")
        found = said(root, "look")
        assert isinstance(found, list)
        assert len(found) == count
        [(name, size)] = [(name, size) for at, name, size in found if at == pid]
        assert name.startswith("python")
        assert 30 * MIB < size < 60 * MIB
        assert root.pid not in [at for at, _, _ in found]
    assert isinstance(found, list)
    for at, _, _ in found:
        subprocess.run(["/bin/kill", "-9", str(at)], check=True)
    wait_until(lambda: said(root, "look") == [], what="nothing but zombies")


@pytest.mark.req("PS-9")
def test_memory_is_measured_with_and_without_what_is_shared_and_what_has_ended_has_none() -> None:
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE) as process:
        share, whole = memory_of(process.pid, exactly=True), memory_of(process.pid)  # it may still grow
        assert whole is not None
        assert share is not None
        assert 0 < share.size <= whole.size
        process.kill()
    assert memory_of(process.pid) is None
    assert memory_of(process.pid, exactly=True) is None


@pytest.mark.req("PS-9", "SE-4")
def test_the_name_that_a_process_gives_itself_is_plain_and_short() -> None:
    assert plain("py\x1b[31m\u202ethon\n") == "py?[31m?thon"
    assert len(plain("x" * 1_000)) == PROCESS_NAME_CHARS_MAX
    assert kib(b"Name:\ta\nVmRSS:\t  12 kB\n", b"\nVmRSS:") == 12 * 1024
    assert kib(b"Name:\tVmRSS: 7\n", b"\nVmRSS:") == 0
