"""`betcode run` for programs: its output is that of `claude -p`, compared with the real one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from betcode.testing.claude_home import bundled_claude
from betcode.testing.command import Command
from betcode.testing.installation import Installation, installation, scripted, words

ECHO = {"text": "working", "tool": {"name": "Bash", "input": {"command": "echo hello", "description": "say hello"}}}
PROMPT = scripted("go", ECHO, {"words": 5})


@pytest.fixture(scope="module")
def made() -> Iterator[Installation]:
    with installation() as made:
        yield made


@pytest.fixture(scope="module")
def betcode(made: Installation) -> Command:
    return Command(made.env, made.project)


def direct(made: Installation, *arguments: str, prompt: str = PROMPT) -> list[dict[str, Any]]:
    """What the real CLI prints for the same prompt."""
    argv = [str(bundled_claude()), "-p", prompt, "--allowedTools", "Bash(echo *)", *arguments]
    done = subprocess.run(argv, env=made.env, cwd=made.project, input=b"", capture_output=True, timeout=60, check=False)
    return [json.loads(line) for line in done.stdout.splitlines()]


def kinds(lines: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Type, subtype, kinds of blocks and of stream events of each line."""
    found = []
    for line in lines:
        message = line.get("message", {})
        content = message.get("content", []) if isinstance(message, dict) else []
        blocks = [b["type"] for b in content] if isinstance(content, list) else ["text"]
        found.append((line["type"], line.get("subtype"), *blocks, line.get("event", {}).get("type")))
    return found


@pytest.mark.req("ND-4")
def test_stream_json_is_what_claude_prints(betcode: Command, made: Installation) -> None:
    ended = betcode("run", "--output-format", "stream-json", "--verbose", "--allow", "Bash", PROMPT)
    theirs = direct(made, "--output-format", "stream-json", "--verbose")
    assert ended.status == 0
    assert kinds(ended.lines()) == kinds(theirs)
    for ours, other in zip(ended.lines(), theirs, strict=True):
        assert other.keys() - ours.keys() <= {"fast_mode_disabled_reason"}
    assert ended.lines()[-1]["result"] == theirs[-1]["result"] == words(5)


def test_stream_json_with_partial_messages_is_what_claude_prints(betcode: Command, made: Installation) -> None:
    ended = betcode(
        "run", "-p", "--output-format", "stream-json", "--include-partial-messages", "--allow", "Bash", PROMPT
    )
    theirs = direct(made, "--output-format", "stream-json", "--verbose", "--include-partial-messages")
    assert kinds(ended.lines()) == kinds(theirs)


DENIED = scripted(
    "go",
    {"text": "working", "tool": {"name": "Bash", "input": {"command": "touch made.txt"}}},
    {"tool": {"name": "Write", "input": {"file_path": "made.txt", "content": "x"}}},
    {"text": "I may not"},
)


@pytest.mark.req("ND-4", "PM-2")
@pytest.mark.parametrize("rule", ["nobody answers", "a rule asks", "a rule denies"])
def test_stream_json_with_refused_calls_is_what_claude_prints(betcode: Command, made: Installation, rule: str) -> None:
    rules = {"a rule asks": {"ask": ["Bash(touch *)"]}, "a rule denies": {"deny": ["Bash(touch *)"]}}.get(rule, {})
    settings = made.project / ".claude" / "settings.json"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(json.dumps({"permissions": rules}))
    try:
        ended = betcode("run", "--output-format", "stream-json", "--permission-ttl", "1", DENIED)
        theirs = direct(made, "--output-format", "stream-json", "--verbose", prompt=DENIED)
    finally:
        settings.unlink()
    assert ended.status == 3
    assert kinds(ended.lines()) == kinds(theirs)
    ours = [line for line in ended.lines() if line.get("subtype") == "permission_denied"]
    others = [line for line in theirs if line.get("subtype") == "permission_denied"]
    assert [list(line) for line in ours] == [list(line) for line in others]
    assert [line["tool_name"] for line in ours] == ["Bash", "Write"]
    results = {b["tool_use_id"]: b["content"] for line in ended.lines() if line["type"] == "user" for b in blocks(line)}
    assert {line["tool_use_id"]: line["message"] for line in ours} == results


def blocks(line: dict[str, Any]) -> list[dict[str, Any]]:
    """The blocks of a message."""
    found: list[dict[str, Any]] = line["message"]["content"]
    return found


