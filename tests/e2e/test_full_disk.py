"""A disk that gets full under the real daemon and the real claude: nothing is lost, killed or acknowledged falsely."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import betcode
from betcode.testing.installation import words

CHILD = Path(__file__).with_name("full_disk_child.py")
SIZE = "96m"
"""Room for a claude, its transcripts and the reserve of a keeper."""


def on_a_small_disk(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the scene in a mount namespace of its own, whose temporary directory is a disk of 96 MB."""
    env = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(Path(betcode.__file__).parent.parent)}
    mount = f"mount -t tmpfs -o size={SIZE},mode=0700 tmpfs {folder} && exec {sys.executable} {CHILD}"
    argv = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount]
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=110, check=False)


def may_mount(folder: Path) -> bool:
    """Whether this machine lets a user have a small disk."""
    argv = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", str(folder)]
    try:
        return subprocess.run(argv, capture_output=True, timeout=10, check=False).returncode == 0
    except OSError:
        return False


@pytest.mark.req("SQ-9", "SQ-11")
def test_a_full_disk_acknowledges_nothing_loses_nothing_and_all_goes_on_when_there_is_room(tmp_path: Path) -> None:
    if not may_mount(tmp_path):
        print("no small disk can be had here; tests/faults has the full disk of the store and of the keeper")
        return
    done = on_a_small_disk(tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    print(seen)
    status, said = seen["refused"]
    assert status == 7, "not acknowledged"
    assert "disk" in said
    assert "room" in said, "it says what to do"
    assert seen["state"] in ("degraded", "ok")
    assert seen["same_daemon"]
    assert seen["answers"] == ["before", words(60), "after"]
    assert seen["whole"]
    assert seen["requests"] == 3, "nothing was asked twice"
