"""The daemon's log: for people on a terminal, for programs in the file; nothing secret in either."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator

import pytest

from betcode.testing.command import Command
from betcode.testing.installation import Installation, installation, scripted

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} (DEBUG|INFO|WARNING|ERROR) +\S.*")


@pytest.fixture
def made() -> Iterator[Installation]:
    with installation() as one:
        yield one


@pytest.fixture
def betcode(made: Installation) -> Command:
    return Command(made.env, made.project)


@pytest.mark.req("OB-1", "SE-3")
def test_the_log_is_readable_on_a_terminal_and_json_in_the_file(betcode: Command, made: Installation) -> None:
    secret = "sk-ant-not-to-be-seen-anywhere"
    command = betcode.with_env(ANTHROPIC_API_KEY=secret)
    done = command("run", "--output-format", "json", scripted("hello", {"text": "a word of the answer"}))
    assert done.status == 0
    session = betcode.session_of(done)
    with betcode.on_terminal("daemon", "logs") as terminal:
        assert terminal.wait() == 0
    shown = terminal.text.splitlines()
    assert shown
    assert all(LINE.fullmatch(line) for line in shown), terminal.text
    assert any("INFO    session created  " in line and f"session_id={session}" in line for line in shown)
    for line in betcode("daemon", "logs", "--json").lines():
        assert {"timestamp", "level", "target", "message", "trace_id", "machine_id"} <= line.keys()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"])
    stored = made.paths.log.read_text()
    assert secret not in stored
    assert "a word of the answer" not in stored


@pytest.mark.req("OB-1")
def test_the_log_is_followed_until_ctrl_c(betcode: Command) -> None:
    assert betcode("daemon", "start").status == 0
    with betcode.on_terminal("daemon", "logs", "--follow", "-n", "0") as terminal:
        assert betcode("run", scripted("hello", {"text": "hello"})).status == 0
        terminal.wait_for("session created")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.wait() == 130


@pytest.mark.req("OB-1")
def test_a_daemon_in_the_foreground_tells_people_what_it_does(betcode: Command, made: Installation) -> None:
    with betcode.on_terminal("daemon", "run") as terminal:
        terminal.wait_for("the daemon serves")
        assert betcode("status").status == 0
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.wait() == 0
    lines = terminal.text.replace("^C", "").splitlines()
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}  \S.*", line) for line in lines), terminal.text
    assert all(isinstance(json.loads(line), dict) for line in made.paths.log.read_text().splitlines())


@pytest.mark.req("OB-1", "PS-7")
@pytest.mark.parametrize("stopped", [True, False])
def test_the_end_of_a_claude_is_logged_once_however_often_the_daemon_starts(
    betcode: Command, made: Installation, stopped: bool
) -> None:
    for number in range(2):
        assert betcode("run", scripted(f"hello {number}", {"text": "hello"})).status == 0
    if not stopped:
        assert betcode("daemon", "stop").status == 0
        for run in made.runs():  # they end while no daemon looks
            os.kill(run["claude_pid"], signal.SIGKILL)
        betcode("daemon", "start")
    for _ in range(3):
        assert betcode("daemon", "stop", "--stop-sessions").status == 0
        assert betcode("daemon", "start").status == 0
    logged = betcode("daemon", "logs", "-n", "1000", "--json").lines()
    ended = [line["session_id"] for line in logged if line["message"] == "claude ended"]
    assert len(ended) == len(set(ended)) == 2
    assert [line["sessions_taken_over"] for line in logged if line["message"] == "the daemon serves"][-1] == 0


@pytest.mark.req("OB-2")
def test_a_message_carries_the_trace_of_its_own_client_into_the_log_and_to_the_claude_started_for_it(
    betcode: Command, made: Installation
) -> None:
    def traced(digit: str) -> Command:
        return betcode.with_env(TRACEPARENT=f"00-{digit * 32}-{'1' * 16}-01")

    show = {"tool": {"name": "Bash", "input": {"command": "echo $TRACEPARENT > trace.txt"}}}
    first = traced("a")("run", "--output-format", "json", "--allow", "Bash", scripted("one", show, {"text": "ok"}))
    assert (made.project / "trace.txt").read_text()[:36] == f"00-{'a' * 32}-"
    session = betcode.session_of(first)
    assert betcode("daemon", "stop", "--stop-sessions").status == 0  # the next message starts a claude of its own
    assert traced("b")("send", "--wait", session, scripted("two", show, {"text": "ok"})).status == 0
    assert (made.project / "trace.txt").read_text()[:36] == f"00-{'b' * 32}-"
    logged = [line for line in betcode("daemon", "logs", "-n", "1000", "--json").lines() if "session_id" in line]
    for digit in "ab":
        mine = [line["message"] for line in logged if line["trace_id"] == digit * 32]
        assert {"message accepted", "claude started", "message ended"} <= set(mine)
    assert len({line["message_id"] for line in logged if line["message"] == "message accepted"}) == 2
