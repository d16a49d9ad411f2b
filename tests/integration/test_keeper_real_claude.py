"""The real CLI under a real keeper, against the scripted model server: what the design rests on, each CLI version."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from betcode.keeper.journal import JournalReader
from betcode.testing.claude_home import bundled_claude, clean_env, model_server
from betcode.testing.keeper_process import KeeperProcess, is_running, lock_is_free, wait_until

FLAGS = (
    "-p --input-format stream-json --output-format stream-json --verbose --include-partial-messages "
    "--permission-prompt-tool stdio --allowedTools Bash"
)
WORDS = 60
STREAM = {"steps": [{"words": WORDS, "delta_ms": 20}]}
TOOL_COMMAND = "ls -l /proc/self/fd > fds.new; mv fds.new fds; echo $$ > pid.new; mv pid.new pid; tail -f /dev/null"
TOOL = {"steps": [{"tool": {"name": "Bash", "input": {"command": TOOL_COMMAND, "description": "wait"}}}]}


@pytest.fixture
def claude(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeeperProcess]:
    """A keeper with the real CLI, which has not been told anything yet."""
    session_dir = tmp_path_factory.mktemp("k")
    home, project = session_dir / "home", session_dir / "project"
    home.mkdir()
    project.mkdir()
    with model_server() as server:
        argv = [str(bundled_claude()), *FLAGS.split()]
        with KeeperProcess(session_dir, argv, env=clean_env(home, server.url), cwd=str(project)) as keeper:
            yield keeper


def _prompt(script: dict[str, Any]) -> bytes:
    content = f"@script {json.dumps(script)}"
    return json.dumps({"type": "user", "message": {"role": "user", "content": content}}).encode()


def _objects(stdout: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stdout.splitlines()]


def _streamed_text(stdout: bytes) -> str:
    deltas = (line["event"].get("delta", {}) for line in _objects(stdout) if line["type"] == "stream_event")
    return "".join(delta.get("text", "") for delta in deltas)


def _project(keeper: KeeperProcess) -> Path:
    return Path(str(keeper.spec["cwd"]))


def _start_tool(keeper: KeeperProcess) -> int:
    """Run the scripted Bash call; the pid of its shell."""
    keeper.link().attach().write("u1", _prompt(TOOL))
    wait_until((_project(keeper) / "pid").exists, what="the tool")
    return int((_project(keeper) / "pid").read_text())


@pytest.mark.req("PS-6", "INV-2")
def test_a_turn_runs_to_its_end_with_no_daemon_and_is_all_there_for_the_next_one(claude: KeeperProcess) -> None:
    link = claude.link().attach()
    link.write("u1", _prompt(STREAM))
    assert link.ack("u1")["result"] == "written"
    link.close()
    reader = JournalReader(str(claude.session_dir))
    wait_until(lambda: b'"terminal_reason":"completed"' in reader.read(1, 0, 1 << 24), what="the result in the journal")
    next_daemon = claude.link().attach(generation=2)
    next_daemon.write("u1", _prompt(STREAM))  # it cannot know that this was written
    assert next_daemon.ack("u1")["result"] == "duplicate"
    next_daemon.end("close_stdin")
    next_daemon.until(lambda: next_daemon.exit, what="EXIT")
    assert next_daemon.out == reader.read(1, 0, 1 << 24)
    lines = _objects(bytes(next_daemon.out))
    assert [line["is_error"] for line in lines if line["type"] == "result"] == [False]
    assert _streamed_text(bytes(next_daemon.out)).split() == [f"w{n}" for n in range(WORDS)]
    assert claude.report()["code"] == 0


@pytest.mark.req("PS-6", "INV-2")
def test_a_daemon_that_attaches_in_mid_stream_from_the_beginning_gets_the_identical_bytes(
    claude: KeeperProcess,
) -> None:
    first = claude.link().attach()
    first.write("u1", _prompt(STREAM))
    first.until(lambda: b"w20" in first.out, what="the middle of the stream")
    first.close()
    second = claude.link().attach(generation=2)
    third_from = len(first.out) // 2  # in the middle of a line, too
    second.until(lambda: b"w40" in second.out, what="more of the stream")
    third = claude.link().attach(generation=3, from_offset=third_from)
    third.until(lambda: b'"type":"result"' in third.out, what="the result")
    assert b'"type":"result"' not in second.out
    assert second.out.startswith(first.out)
    whole = bytes(first.out[:third_from] + third.out)
    assert whole.startswith(second.out)
    assert _streamed_text(whole[: whole.rindex(b"\n") + 1]).split() == [f"w{n}" for n in range(WORDS)]


@pytest.mark.req("INV-7", "PS-11")
def test_the_lock_is_inherited_by_the_cli_and_not_by_its_tools(claude: KeeperProcess) -> None:
    tool = _start_tool(claude)
    lock = str(claude.session_dir / "lock")
    inherited = [
        os.readlink(f"/proc/{claude.claude_pid}/fd/{fd}") for fd in os.listdir(f"/proc/{claude.claude_pid}/fd")
    ]
    assert lock in inherited
    assert lock not in (_project(claude) / "fds").read_text()
    os.kill(claude.claude_pid, signal.SIGSTOP)  # it cannot answer SIGTERM now
    claude.signal(signal.SIGKILL)
    claude.wait_gone()
    assert not lock_is_free(claude.session_dir)
    os.kill(claude.claude_pid, signal.SIGKILL)
    wait_until(lambda: lock_is_free(claude.session_dir), what="the lock")
    assert is_running(tool), "the tool outlives both, so it is proved that it does not hold the lock"
    os.kill(tool, signal.SIGKILL)
    wait_until(lambda: not is_running(tool), what="the end of the tool")


@pytest.mark.req("PS-6", "PS-11")
def test_the_cli_and_its_tool_end_when_the_keeper_is_killed(claude: KeeperProcess) -> None:
    tool = _start_tool(claude)
    claude.signal(signal.SIGKILL)
    wait_until(lambda: not is_running(claude.claude_pid), what="the end of the CLI")
    wait_until(lambda: not is_running(tool), what="the end of the tool")
    wait_until(lambda: lock_is_free(claude.session_dir), what="the lock")


@pytest.mark.req("PS-11")
@pytest.mark.parametrize("how, code, killed_by", [("kill", None, signal.SIGKILL), ("term", 143, None)])
def test_no_tool_survives_the_end_of_its_session(
    claude: KeeperProcess, how: str, code: int | None, killed_by: int | None
) -> None:
    tool = _start_tool(claude)
    link = claude.link().attach(generation=2)
    link.end(how, grace_s=30)
    report = claude.report()
    assert not is_running(tool)
    assert (report["code"], report["signal"], report["reason"]) == (code, killed_by, how)
    assert int(str(report["peak_rss_bytes"])) > 100_000_000
