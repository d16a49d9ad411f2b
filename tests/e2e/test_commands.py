"""Every exit status of the command line, and what scripts rely on; with the real daemon and the real claude."""

import json
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from betcode.model import limits
from betcode.testing.command import Command, Ended
from betcode.testing.installation import Installation, scripted, words

TOUCH = {"tool": {"name": "Bash", "input": {"command": "touch here.txt"}}}


@pytest.fixture
def alone(tmp_path: Path, made: Installation) -> Iterator[Command]:
    """Directories without a daemon; one that gets started there is ended afterwards."""
    places = {f"BETCODE_{name.upper()}_DIR": str(tmp_path / name) for name in ("config", "data", "runtime")}
    command = Command({**made.env, **places}, made.project)
    yield command
    command("daemon", "stop", "--stop-sessions")


def error_of(ended: Ended) -> str:
    """The error that a person sees; it must come with a hint."""
    lines = ended.err.strip().splitlines()
    assert lines[-1].startswith("hint: "), ended
    (error,) = [line for line in lines if line.startswith("error: ")]
    return error.removeprefix("error: ")


# --- 0, 1, 3, 4: how the turn went -------------------------------------------------------------------------------


def test_0_the_answer_is_on_standard_output_and_nothing_else(betcode: Command) -> None:
    ended = betcode("run", scripted("count", {"words": 5}))
    assert ended == Ended(0, words(5) + "\n", "")


@pytest.mark.parametrize("form", ["json", "stream-json"])
def test_0_json_output_ends_with_the_result(betcode: Command, form: str) -> None:
    ended = betcode("run", "--output-format", form, scripted("count", {"words": 5}))
    *events, result = ended.lines()
    assert ended.status == 0
    assert (result["type"], result["subtype"], result["is_error"]) == ("result", "success", False)
    assert result["result"] == words(5)
    assert str(uuid.UUID(result["session_id"])) == result["session_id"]
    kinds = [event["type"] for event in events]
    assert kinds == ([] if form == "json" else ["system", "assistant"])


def test_1_a_turn_that_failed(betcode: Command) -> None:
    ended = betcode("run", scripted("fail", {"status": 400, "message": "no credit left"}))
    assert ended.status == 1
    assert "no credit left" in error_of(ended)


def test_1_a_failed_turn_as_json_is_a_result_and_no_second_object(betcode: Command) -> None:
    ended = betcode("run", "--output-format", "json", scripted("fail", {"status": 400, "message": "no credit left"}))
    assert ended.status == 1
    assert ended.json()["is_error"] is True
    assert "no credit left" in ended.json()["result"]
    assert "no credit left" in error_of(ended)


@pytest.mark.req("PM-2")
def test_3_a_question_that_nobody_answers_is_denied_and_ends_the_task(betcode: Command, made: Installation) -> None:
    ended = betcode("run", "--permission-ttl", "1", scripted("touch", TOUCH, {"text": "I may not"}))
    assert ended.status == 3
    assert "Bash" in error_of(ended)
    assert "betcode permissions" in ended.err
    assert ended.out == "I may not\n"
    assert not (made.project / "here.txt").exists()


def test_3_does_not_hide_that_claude_found_another_way(betcode: Command) -> None:
    free = {"tool": {"name": "Bash", "input": {"command": "echo another way"}}}
    prompt = scripted("touch", TOUCH, free, {"text": "done otherwise"})
    ended = betcode("run", "--permission-ttl", "1", "--allow", "Bash(echo *)", prompt)
    assert (ended.status, ended.out) == (0, "done otherwise\n")


@pytest.mark.parametrize("verb, status, exists", [("allow", 0, True), ("deny", 3, False)])
def test_another_client_answers_the_question(
    betcode: Command, made: Installation, verb: str, status: int, exists: bool
) -> None:
    there = made.project / f"{verb}.txt"
    step = {"tool": {"name": "Bash", "input": {"command": f"touch {there.name}"}}}
    running = betcode.start("run", "--output-format", "json", scripted("touch", step, {"text": "ok"}))
    question = wait_for_question(betcode, there.name)
    assert betcode("permissions", verb, question).status == 0
    again = betcode("permissions", verb, question)
    assert (again.status, "already settled" in error_of(again)) == (5, True)
    out, _ = running.communicate(timeout=60)
    assert running.returncode == status
    assert there.exists() is exists
    assert len(json.loads(out)["permission_denials"]) == (not exists)


