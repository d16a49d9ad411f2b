"""State files of claude processes: who lives and works on a conversation, and who is only remembered."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from betcode.adapters.other_claudes import others
from betcode.keeper.tree import start_ticks
from betcode.model import limits
from betcode.model.other_claude import OtherClaude

NAME = "848f2f36-526d-4392-92c0-d7b4aab54390"
SELF = os.getpid()


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    (tmp_path / ".claude" / "sessions").mkdir(parents=True)
    return {"HOME": str(tmp_path)}


def note(env: dict[str, str], pid: int, **changes: Any) -> Path:
    """The state file of a claude with the start time of the process `pid`."""
    state = {"pid": pid, "sessionId": NAME, "cwd": "/home/user/project", "startedAt": 1795600317663}
    state |= {"procStart": str(start_ticks(pid)), "version": "2.1.330", "entrypoint": "cli"}
    path = Path(env["HOME"], ".claude", "sessions", f"{pid}.json")
    path.write_text(json.dumps(state | changes))
    return path


@pytest.mark.req("INV-7")
def test_a_living_process_on_the_conversation_is_told_with_what_it_says_of_itself(env: dict[str, str]) -> None:
    note(env, SELF)
    assert others(env, NAME, ()) == (
        OtherClaude(SELF, "/home/user/project", "cli", "2.1.330", 1795600317.663),
    )  # fmt: skip
    assert others(env, "another conversation", ()) == ()
    assert others(env, NAME, {SELF}) == (), "ours"


@pytest.mark.req("INV-7")
def test_a_process_without_a_start_time_counts_while_its_pid_lives(env: dict[str, str]) -> None:
    note(env, SELF, procStart=None)
    assert [other.pid for other in others(env, NAME, ())] == [SELF]


@pytest.mark.req("INV-7")
def test_a_file_left_behind_is_no_process(env: dict[str, str]) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        note(env, process.pid)
        assert [other.pid for other in others(env, NAME, ())] == [process.pid]
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it is dead, and a zombie
        assert others(env, NAME, ()) == ()
    assert others(env, NAME, ()) == ()


@pytest.mark.req("INV-7")
def test_the_next_owner_of_a_pid_is_not_taken_for_the_claude_that_had_it(env: dict[str, str]) -> None:
    note(env, SELF, procStart="1")
    assert others(env, NAME, ()) == ()


@pytest.mark.req("INV-7")
@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"\0" * 100, b"x" * 1_000_000, b'{"sessionId": 7}', b'{"procStart": {}}']
)
def test_a_file_that_cannot_be_read_says_nothing(env: dict[str, str], data: bytes) -> None:
    note(env, SELF).write_bytes(data)
    assert others(env, NAME, ()) == ()


def test_odd_fields_cost_only_themselves(env: dict[str, str]) -> None:
    values: list[Any] = [None, 7, [], {}, 10**400, -1, True]
    for odd in values:
        note(env, SELF, cwd=odd, startedAt=odd, version=odd)
        (found,) = others(env, NAME, ())
        assert (found.pid, found.directory, found.version, found.entrypoint) == (SELF, "", "", "cli")


def test_other_names_in_the_folder_are_passed_over(env: dict[str, str]) -> None:
    folder = note(env, SELF).parent
    for name in (
        "x.json",
        ".json",
        "-1.json",
        "0.json",
        "²3.json",
        f"{'9' * 40}.json",
        f"{SELF}.abc.key",
        "1.json.tmp",
    ):
        (folder / name).write_bytes((folder / f"{SELF}.json").read_bytes())
    (folder / "2.json").mkdir()
    assert [other.pid for other in others(env, NAME, ())] == [SELF]


def test_without_a_folder_there_is_nobody(tmp_path: Path) -> None:
    assert others({"HOME": str(tmp_path)}, NAME, ()) == ()
    (tmp_path / "sessions").touch()
    assert others({"CLAUDE_CONFIG_DIR": str(tmp_path)}, NAME, ()) == ()


def test_a_large_file_is_not_read_whole(env: dict[str, str]) -> None:
    note(env, SELF, name="x" * limits.STATE_FILE_BYTES_MAX)
    assert others(env, NAME, ()) == ()
