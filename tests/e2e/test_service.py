"""The daemon as a service of systemd: real daemon, real claude, real commands; systemd itself on paper.

`make trial-service` runs the same with a real systemd, where there is one and the user may change cgroups.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from betcode.testing.command import Command
from betcode.testing.installation import Installation, installation, scripted, words
from betcode.testing.user_systemd import UserSystemd, user_systemd

WAIT_S = 40.0


@pytest.fixture
def made() -> Iterator[Installation]:
    with installation() as one:
        yield one


@pytest.fixture
def systemd(made: Installation) -> Iterator[UserSystemd]:
    with user_systemd(made) as one:
        yield one


@pytest.fixture
def betcode(made: Installation, systemd: UserSystemd) -> Command:
    return Command(made.env, made.project)


def files(made: Installation) -> list[Path]:
    """What stands in the user's folder of units."""
    return sorted(path for path in (made.home / ".config/systemd/user").rglob("*") if not path.is_dir())


def session(betcode: Command) -> dict[str, Any]:
    (found,) = betcode("status", "--json").json()["sessions"]
    return dict(found)


def daemon_pid(betcode: Command) -> int:
    return int(betcode("status", "--json").json()["daemon"]["pid"])


def at_work(betcode: Command, text: str) -> subprocess.Popen[bytes]:
    """A turn that runs."""
    running = betcode.start("run", text)
    end = time.monotonic() + WAIT_S
    while not any(s["state"] == "ACTIVE" for s in betcode("status", "--json").json().get("sessions", [])):
        assert time.monotonic() < end, "no turn began"
    return running


@pytest.mark.req("PS-6", "PS-7")
def test_a_turn_goes_on_through_installation_restart_upgrade_and_removal_of_the_service(
    betcode: Command, made: Installation, systemd: UserSystemd
) -> None:
    """The daemon hands over four times; nothing but the daemon ever ends, and the answer is complete once."""
    running = at_work(betcode, scripted("count", {"words": 600, "delta_ms": 50}))
    pids, claude = [daemon_pid(betcode)], session(betcode)["claude_pid"]

    done = betcode("daemon", "install", "--json").json()
    (unit,) = [path for path in files(made) if not path.is_symlink()]
    assert (done["kind"], done["file"], done["text"]) == ("systemd", str(unit), unit.read_text())
    assert re.fullmatch(r"betcode-[0-9a-f]{12}\.service", unit.name), "a data directory of its own has its own service"
    assert stat.S_IMODE(unit.stat().st_mode) == 0o600
    assert [text for text in done["warnings"] if "logout" not in text] == []
    pids.append(daemon_pid(betcode))
    assert done["pid"] == pids[-1]
    verbs = [["daemon-reload"], ["enable", unit.name], ["reset-failed", unit.name], ["restart", unit.name]]
    assert done["commands"] == [["systemctl", "--user", *verb] for verb in verbs]
    if not systemd.real:
        assert systemd.calls() == verbs

    for command in ("restart", "upgrade"):
        told = betcode("daemon", command, "--json").json()
        pids.append(daemon_pid(betcode))
        assert (told["old"]["pid"], told["new"]["pid"]) == (pids[-2], pids[-1])
    assert betcode("doctor", "--json").json()
    (found,) = [one for one in betcode("doctor", "--json").json() if one["id"] == "daemon.service"]
    assert (found["severity"], str(unit) in found["what"]) == ("ok", True)

    removed = betcode("daemon", "uninstall", "--json").json()
    assert (removed["removed"], removed["file"], files(made)) == (True, str(unit), [])
    assert betcode("daemon", "uninstall", "--json").json() == {"removed": False}
    assert betcode("daemon", "start").status == 0
    pids.append(daemon_pid(betcode))
    assert len(set(pids)) == 5
    now = session(betcode)
    assert (now["claude_pid"], now["state"]) == (claude, "ACTIVE")
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out.decode()) == (0, words(600) + "\n"), err
    events = betcode("sessions", "show", "--json", now["id"]).lines()
    assert [e["text"] for e in events if e["kind"] == "assistant"] == [words(600)]
    assert [e["seq"] for e in events] == list(range(1, len(events) + 1))


@pytest.mark.req("PS-10")
def test_a_claude_of_the_service_has_the_path_of_its_client_the_users_own_file_and_nothing_of_systemd(
    betcode: Command, made: Installation
) -> None:
    made.paths.settings.write_text('{"agent": {"env_pass": ["NOTIFY_*", "WATCHDOG_*", "BETCODE_*"]}}')
    told = betcode.with_env(HTTPS_PROXY="http://user:secret@proxy")("daemon", "install")
    assert told.status == 0
    assert "may hold secrets: HTTPS_PROXY." in told.err
    assert str(made.paths.config / "service.env") in told.err
    assert "secret@" not in "".join(path.read_text() for path in files(made)) + told.out + told.err
    path = f"{made.home}/tools:{made.env['PATH']}"
    assert betcode.with_env(PATH=path, VIRTUAL_ENV="/client")("run", scripted("hi", {"text": "ok"})).out == "ok\n"
    content = Path(f"/proc/{session(betcode)['claude_pid']}/environ").read_bytes().decode()
    env = dict(line.split("=", 1) for line in content.split("\0") if line)
    assert (env["PATH"], env["VIRTUAL_ENV"]) == (path, "/client")
    assert env["ANTHROPIC_BASE_URL"] == made.model.url
    assert not [name for name in env if name.startswith(("BETCODE_", "NOTIFY_", "WATCHDOG_")) or "PROXY" in name]
    assert betcode("doctor", "env", "--json").json()["source"] == "daemon"


