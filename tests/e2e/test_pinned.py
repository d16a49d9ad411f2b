"""What scripts and other programs rely on, tried from outside: odd arguments, odd files, clients at the limits."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.exceptions import ConnectionClosed

from betcode.model import limits
from betcode.testing.command import Command
from betcode.testing.installation import Installation, scripted

STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e]")
EVIL = "before \x1b]0;title\x07 \x9b31m \u202etxet\u202c \u200b after"


@contextlib.asynccontextmanager
async def connected(made: Installation) -> AsyncIterator[ClientConnection]:
    async with unix_connect(str(made.paths.socket), uri="ws://daemon/v1", compression=None, max_size=None) as ws:
        await ws.send('{"op": "hello", "id": 1, "protocol": [1]}')
        assert json.loads(await ws.recv())["type"] == "welcome"
        yield ws


def error_of(frame: str | bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(frame)
    assert found["type"] == "error"
    assert found["message"]
    assert found["hint"]
    return found


@pytest.mark.req("SE-4")
def test_views_for_people_are_safe_behind_a_pipe_too(betcode: Command) -> None:
    assert betcode("run", "--name", "odd \u202e name", scripted("say", {"text": EVIL})).status == 0
    session = betcode("sessions", "list", "--json").json()["sessions"][0]["id"]
    shown = {
        "attach": betcode("attach", "--until-idle", session).out,
        "show": betcode("sessions", "show", session).out,
        "list": betcode("sessions", "list").out,
    }
    for name, text in shown.items():
        assert not STEERS.search(text), name
    for name in ("attach", "show"):
        assert "before \\x1b]0;title\\x07 \\x9b31m \\u202etxet\\u202c \\u200b after" in shown[name]
    stored = betcode("sessions", "show", "--json", session).lines()
    assert EVIL in [event.get("text") for event in stored], "a program gets what claude wrote"


@pytest.mark.req("SE-4")
def test_an_unknown_kind_in_a_recording_cannot_steer_the_terminal(betcode: Command, tmp_path: Path) -> None:
    recording = tmp_path / "recording.ndjson"
    recording.write_text(json.dumps({"type": "odd\x1b[2J\u202e"}) + "\n")
    ended = betcode("protocol", "check", str(recording))
    assert (ended.status, STEERS.search(ended.out)) == (0, None)
    assert "odd\\x1b[2J\\u202e" in ended.out


@pytest.mark.req("SE-2")
@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (["run", "--timeout", "nan", "x"], "--timeout"),
        (["run", "--dir", "/tmp/" + 5_000 * "x", "x"], "directory"),
        (["daemon", "logs", "-n", "99999999999999999999"], "--lines"),
        (["permissions", "allow", "p0", "--edit", '{"a": "\\ud800"}'], "no UTF-8"),
    ],
)
def test_5_values_that_no_request_can_carry(betcode: Command, arguments: list[str], complaint: str) -> None:
    betcode("daemon", "start")
    ended = betcode(*arguments)
    assert (ended.status, complaint in ended.err, "hint: " in ended.err) == (5, True, True), ended


@pytest.mark.req("CF-1")
def test_78_a_file_in_the_place_of_the_configuration_directory(betcode: Command, tmp_path: Path) -> None:
    (tmp_path / "config").touch()
    places = {f"BETCODE_{name}_DIR": str(tmp_path / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    ended = betcode.with_env(**places)("daemon", "start")
    assert (ended.status, "Not a directory" in ended.err, "hint: " in ended.err) == (78, True, True), ended


@pytest.mark.req("PS-12")
@pytest.mark.parametrize("name, complaint", [("", "is not a file"), ("x" * 300, "does not exist")])
def test_72_a_path_that_can_be_no_claude(betcode: Command, tmp_path: Path, name: str, complaint: str) -> None:
    places = {f"BETCODE_{one}_DIR": str(tmp_path / one.lower()) for one in ("CONFIG", "DATA", "RUNTIME")}
    ended = betcode.with_env(BETCODE_CLAUDE=str(tmp_path / name), **places)("daemon", "start")
    assert (ended.status, complaint in ended.err, "hint: " in ended.err) == (72, True, True), ended


@pytest.mark.req("SE-2")
def test_a_frame_too_large_to_be_read_gets_an_error_before_the_connection_ends(
    made: Installation, betcode: Command
) -> None:
    betcode("daemon", "start")

    async def run() -> None:
        async with connected(made) as other, connected(made) as ws:

            async def pieces() -> AsyncIterator[str]:
                for _ in range(2 * limits.FRAME_BYTES_MAX // 1_000_000):
                    yield "y" * 1_000_000

            with contextlib.suppress(ConnectionClosed):  # it may be closed while this still sends
                await ws.send(pieces())
            assert error_of(await ws.recv())["code"] == "frame.too_large"
            await other.send('{"op": "ping", "id": 9}')
            assert json.loads(await other.recv())["re"] == 9

    asyncio.run(run())


@pytest.mark.req("INV-8")
def test_one_client_too_many_is_told_so_and_the_others_go_on(made: Installation, betcode: Command) -> None:
    betcode("daemon", "start")

    async def run() -> None:
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(connected(made)) for _ in range(limits.CONNECTIONS_MAX)]
            ended = await asyncio.to_thread(betcode, "sessions", "list", "--json")
            error = ended.json()["error"]
            assert (ended.status, error["code"], error["status"]) == (4, "limit.connections", "RESOURCE_EXHAUSTED")
            assert (error["limit"], error["scope"], error["retry_after_ms"]) == ("connections_max", "daemon", 1_000)
            assert "try again in 1 s" in (await asyncio.to_thread(betcode, "sessions", "list")).err
            assert (await asyncio.to_thread(betcode, "permissions", "list")).status == 0, "as urgent as an answer"
            await clients[0].send('{"op": "ping", "id": 9}')
            assert json.loads(await clients[0].recv())["re"] == 9

    asyncio.run(run())
    assert betcode("sessions", "list").status == 0


@pytest.mark.req("CF-2")
def test_78_a_log_that_cannot_be_written(betcode: Command, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / "daemon.log").mkdir()
    places = {f"BETCODE_{name}_DIR": str(tmp_path / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    ended = betcode.with_env(**places)("daemon", "run")
    assert (ended.status, "daemon.log" in ended.err, "hint: " in ended.err) == (78, True, True), ended


@pytest.mark.req("SE-2")
def test_5_a_present_directory_that_has_been_removed(betcode: Command, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    ended = in_shell(betcode, f'cd "{gone}" && rmdir "{gone}" && exec "$@"', "run", "x")
    assert (ended.returncode, "has been removed" in ended.stderr, "hint: " in ended.stderr) == (5, True, True), ended


@pytest.mark.req("SE-2")
@pytest.mark.parametrize("closed, out", [("<&-", "well\n"), (">&-", ""), ("<&- >&- 2>&-", "")])
def test_a_caller_may_close_the_standard_streams(betcode: Command, closed: str, out: str) -> None:
    ended = in_shell(betcode, f'exec "$@" {closed}', "run", scripted("say", {"text": "well"}))
    assert (ended.returncode, ended.stdout) == (0, out), ended


def in_shell(betcode: Command, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command by a shell, which does first what only a shell can."""
    argv = ["sh", "-c", script, "sh", *betcode.argv(*arguments)]
    return subprocess.run(
        argv,
        env=betcode.env,
        cwd=betcode.directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.req("SE-4")
def test_a_listed_question_says_where_the_tool_would_run(betcode: Command, made: Installation) -> None:
    step = {"tool": {"name": "Write", "input": {"file_path": str(made.project / "f\u202e.txt"), "content": "a\x1bb"}}}
    running = betcode.start("run", scripted("write", step, {"text": "ok"}))
    try:
        session = question_of(betcode, running)["session"]
        listed = betcode("permissions", "list", "--session", session).out
    finally:
        running.kill()
        running.communicate()
    assert f"Write in {made.project}\n" in listed
    assert ("f\\u202e.txt" in listed, "content: a\\x1bb" in listed, STEERS.search(listed)) == (True, True, None)


def question_of(betcode: Command, running: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The newest open question, once there is one."""
    while running.poll() is None:
        found: list[dict[str, Any]] = betcode("permissions", "list", "--json").json()["permissions"]
        if found:
            return found[-1]
    raise AssertionError("the command ended without a question")
