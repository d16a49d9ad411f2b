"""`betcode doctor session` and `betcode doctor env`: what went wrong in one session, and what its claude is given."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import Any

import pytest

from betcode.testing.command import Command
from betcode.testing.installation import Installation, installation, scripted

WAIT_S = 60.0
TOOL = {"tool": {"name": "Bash", "input": {"command": "touch never; tail -f /dev/null", "description": "w"}}}


def new_session(betcode: Command, *options: str) -> str:
    return betcode.session_of(betcode("run", *options, "--output-format", "json", scripted("hello", {"words": 5})))


def summary(betcode: Command, session: str) -> dict[str, Any]:
    (found,) = [s for s in betcode("status", "--json").json()["sessions"] if s["id"] == session]
    return dict(found)


def wait(betcode: Command, session: str, **wanted: Any) -> dict[str, Any]:
    """The session, once it is so; `claude_pid` stands for any but this one."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        found = summary(betcode, session)
        if all(found[k] not in (v, None) if k == "claude_pid" else found[k] == v for k, v in wanted.items()):
            return found
    raise AssertionError(f"{session} is not {wanted}: {found}")


def kill_claude(betcode: Command, session: str, running: subprocess.Popen[bytes], times: int) -> list[int]:
    """kill -9 the claude of a working session so many times, each time the next one."""
    killed: list[int] = []
    for _ in range(times):
        pid = wait(betcode, session, claude_pid=killed[-1] if killed else None)["claude_pid"]
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)
    assert running.poll() is None or times > 4
    return killed


@pytest.mark.req("PS-2")
def test_a_history_of_crashes_is_told_in_order_with_what_was_done(betcode: Command, made: Installation) -> None:
    session = new_session(betcode)
    first = summary(betcode, session)["claude_pid"]
    running = betcode.start("run", "--resume", session, scripted("long", {"words": 2000, "delta_ms": 20}))
    wait(betcode, session, state="ACTIVE")
    killed = kill_claude(betcode, session, running, 3)
    assert killed[0] == first
    wait(betcode, session, claude_pid=killed[-1])
    told = betcode("doctor", "session", "--json", session).json()
    assert told["source"] == "daemon"
    assert [run["claude_pid"] for run in told["runs"][:3]] == killed
    assert [(r["signal"], r["reason"], r["has_report"]) for r in told["runs"][:3]] == [(9, "exited", True)] * 3
    assert [(run["run"], run["how"]) for run in told["runs"][3:]] == [(4, "runs")]
    assert all(run["peak_rss_bytes"] > 2**20 and run["ended"] > run["started"] for run in told["runs"][:3])
    history = told["history"]
    assert [entry["run"] for entry in history if entry["kind"] == "run_ended"] == [1, 2, 3]
    assert [entry["run"] for entry in history if entry["kind"] == "run_started"] == [2, 3, 4]
    events = [(entry["epoch"], entry["seq"]) for entry in history if not entry["run"]]
    assert events == sorted(events)
    assert [entry["time"] for entry in history] == sorted(entry["time"] for entry in history)
    attempts = [entry["what"] for entry in history if "attempt" in entry["what"]]
    assert ["attempt 1 of 5" in attempts[0], "signal 9" in attempts[0], len(attempts)] == [True, True, 3]
    assert any("is sent again" in entry["what"] for entry in history)
    assert (told["lock"]["held"], told["lock"]["claude_pid"]) == (True, told["runs"][3]["claude_pid"])
    for entry in history:
        assert list(entry) == ["time", "severity", "kind", "what", "hint", "epoch", "seq", "run"]
    betcode("sessions", "close", session)
    running.communicate(timeout=WAIT_S)


@pytest.mark.req("PS-3")
def test_a_crashed_session_names_the_command_that_starts_it_again_and_it_does(betcode: Command) -> None:
    session = new_session(betcode)
    running = betcode.start("run", "--resume", session, scripted("long", {"words": 2000, "delta_ms": 20}))
    wait(betcode, session, state="ACTIVE")
    kill_claude(betcode, session, running, 5)
    wait(betcode, session, state="CRASHED")
    ended = betcode("doctor", "session", "--json", session)
    told = ended.json()
    assert (ended.status, told["now"]["needs_you"], told["lock"]["held"]) == (1, True, False)
    assert told["now"]["command"] == f"betcode sessions retry {session}"
    assert told["history"][-1]["severity"] in ("error", "warning")
    assert any(f"betcode sessions retry {session}" in entry["hint"] for entry in told["history"])
    shown = betcode("doctor", "session", session)
    assert shown.out.splitlines()[-1].strip() == f"-> betcode sessions retry {session}"
    assert betcode(*told["now"]["command"].split()[1:]).status == 0
    assert wait(betcode, session, waiting=0)["state"] in ("ACTIVE", "IDLE")
    betcode("sessions", "close", session)
    running.communicate(timeout=WAIT_S)