@pytest.mark.req("RS-3")
def test_what_needs_a_daemon_starts_the_service_and_a_stray_one_is_told_and_replaced(
    betcode: Command, made: Installation, systemd: UserSystemd
) -> None:
    done = betcode("daemon", "install", "--json").json()
    unit = Path(done["file"])

    def main_pid() -> int:
        question = ["systemctl", "--user", "show", "--property=MainPID", "--value", unit.name]
        return int(subprocess.run(question, env=made.env, capture_output=True, check=True).stdout)

    assert betcode("daemon", "stop").status == 0
    assert (main_pid(), betcode("status").status) == (0, 2)
    assert betcode("run", scripted("hi", {"text": "ok"})).out == "ok\n"
    assert daemon_pid(betcode) == main_pid() != done["pid"]
    refused = betcode("daemon", "stop"), betcode("daemon", "start", "--slots", "3")
    assert [ended.status for ended in refused] == [0, 5]
    unseen = betcode.with_env(XDG_RUNTIME_DIR=str(made.home / "nowhere"), PATH="/nowhere")
    assert unseen("daemon", "start").status == 0, "a shell that cannot reach systemd gets a daemon all the same"
    stray = daemon_pid(betcode)
    (found,) = [one for one in betcode("doctor", "--json").json() if one["id"] == "daemon.service"]
    assert (found["severity"], found["hint"]) == ("warning", "betcode daemon restart")
    assert betcode("daemon", "restart").status == 0
    assert daemon_pid(betcode) == main_pid() != stray
    removed = unseen("daemon", "uninstall")
    assert (removed.status, files(made), daemon_pid(betcode)) == (0, [], main_pid())
    assert "only its files were removed, and a daemon that runs goes on" in removed.err


@pytest.mark.req("RS-1", "PS-12")
def test_a_service_that_cannot_start_says_why_with_the_status_of_its_daemon(
    betcode: Command, made: Installation
) -> None:
    assert betcode("daemon", "install").status == 0
    pid = daemon_pid(betcode)
    made.paths.settings.write_text('{"daemon": {\n  "log_level": "loud"}}')
    for command in ("restart", "upgrade"):
        ended = betcode("daemon", command)
        assert (ended.status, daemon_pid(betcode)) == (78, pid), "a daemon that works is not ended for one that cannot"
    betcode("daemon", "stop")
    ended = betcode("daemon", "start", "--json")
    assert (ended.status, ended.json()["error"]["code"]) == (78, "config.invalid")
    assert f"{made.paths.settings}:2:" in ended.json()["error"]["message"]
    assert "default of daemon.log_level" in ended.json()["error"]["hint"]
    made.paths.settings.unlink()
    assert betcode("daemon", "start").status == 0, "what had failed is forgotten when somebody asks again"


@pytest.mark.req("RS-1")
def test_an_installation_that_fails_leaves_everything_as_it_was(
    betcode: Command, made: Installation, systemd: UserSystemd
) -> None:
    assert betcode("daemon", "start").status == 0
    pid = daemon_pid(betcode)
    assert betcode.with_env(BETCODE_CLAUDE="/nowhere/claude")("daemon", "install").status == 72
    assert (files(made), daemon_pid(betcode)) == ([], pid)
    if systemd.real:
        return
    systemd.fails("enable", "Failed to enable unit: read-only file system\n")
    ended = betcode("daemon", "install")
    assert (ended.status, files(made), daemon_pid(betcode)) == (2, [], pid)
    assert "systemctl --user enable" in ended.err
    assert "read-only file system\nNothing was installed." in ended.err
    (systemd.folder / "fail-enable").unlink()
    systemd.fails("restart", "Job failed\n")
    ended = betcode("daemon", "install", "--json")
    assert ended.json()["error"]["code"] == "service.failed"
    assert (ended.status, files(made)) == (2, [])
    assert daemon_pid(betcode) != pid, "the daemon had handed over, so another one was started"


@pytest.mark.req("RS-1")
def test_without_a_supervisor_nothing_is_installed_and_the_way_to_go_is_told(made: Installation) -> None:
    betcode = Command(made.env, made.project).with_env(XDG_RUNTIME_DIR=str(made.home / "none"))
    ended = betcode("daemon", "install", "--json")
    assert (ended.status, ended.json()["error"]["code"]) == (2, "service.unavailable")
    assert "betcode daemon run" in ended.json()["error"]["hint"]
    assert betcode("status").status == 2, "no daemon was started"
    planned = betcode("daemon", "install", "--dry-run", "--json").json()
    shown = betcode("daemon", "install", "--dry-run").out
    assert shown == f"# {planned['file']}\n{planned['text']}"
    assert not os.path.exists(planned["file"])
    assert (files(made), made.paths.data.exists()) == ([], False), "a dry run changes nothing"
    assert betcode("daemon", "uninstall").out == "the daemon is not installed as a service\n"


@pytest.mark.req("PS-6")
def test_without_a_service_a_restart_replaces_the_daemon_and_turns_go_on(made: Installation) -> None:
    betcode = Command(made.env, made.project)
    running = at_work(betcode, scripted("count", {"words": 60, "delta_ms": 50}))
    before, pid = session(betcode), daemon_pid(betcode)
    told = betcode("daemon", "restart", "--json").json()
    assert (told["old"]["pid"], told["new"]["pid"]) == (pid, daemon_pid(betcode))
    assert (session(betcode)["claude_pid"], pid != daemon_pid(betcode)) == (before["claude_pid"], True)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out.decode()) == (0, words(60) + "\n"), err