def wait_for_question(betcode: Command, text: str) -> str:
    """Id of the open question whose input holds `text`."""
    for _ in range(200):
        for question in betcode("permissions", "list", "--json").json()["permissions"]:
            if text in json.dumps(question["input"]):
                return str(question["id"])
    raise AssertionError(f"no question about {text}")


def test_allow_with_another_input_runs_that_one(betcode: Command, made: Installation) -> None:
    step = {"tool": {"name": "Bash", "input": {"command": "touch before.txt"}}}
    running = betcode.start("run", scripted("edit", step, {"text": "ok"}))
    question = wait_for_question(betcode, "before.txt")
    refused = betcode("permissions", "allow", question, "--edit", "[1]")
    assert (refused.status, "must be a JSON object" in error_of(refused)) == (5, True)
    assert betcode("permissions", "allow", question, "--edit", '{"command": "touch after.txt"}').status == 0
    running.communicate(timeout=60)
    assert (made.project / "after.txt").exists()
    assert not (made.project / "before.txt").exists()


def test_4_a_rate_limit(betcode: Command) -> None:
    step = {"status": 429, "headers": {"retry-after": "3600"}, "message": "slow down"}
    ended = betcode("run", "--on-rate-limit", "fail", scripted("limit", step))
    assert ended.status == 4
    *_, error, hint, again = ended.err.strip().splitlines()
    assert (error[:7], hint[:6], again[:13]) == ("error: ", "hint: ", "try again in ")


# --- 2: no daemon ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [["status"], ["daemon", "status"], ["status", "--json"]])
def test_2_status_starts_no_daemon(alone: Command, verb: list[str]) -> None:
    ended = alone(*verb)
    assert ended.status == 2
    if "--json" in verb:
        assert ended.json()["error"]["code"] == "daemon.unreachable"
    else:
        assert error_of(ended) == "no daemon is running"
    assert not Path(alone.env["BETCODE_DATA_DIR"]).exists()


def test_2_a_second_daemon_does_not_start_beside_the_first(betcode: Command) -> None:
    betcode("daemon", "start")
    ended = betcode("daemon", "run")
    assert ended.status == 2
    assert json.loads(betcode("daemon", "status", "--json").out)["pid"] > 0


def test_a_daemon_starts_stops_and_says_so(alone: Command) -> None:
    started = alone("daemon", "start", "--json").json()
    assert started["started"] is True
    assert alone("daemon", "start", "--json").json() == {"daemon": started["daemon"], "started": False}
    assert alone("status", "--json").json()["daemon"] == started["daemon"]
    assert "the daemon serves" in alone("daemon", "logs").out
    assert all("timestamp" in line for line in alone("daemon", "logs", "--json").lines())
    assert alone("daemon", "stop", "--json").json() == {"stopped": True, "pid": started["daemon"]["pid"]}
    assert alone("daemon", "stop", "--json").json() == {"stopped": False, "pid": None}
    assert alone("status").status == 2


def test_two_clients_that_start_a_daemon_at_once_share_it(alone: Command) -> None:
    both = [alone.start("sessions", "list", "--json") for _ in range(2)]
    for one in both:
        out, err = one.communicate(timeout=60)
        assert (one.returncode, json.loads(out)) == (0, {"sessions": []}), err
    assert alone("daemon", "status").status == 0


# --- 5: wrong arguments ------------------------------------------------------------------------------------------