@pytest.mark.req("PS-5")
def test_a_killed_keeper_leaves_no_report_and_the_user_is_asked_how_to_go_on() -> None:
    with installation() as made:
        betcode = Command(made.env, made.project)
        made.paths.config.mkdir(mode=0o700, parents=True, exist_ok=True)
        made.paths.settings.write_text('{"supervision": {"unknown_outcome": "ask"}}')
        session = new_session(betcode, "--allow", "Bash")
        running = betcode.start("run", "--resume", session, scripted("tool", TOOL, {"text": "x"}))
        end = time.monotonic() + WAIT_S
        while '"tool_call"' not in (shown := betcode("sessions", "show", "--json", session)).out:
            assert time.monotonic() < end, shown
        os.kill(summary(betcode, session)["keeper_pid"], signal.SIGKILL)
        running.communicate(timeout=WAIT_S)
        end = time.monotonic() + WAIT_S
        while (told := betcode("doctor", "session", "--json", session).json())["lock"]["held"]:
            assert time.monotonic() < end
        assert [run["has_report"] for run in told["runs"]] == [False]
        assert "without a report" in told["runs"][0]["how"]
        assert len(told["undecided"]) == 1
        assert told["now"] == {
            "severity": "warning",
            "what": told["now"]["what"],
            "command": f"betcode send {session} 'go on'",
            "needs_you": True,
        }
        made.kill_daemon()
        again = betcode("doctor", "session", "--json", session).json()
        assert again["source"] == "database"
        assert again["history"] == told["history"], "the database tells the same as the daemon"


def test_a_question_is_named_with_the_command_that_answers_it(betcode: Command) -> None:
    session = new_session(betcode)
    running = betcode.start("run", "--resume", session, scripted("tool", TOOL, {"text": "x"}))
    end = time.monotonic() + WAIT_S
    while not (told := betcode("doctor", "session", "--json", session).json())["questions"]:
        assert time.monotonic() < end
    assert told["now"]["command"] == f"betcode permissions allow {told['questions'][0]}"
    betcode("permissions", "deny", told["questions"][0])
    running.communicate(timeout=WAIT_S)


def test_a_session_without_trouble_says_so_and_a_prefix_finds_it(betcode: Command) -> None:
    session = new_session(betcode)
    shown = betcode("doctor", "session", session[:6])
    assert shown.status == 0
    assert "no trouble" in shown.out
    assert shown.out.splitlines()[-1].strip() == f"-> betcode send {session} TEXT"
    assert betcode("doctor", "--json", "session", session).json()["history"] == []


@pytest.mark.parametrize("given", ["zzzzzzzzzz", "abc", "x" * 300, "é", "../../etc", ""])
def test_no_such_session_is_6_with_and_without_a_daemon(betcode: Command, made: Installation, given: str) -> None:
    betcode("daemon", "start")
    assert betcode("doctor", "session", given).status == 6
    betcode("daemon", "stop")
    ended = betcode("doctor", "session", "--json", given)
    assert (ended.status, ended.json()["error"]["code"]) == (6, "session.not_found")
    assert betcode("doctor", "session", given).err.startswith("error: ")


@pytest.mark.req("PS-10")
def test_the_environment_is_shown_by_names_and_never_by_values(betcode: Command, made: Installation) -> None:
    betcode("daemon", "stop", "--stop-sessions")
    secret = betcode.with_env(MY_SECRET="hunter2-value", ANTHROPIC_MODEL="model-value", VIRTUAL_ENV="/venv-value")
    session = new_session(secret)
    asked = [secret("doctor", "env", *more) for more in ([session], ["--json", session], [], ["--json"])]
    for ended in asked:
        assert ended.status == 0
        assert "-value" not in ended.out + ended.err
        assert "sk-ant" not in ended.out + ended.err
    told = asked[1].json()
    assert (told["session"], told["running"], told["source"]) == (session, True, "daemon")
    assert {"ANTHROPIC_API_KEY", "ANTHROPIC_MODEL", "PATH", "VIRTUAL_ENV"} <= set(told["gets"])
    assert {"MY_SECRET", "BETCODE_DATA_DIR"} <= set(told["removed"])
    actual = _names(summary(secret, session)["claude_pid"])
    assert set(told["gets"]) == actual
    made.kill_daemon()
    later = secret("doctor", "env", "--json").json()
    assert (later["source"], later["running"], "MY_SECRET" in later["removed"]) == ("shell", False, True)
    assert json.loads(secret("doctor", "env", "--json", session[:5]).out)["gets"] == told["gets"]


def _names(pid: int) -> set[str]:
    with open(f"/proc/{pid}/environ", "rb") as file:
        return {entry.partition(b"=")[0].decode() for entry in file.read().split(b"\0") if entry}
