"""Scopes and launchd, with small programs of the test in place of the system's."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from betcode.adapters.claude_binary import ClaudeBinary
from betcode.adapters.launchd import Launchd
from betcode.adapters.launcher import KeeperLauncher
from betcode.adapters.log import JsonLog, open_log
from betcode.adapters.systemd_scope import CONTINUE, SLICE, Scopes, detect
from betcode.cli.daemon_install import linger_words
from betcode.core.diagnosis import programs
from betcode.core.diagnosis.service import Installed, judge_service
from betcode.core.service.service import Service
from betcode.model.errors import BetcodeError

SERVICE = Service("betcode", ("/usr/bin/python3",))


def program(folder: Path, name: str, body: str) -> None:
    """A shell script that notes its arguments first."""
    file = folder / name
    file.write_text(f'#!/bin/sh\necho "$0 $@" >> {folder}/calls\n{body}\n')
    file.chmod(0o700)


def calls(folder: Path) -> list[str]:
    return [line.removeprefix(f"{folder}/") for line in (folder / "calls").read_text().splitlines()]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A runtime directory of a systemd that lets everything be."""
    (tmp_path / "systemd").mkdir()
    (tmp_path / "systemd/private").touch()
    program(tmp_path, "systemctl", "echo /")
    program(tmp_path, "systemd-run", 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"')
    return tmp_path


def env(place: Path) -> dict[str, str]:
    return {"PATH": f"{place}:/usr/bin:/bin", "XDG_RUNTIME_DIR": str(place)}


# --- scopes ----------------------------------------------------------------------------------------------------------


def test_a_command_in_a_scope_is_the_command_with_its_own_unit(place: Path) -> None:
    scopes = detect(env(place))
    assert (scopes.problem, scopes.env) == ("", {"XDG_RUNTIME_DIR": str(place)})
    command = scopes.wrap(["/bin/echo", "--user"], name="betcode-x-1", properties=["MemoryMax=1G"])
    assert command[0] == str(place / "systemd-run")
    assert command[1:6] == ["--user", "--scope", "--quiet", "--collect", f"--slice={SLICE}"]
    assert command[6].startswith("--unit=betcode-x-1-")
    assert command[7:] == [f"--property={CONTINUE}", "--property=MemoryMax=1G", "--", "/bin/echo", "--user"]
    assert scopes.wrap(["/x"], name="n") != scopes.wrap(["/x"], name="n"), "a name that is still there is no obstacle"


def test_an_older_systemd_is_not_told_what_it_does_not_know(place: Path) -> None:
    program(place, "systemd-run", 'case "$*" in *OOMPolicy*) exit 1;; esac')
    assert (detect(env(place)).problem, detect(env(place)).properties) == ("", ())


def test_where_no_scope_can_be_had_it_is_said_why_and_commands_stay_as_they_are(place: Path, tmp_path: Path) -> None:
    program(place, "systemd-run", "echo 'Access denied' >&2; exit 1")
    assert detect(env(place)).problem == "systemd-run failed: Access denied"
    program(place, "systemctl", "echo /user.slice/user@1.service")
    assert "linger is off" in detect(env(place)).problem, "a scope must not end before the daemon would"
    (place / "systemd/private").unlink()
    found = detect(env(place))
    assert found.problem == "no systemd runs for this user"
    assert found.wrap(["/bin/echo"], name="x", properties=["MemoryMax=1G"]) == ["/bin/echo"]
    assert detect({"PATH": str(tmp_path / "empty")}).problem == "this system has no systemd-run"


def test_a_keeper_is_started_in_a_scope_and_without_one_when_systemd_has_gone(place: Path, tmp_path: Path) -> None:
    log = open_log(tmp_path / "log", "info", bytes_max=10**6, to_terminal=False)
    launcher = KeeperLauncher(
        tmp_path / "sessions", ClaudeBinary(""), generation=1, environment=env(place), log=log, env_pass=()
    )

    async def start() -> dict[str, object]:
        return await launcher._run_keeper({"no": "spec"}, "betcode-abc-7")

    assert asyncio.run(start())["code"] == "bad_spec", "the keeper itself has answered"
    assert any("--unit=betcode-abc-7-" in line and "keeper" in line for line in calls(place))
    program(place, "systemd-run", "echo 'Failed to connect to bus' >&2; exit 1")
    assert asyncio.run(start())["code"] == "bad_spec"
    before = len(calls(place))
    assert asyncio.run(start())["code"] == "bad_spec"
    assert len(calls(place)) == before, "it is not tried again and again"
    told = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [(line["level"], line["message"]) for line in told] == [
        ("info", "each keeper gets a scope of its own in the user's systemd"),
        ("warning", "keepers get no scope of their own from now on"),
    ]
    assert isinstance(log, JsonLog)
    assert "Failed to connect to bus" in told[1]["detail"]
    assert Scopes(problem="x").wrap(["a"]) == ["a"]


# --- launchd ---------------------------------------------------------------------------------------------------------


def test_launchd_is_told_to_load_start_restart_and_unload(tmp_path: Path) -> None:
    program(
        tmp_path,
        "launchctl",
        f'case "$1" in print) [ -e {tmp_path}/loaded ] || case "$2" in */betcode.daemon) exit 1;; esac;'
        f' echo "	pid = 42";; bootstrap) touch {tmp_path}/loaded;; bootout) rm {tmp_path}/loaded;; esac',
    )
    launchd = Launchd({"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": "/srv/x"})
    target = f"gui/{os.geteuid()}/betcode.daemon"
    file = "/srv/x/Library/LaunchAgents/betcode.daemon.plist"
    assert (launchd.problem(), str(launchd.file(SERVICE))) == ("", file)
    launchd.register(SERVICE)
    launchd.restart(SERVICE)
    assert launchd.pid(SERVICE) == 42
    launchd.restart(SERVICE)
    launchd.withdraw(SERVICE)
    launchd.withdraw(SERVICE)
    assert [call[1:] for call in launchd.tools.ran] == [
        ["enable", target],
        ["bootstrap", f"gui/{os.geteuid()}", file],
        ["kickstart", target],
        ["kickstart", "-k", target],
        ["bootout", target],
    ]
    assert Launchd({"PATH": "/nowhere"}).problem() == "this system has no launchctl"


def test_what_launchd_refuses_is_told_with_its_words(tmp_path: Path) -> None:
    program(tmp_path, "launchctl", 'case "$1" in print) exit 1;; esac; echo "Bootstrap failed: 5" >&2; exit 5')
    launchd = Launchd({"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": "/srv/x"})
    assert launchd.problem() == "launchd does not answer"
    with pytest.raises(BetcodeError, match=r"launchctl bootstrap .*: Bootstrap failed: 5") as caught:
        launchd.start(SERVICE)
    assert caught.value.code == "service.failed"


# --- what people are told --------------------------------------------------------------------------------------------


def test_a_missing_linger_is_told_at_the_installation_and_by_the_doctor() -> None:
    off = programs.Linger(systemd=True, lingers=False)
    (words,) = linger_words(off)
    assert "at your last logout systemd ends the service with all its sessions" in words
    assert words.endswith("Mend it with: loginctl enable-linger")
    assert programs.judge_linger(off, service=True).severity == "warning"
    assert linger_words(programs.Linger(systemd=True, lingers=True)) == []
    assert linger_words(programs.Linger()) == []


@pytest.mark.parametrize(
    "found, daemon_pid, severity, hint",
    [
        (Installed(), 7, "ok", ""),
        (Installed("systemd", "/u", pid=7), 7, "ok", ""),
        (Installed("systemd", "/u"), None, "info", "betcode daemon start"),
        (Installed("systemd", "/u", pid=8), 7, "warning", "betcode daemon restart"),
        (Installed("systemd", "/u"), 7, "warning", "betcode daemon restart"),
        (Installed("systemd", "/u", problem="no systemd runs"), 7, "info", "betcode daemon start"),
        (Installed("systemd", "/u", program="/gone/python"), 7, "error", "betcode daemon install"),
    ],
)
def test_the_doctor_knows_whether_the_service_is_the_daemon(
    found: Installed, daemon_pid: int | None, severity: str, hint: str
) -> None:
    judged = judge_service(found, daemon_pid=daemon_pid)
    assert (judged.id, judged.severity, judged.hint) == ("daemon.service", severity, hint)


@pytest.mark.req("PS-10")
def test_a_key_that_the_service_lacks_is_put_into_its_file_by_the_hint_and_never_shown() -> None:
    login = programs.Login(frozenset({"ANTHROPIC_API_KEY"}), frozenset(), service_file="/home/x/a b/service.env")
    judged = programs.judge_login(login)
    copy = "(umask 077; env | grep '^ANTHROPIC_API_KEY=' >> '/home/x/a b/service.env') && betcode daemon restart"
    assert (judged.severity, judged.hint) == ("warning", copy)