@pytest.mark.req("SE-2")
@pytest.mark.parametrize(
    "arguments, stdin, complaint",
    [
        (["fly"], b"", "No such command 'fly'"),
        (["run", "--fly", "x"], b"", "No such option"),
        (["run", ""], b"", "the prompt is empty"),
        (["run"], b" \n", "the prompt is empty"),
        (["run", "-"], b"caf\xe9", "not UTF-8 (byte 3)"),
        (["run", "-"], b"x" * (limits.PROMPT_BYTES_MAX + 1), "at most 10485760"),
        (["run", "--dir", "/nowhere/at/all", "x"], b"", "'/nowhere/at/all' does not exist"),
        (["run", "--allow", "no rule at all(", "x"], b"", "no rule at all("),
        (["run", "--permission-ttl", "0.1", "x"], b"", "allowed are 1 to 2592000 seconds"),
        (["run", "--permission-ttl", "0", "x"], b"", "allowed are 1 to 2592000 seconds"),
        (["run", "--permission-ttl", "nan", "x"], b"", "allowed are 1 to 2592000 seconds"),
        (["run", "--resume", "abcd", "--dir", "/", "x"], b"", "--dir and --resume exclude each other"),
        (["run", "--raw", "--output-format", "text", "x"], b"", "--raw and --output-format exclude each other"),
        (["run", "--name", " ", "x"], b"", "--name is empty"),
        (["run", "--model", "a model", "x"], b"", "allowed: at most 200 letters"),
        (["--model", "-x", "--new"], b"", "allowed: at most 200 letters"),
        (["run", "--dangerously-skip-permissions", "x"], b"", "betcode never lets all tools run unasked"),
        (["run", "--permission-mode", "bypassPermissions", "x"], b"", "modes that never ask are refused"),
        (["run", "--input-format", "stream-json"], b"", "betcode run takes text"),
        (["run", "-c", "--allowedTools", "Bash", "x"], b"", "--allowedTools can be chosen only for a new session"),
        (["run", "-c", "--effort", "high", "x"], b"", "--effort can be chosen only for a new session"),
        (["run", "--mcp-config", "nowhere.json", "x"], b"", "there is no file 'nowhere.json'"),
        (["run", "--add-dir", "nowhere", "x"], b"", "'nowhere' is not a directory"),
        (["run", "--session-id", "7", "x"], b"", "is not a UUID"),
        (["--max-turns", "3", "run", "x"], b"", "No such option: --max-turns"),
        (["run", "--timeout", "-1", "x"], b"", "--timeout"),
        (["run", "--resume", "abcd", "--continue", "x"], b"", "exclude each other"),
        (["run", "--continue", "--model", "x", "y"], b"", "--model can be chosen only for a new session"),
        (["run", "--name", "two\nlines", "x"], b"", "line break"),
        (["sessions", "rename", "abcd"], b"", "Missing argument"),
        (["sessions", "rename", "abcd", " "], b"", "name is empty"),
        (["permissions", "allow", "p0"], b"", "no question 'p0'"),
        (["permissions", "allow", "p0", "--edit", "{"], b"", "--edit is not JSON"),
        (["protocol", "check", "/nowhere"], b"", "'/nowhere' cannot be read"),
        (["completion", "powershell"], b"", "powershell"),
    ],
)
def test_5_wrong_arguments_are_named_and_nothing_is_started(
    betcode: Command, arguments: list[str], stdin: bytes, complaint: str
) -> None:
    before = len(betcode("sessions", "list", "--all", "--json").json()["sessions"])
    ended = betcode(*arguments, stdin=stdin)
    assert (ended.status, ended.out) == (5, "")
    assert complaint in error_of(ended)
    assert len(betcode("sessions", "list", "--all", "--json").json()["sessions"]) == before


@pytest.mark.req("SE-2")
def test_5_bytes_that_are_no_text_in_an_argument(betcode: Command) -> None:
    argv = [arg.encode() for arg in betcode.argv("run")] + [b"caf\xe9"]
    done = subprocess.run(argv, env=betcode.env, capture_output=True, timeout=60, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 5
    assert b"not UTF-8 (character 4)" in done.stderr


@pytest.mark.req("SE-2")
def test_any_character_reaches_claude_and_the_events(betcode: Command) -> None:
    odd = "NUL \x00 ESC \x1b[31m bidi \u202e zero\u200bwidth \U0001f469\u200d\U0001f680 end"
    ended = betcode("run", "--output-format", "stream-json", "-", stdin=(odd + scripted(" x", {"text": "ok"})).encode())
    assert ended.status == 0
    shown = betcode("sessions", "show", ended.lines()[-1]["session_id"], "--json")
    assert shown.lines()[0]["text"].startswith(odd)


def test_errors_for_programs_are_one_json_object(betcode: Command) -> None:
    ended = betcode("sessions", "show", "--json", "zzzzzzzzzz")
    assert ended.err == ""
    assert set(ended.json()["error"]) == {"code", "message", "hint"}
    assert betcode("run", "--output-format=json", "--fly").json()["error"]["code"] == "request.usage"


@pytest.mark.req("PS-3")
def test_5_a_closed_session_is_not_started_afresh_and_an_idle_one_need_not_be(betcode: Command) -> None:
    session = betcode.session_of(betcode("run", "--output-format", "json", scripted("hi", {"text": "ok"})))
    assert betcode("sessions", "retry", session).out == "there was nothing to retry; messages that wait: 0\n"
    betcode("sessions", "close", session)
    ended = betcode("sessions", "retry", session)
    assert (ended.status, ended.out) == (5, "")
    assert error_of(ended) == "the session is closed and cannot be started again"
    assert betcode("sessions", "retry", "--json", session).json()["error"]["code"] == "session.closed"


# --- 6, 7, 72, 78 ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["attach", "zzzzzzzzzz"],
        ["send", "zzzzzzzzzz", "x"],
        ["interrupt", "zzzzzzzzzz"],
        ["run", "--resume", "zzzzzzzzzz", "x"],
        ["run", "--continue", "--dir", "/", "x"],
        ["sessions", "show", "zzzzzzzzzz"],
        ["sessions", "retry", "zzzzzzzzzz"],
    ],
)
def test_6_no_such_session(betcode: Command, arguments: list[str]) -> None:
    ended = betcode(*arguments)
    assert ended.status == 6
    assert error_of(ended)


