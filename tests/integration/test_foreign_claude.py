"""Somebody runs a plain claude on a conversation: it is seen while it lives, and what it said afterwards."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from betcode.adapters.other_claudes import others
from betcode.adapters.transcripts import has_transcript, read_conversation
from betcode.testing.claude_home import bundled_claude, clean_env, model_server
from betcode.testing.keeper_process import wait_until

FLAGS = ["-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose", "--allowedTools", "Bash"]
TOOL = {"name": "Bash", "input": {"command": "echo hi", "description": "w"}}
TURN = f"go @script {json.dumps({'steps': [{'text': 'look', 'tool': TOOL}, {'text': 'seen'}]})}"
LONG = f"hi @script {json.dumps({'steps': [{'words': 3000, 'delta_ms': 20}]})}"


@pytest.fixture
def env(tmp_path: Path) -> Iterator[dict[str, str]]:
    home = tmp_path / "home"
    home.mkdir()
    with model_server() as server:
        yield clean_env(home, server.url)


def turn(env: dict[str, str], cwd: Path, conversation: str, message: str) -> list[dict[str, Any]]:
    """One turn of a claude that is driven as ours are; what it printed."""
    line = {"type": "user", "uuid": message, "message": {"role": "user", "content": TURN}}
    run = subprocess.run(
        [str(bundled_claude()), *FLAGS, f"--session-id={conversation}"],
        env=env, cwd=cwd, input=json.dumps(line).encode() + b"\n", capture_output=True, timeout=100, check=True,
    )  # fmt: skip
    return [json.loads(printed) for printed in run.stdout.splitlines()]


def plain(env: dict[str, str], cwd: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    """What a person types in another window."""
    command = [str(bundled_claude()), "-p", *arguments]
    return subprocess.Popen(command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def blocks(printed: list[dict[str, Any]], key: str) -> set[str]:
    """This field of all tool calls and results that were printed."""
    contents = [line["message"]["content"] for line in printed if line["type"] in ("user", "assistant")]
    return {
        block[key] for content in contents for block in content if block["type"].startswith("tool") and key in block
    }


@pytest.mark.req("PS-5")
def test_what_is_stored_has_the_names_that_were_sent_and_printed(env: dict[str, str], tmp_path: Path) -> None:
    conversation, message = str(uuid4()), str(uuid4())
    assert not has_transcript(env, conversation)
    printed = turn(env, tmp_path, conversation, message)
    assert has_transcript(env, conversation)
    found = read_conversation(env, conversation)
    assert (found.found, found.whole, found.damaged, found.answered) == (True, True, 0, True)
    assert found.messages == {message}
    assert found.prompts == (message,)
    assert found.calls == blocks(printed, "id")
    assert found.results == blocks(printed, "tool_use_id")
    assert len(found.calls) == 1


@pytest.mark.req("INV-7")
def test_a_plain_claude_on_the_conversation_is_seen_while_it_lives_and_its_words_afterwards(
    env: dict[str, str], tmp_path: Path
) -> None:
    conversation, message = str(uuid4()), str(uuid4())
    turn(env, tmp_path, conversation, message)
    assert others(env, conversation, ()) == (), "an orderly end leaves nothing behind"
    assert read_conversation(env, conversation).prompts == (message,)
    with plain(env, tmp_path, "--resume", conversation, LONG) as process:
        try:
            wait_until(lambda: others(env, conversation, ()), what="the other claude", deadline_s=60)
            (other,) = others(env, conversation, ())
            assert (other.pid, other.directory, other.entrypoint) == (process.pid, str(tmp_path), "sdk-cli")
            assert others(env, conversation, {process.pid}) == (), "ours"
            assert others(env, str(uuid4()), ()) == (), "another conversation"
            wait_until(lambda: len(read_conversation(env, conversation).prompts) > 1, what="its prompt", deadline_s=60)
            assert not read_conversation(env, conversation).answered
        finally:
            process.send_signal(signal.SIGKILL)
    assert os.listdir(tmp_path / "home/.claude/sessions"), "kill -9 leaves its state file behind"
    assert others(env, conversation, ()) == ()
    found = read_conversation(env, conversation)
    (_, foreign) = found.prompts
    assert found.messages == {message, foreign}
    assert found.prompts == (message, foreign)