@pytest.mark.req("ND-4")
def test_stream_json_of_an_api_error_is_what_claude_prints(betcode: Command, made: Installation) -> None:
    prompt = scripted("fail", {"status": 400, "message": "no credit left"})
    ended = betcode("run", "--output-format", "stream-json", prompt)
    theirs = direct(made, "--output-format", "stream-json", "--verbose", prompt=prompt)
    assert ended.status == 1
    assert kinds(ended.lines()) == kinds(theirs)
    for ours, other in zip(ended.lines(), theirs, strict=True):
        assert other.keys() - ours.keys() <= {"fast_mode_disabled_reason"}
    assert (ended.lines()[-1]["is_error"], ended.lines()[-1]["result"]) == (True, theirs[-1]["result"])


def test_json_is_claudes_result_object(betcode: Command, made: Installation) -> None:
    ours = betcode("run", "--output-format", "json", "--allow", "Bash", PROMPT).json()
    [theirs] = direct(made, "--output-format", "json")
    assert theirs.keys() - ours.keys() == set()
    for name in ("type", "subtype", "is_error", "result", "num_turns", "permission_denials", "stop_reason"):
        assert ours[name] == theirs[name], name


def test_the_id_in_the_result_resumes_the_session(betcode: Command) -> None:
    first = betcode("run", "--output-format", "json", scripted("one", {"words": 2})).json()
    second = betcode("run", "--output-format", "json", "--resume", first["session_id"], scripted("two", {"words": 3}))
    assert second.json()["session_id"] == first["session_id"]
    assert second.json()["result"] == words(3)


@pytest.mark.req("ND-4")
def test_raw_prints_all_that_claude_prints_in_a_session_with_one_turn(betcode: Command, made: Installation) -> None:
    ended = betcode("run", "--raw", "--allow", "Bash", PROMPT)
    assert ended.status == 0
    kinds = [(line["type"], line.get("subtype"), line.get("state")) for line in ended.lines()]
    assert kinds[0] == ("control_response", None, None)
    assert kinds[-1] == ("system", "session_state_changed", "idle")
    assert ended.out == journal(betcode, made)


@pytest.mark.req("ND-4")
def test_raw_of_a_later_turn_begins_where_the_earlier_one_ended(betcode: Command, made: Installation) -> None:
    first = betcode("run", "--raw", scripted("one", {"words": 2}))
    second = betcode("run", "--raw", "--continue", scripted("two", {"words": 3}))
    assert first.out + second.out == journal(betcode, made)


def journal(betcode: Command, made: Installation) -> str:
    """What claude printed in the newest session."""
    newest = betcode("status", "--json").json()["sessions"][0]["id"]
    return "".join(file.read_text() for file in sorted((made.paths.sessions / newest).glob("*.out")))


@pytest.mark.req("PS-6")
@pytest.mark.req("INV-2")
def test_a_daemon_killed_in_mid_answer_costs_the_output_no_line_and_doubles_none(
    betcode: Command, made: Installation
) -> None:
    prompt = scripted("long", {"words": 60, "delta_ms": 30})
    lines: list[dict[str, Any]] = []
    with betcode.start("run", "--output-format", "stream-json", "--include-partial-messages", prompt) as running:
        assert running.stdout is not None
        for line in running.stdout:
            lines.append(json.loads(line))
            if len(lines) == 20:
                assert made.kill_daemon()
    assert running.returncode == 0
    deltas = [line["event"]["delta"].get("text", "") for line in lines if "delta" in line.get("event", {})]
    assert "".join(deltas) == words(60)
    assert [line["type"] for line in lines].count("result") == 1
    assert lines[-1]["result"] == words(60)


@pytest.mark.parametrize("form", ["json", "stream-json"])
def test_a_message_that_never_reached_claude_ends_in_a_result_of_the_same_form(form: str) -> None:
    with installation() as made:
        betcode = Command(made.env, made.project)
        assert betcode("daemon", "start").status == 0
        gone = made.project / "gone"
        gone.mkdir()
        session = betcode("run", "--dir", str(gone), "--output-format", "json", scripted("hi", {"words": 1})).json()
        betcode("daemon", "stop", "--stop-sessions")
        gone.rmdir()
        ended = betcode("run", "--resume", session["session_id"], "--output-format", form, scripted("x", {"words": 1}))
        assert ended.status == 5
        assert (ended.lines()[-1]["type"], ended.lines()[-1]["is_error"]) == ("result", True)
        assert "gone" in ended.lines()[-1]["result"]
        assert "hint: " in ended.err


def test_the_time_limit_interrupts_and_the_output_still_ends_with_a_result(betcode: Command) -> None:
    prompt = scripted("long", {"words": 600, "delta_ms": 50})
    ended = betcode("run", "--timeout", "3", "--output-format", "stream-json", prompt)
    assert ended.status == 124
    assert (ended.lines()[-1]["type"], ended.lines()[-1]["is_error"]) == ("result", True)