def test_7_a_defect_is_one_line_and_a_file_with_the_details(betcode: Command, tmp_path: Path) -> None:
    broken = "import sys; from betcode.cli import version, main; version.ask = None; sys.exit(main.main(['version']))"
    done = subprocess.run(
        [sys.executable, "-c", broken],
        env={**betcode.env, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 7
    (details,) = tmp_path.iterdir()
    assert str(details) in done.stderr
    assert "Traceback" not in done.stderr
    assert "Traceback" in details.read_text()


def test_72_no_claude(alone: Command, tmp_path: Path) -> None:
    ended = alone.with_env(BETCODE_CLAUDE=str(tmp_path / "none"))("run", "x")
    assert ended.status == 72
    assert error_of(ended)


def test_72_a_claude_that_is_not_executable(alone: Command, tmp_path: Path) -> None:
    (tmp_path / "claude").write_text("#!/bin/sh\n")
    ended = alone("--claude", str(tmp_path / "claude"), "run", "x")
    assert ended.status == 72
    assert str(tmp_path / "claude") in ended.err


@pytest.mark.req("PS-12")
def test_78_a_claude_that_is_too_old(alone: Command, tmp_path: Path) -> None:
    old = tmp_path / "claude"
    old.write_text("#!/bin/sh\necho '1.0.0 (Claude Code)'\n")
    old.chmod(old.stat().st_mode | stat.S_IXUSR)
    ended = alone("--claude", str(old), "run", "x")
    assert ended.status == 78
    assert "1.0.0" in ended.err


@pytest.mark.req("CF-1", "RS-1")
@pytest.mark.parametrize("verb", [["run", "x"], ["daemon", "run"], ["daemon", "start"], ["config", "check"]])
def test_78_a_wrong_setting_stops_the_start_with_its_place(alone: Command, verb: list[str]) -> None:
    settings = Path(alone("config", "path").out.strip())
    settings.parent.mkdir(parents=True)
    settings.write_text('{"daemon": {\n  "connections_max": 47110}}')
    ended = alone(*verb)
    assert ended.status == 78
    assert all(word in ended.err for word in (f"{settings}:2:", "daemon.connections_max", "47110"))


@pytest.mark.req("CF-1")
def test_config_show_tells_each_value_with_its_source(alone: Command) -> None:
    settings = Path(alone("config", "path").out.strip())
    settings.parent.mkdir(parents=True)
    settings.write_text('{"daemon": {"connections_max": 7, "messages_waiting_max": 3, "conections_max": 1}}')
    shown: dict[str, Any] = alone.with_env(BETCODE_DAEMON_CONNECTIONS_MAX="9")("config", "show", "--json").json()
    assert shown["settings"]["daemon.connections_max"] == {
        "value": 9,
        "source": "environment BETCODE_DAEMON_CONNECTIONS_MAX",
    }
    assert shown["settings"]["daemon.messages_waiting_max"]["value"] == 3
    assert str(settings) in shown["settings"]["daemon.messages_waiting_max"]["source"]
    assert shown["settings"]["daemon.log_level"] == {"value": "info", "source": "default"}
    assert "daemon.connections_max" in " ".join(shown["warnings"])
    assert "daemon.messages_waiting_max" in alone("config", "show").out
