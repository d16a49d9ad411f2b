"""`betcode daemon upgrade`: another version takes over while sessions work; or it does not come up, and says so."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import betcode as package
from betcode.testing.command import Command
from betcode.testing.installation import Installation, installation, scripted, words

NEW = "9.8.7"


@pytest.fixture
def made() -> Iterator[Installation]:
    with installation() as one:
        yield one


@pytest.fixture
def betcode(made: Installation) -> Command:
    return Command(made.env, made.project)


def other_version(made: Installation, **changes: tuple[str, str]) -> Command:
    """The command of another installed version; `changes` are replacements in modules, by their path with `__`."""
    folder = made.home / "other"
    shutil.copytree(Path(package.__file__).parent, folder / "betcode", ignore=shutil.ignore_patterns("__pycache__"))
    change(folder / "betcode/__init__.py", package.__version__, NEW)
    for module, (old, new) in changes.items():
        change(folder / "betcode" / f"{module.replace('__', '/')}.py", old, new)
    command = Command(made.env, made.project)
    return command.with_env(PYTHONPATH=str(folder))


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def daemon(betcode: Command) -> dict[str, object]:
    found: dict[str, object] = betcode("status", "--json").json()["daemon"]
    return found


@pytest.mark.req("PS-6", "RS-3")
def test_a_running_turn_and_its_clients_survive_an_upgrade(betcode: Command, made: Installation) -> None:
    assert betcode("daemon", "start").status == 0
    old = daemon(betcode)
    new_betcode = other_version(made)
    with betcode.on_terminal("--new") as terminal:
        terminal.wait_for("\n> ")
        terminal.type(scripted("count", {"words": 100, "delta_ms": 50}) + "\n")
        terminal.wait_for("w5 ")
        (before,) = betcode("status", "--json").json()["sessions"]
        done = new_betcode("daemon", "upgrade")
        assert done.status == 0, done
        assert f"betcode {old['version']} (pid {old['pid']}) was replaced by {NEW} (pid " in done.out
        (after,) = betcode("status", "--json").json()["sessions"]
        assert (after["claude_pid"], after["state"]) == (before["claude_pid"], "ACTIVE")
        terminal.wait_for("connected again")
        terminal.wait_for("w99\n> ")
    assert daemon(betcode)["version"] == NEW
    events = betcode("sessions", "show", "--json", str(before["id"])).lines()
    assert [e["text"] for e in events if e["kind"] == "assistant"] == [words(100)]
    assert [e["seq"] for e in events] == list(range(1, len(events) + 1))


def test_without_a_daemon_an_upgrade_starts_one(betcode: Command) -> None:
    first = betcode("daemon", "upgrade", "--json").json()
    assert first["old"] is None
    again = betcode("daemon", "upgrade", "--json").json()
    assert again["old"]["pid"] == first["new"]["pid"] != again["new"]["pid"]
    assert f"was replaced by {package.__version__} again" in betcode("daemon", "upgrade").out


@pytest.mark.parametrize(
    "variables, changes, status",
    [
        ({"BETCODE_DAEMON_LOG_LEVEL": "loud"}, {}, 78),
        ({"BETCODE_CLAUDE": "/nowhere/claude"}, {}, 72),
        ({}, {"daemon__app": ("def run_daemon(", "def run_daemon(:")}, 2),
    ],
    ids=["settings", "claude", "a broken installation"],
)
def test_a_new_daemon_that_cannot_start_leaves_the_old_one_alone(
    betcode: Command, made: Installation, variables: dict[str, str], changes: dict[str, tuple[str, str]], status: int
) -> None:
    betcode("daemon", "start")
    old = daemon(betcode)
    failed = other_version(made, **changes).with_env(**variables)("daemon", "upgrade")
    assert failed.status == status, failed
    assert f"the new daemon (betcode {NEW}) did not come up" in failed.err
    assert f"The old one (betcode {old['version']}, pid {old['pid']}) goes on; nothing was changed." in failed.err
    assert daemon(betcode) == old


def test_a_new_daemon_that_fails_after_the_old_one_ended_tells_the_way_back(
    betcode: Command, made: Installation
) -> None:
    with betcode.start("run", scripted("count", {"words": 100, "delta_ms": 50})) as running:
        end = time.monotonic() + 30
        while not any(s["state"] == "ACTIVE" for s in betcode("status", "--json").json().get("sessions", [])):
            assert time.monotonic() < end
        broken = other_version(
            made, daemon__lock=("    try:\n        last", "    raise ValueError\n    try:\n        last")
        )
        failed = broken("daemon", "upgrade")
        assert failed.status != 0
        assert re.search(r"The old one \(betcode [\d.]+\) has ended. Sessions go on without a daemon.", failed.err)
        assert "pip install betcode==" in failed.err
        assert betcode("daemon", "start").status == 0  # the way back
        out, err = running.communicate(timeout=60)
        assert (running.returncode, out.decode()) == (0, words(100) + "\n"), err
