"""Lines written to claude's standard input."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from betcode.wire import claude_stdin

RECORDINGS = Path(__file__).parents[1] / "recordings"
NASTY = (
    'quote " backslash \\ newline \r\n NUL \x00 ESC \x1b line \u2028 paragraph \u2029 \x85 emoji 👩\u200d👧 bidi \u202e'
)


def parsed(line: bytes) -> Any:
    """The line as claude reads it: it must be one line, of valid UTF-8."""
    text = line.decode("utf-8")
    assert not re.search("[\n\r\u2028\u2029]", text)
    return json.loads(text)


@pytest.mark.req("ND-10")
@pytest.mark.parametrize(
    "name, line",
    [
        (
            "01_no_init",
            claude_stdin.user_message("3d590d5d-844d-4b72-8bbc-6cfe0430a28a", "hello"),
        ),
        ("05_kill_right_after_write", claude_stdin.initialize("")),
        ("02_cancel_on_interrupt", claude_stdin.interrupt("req_d12f3ee6")),
        (
            "02_allow",
            claude_stdin.allow(
                "2d21ed14-d4a3-45f4-a230-2c3c9a2ba691",
                {"command": "echo hi > out.txt; cat out.txt", "description": "w"},
            ),
        ),
        (
            "02_error_response",
            claude_stdin.refuse_control("92759688-101a-46ff-9539-904358940cf7", "daemon failed"),
        ),
    ],
)
def test_lines_are_what_the_real_claude_was_given_in_a_recording(name: str, line: bytes) -> None:
    written = [json.loads(text) for text in (RECORDINGS / f"{name}.stdin.ndjson").read_bytes().splitlines()]
    ours = parsed(line)
    if ours.get("request_id") == "":
        ours["request_id"] = next(w["request_id"] for w in written if w["type"] == "control_request")
    assert ours in written


@pytest.mark.req("INV-1", "PM-8")
def test_odd_unicode_survives() -> None:
    line = claude_stdin.user_message("u", NASTY)
    assert parsed(line)["message"]["content"] == NASTY
    assert parsed(claude_stdin.deny("r", NASTY))["response"]["response"]["message"] == NASTY
    assert parsed(claude_stdin.allow("r", {NASTY: [NASTY]}))["response"]["response"]["updatedInput"] == {NASTY: [NASTY]}


@pytest.mark.req("INV-1", "PM-8")
def test_half_surrogate_pairs_become_replacement_characters() -> None:
    assert parsed(claude_stdin.user_message("u", "a\ud800b"))["message"]["content"] == "a\ufffdb"
    answer = parsed(claude_stdin.allow("r", {"k\udc00": ["\ud83d", 1, None, {"x": ("\udfff",)}]}))
    assert answer["response"]["response"]["updatedInput"] == {"k\ufffd": ["\ufffd", 1, None, {"x": ["\ufffd"]}]}


@pytest.mark.req("PM-8")
def test_an_allow_always_carries_the_input_and_only_a_given_rule() -> None:
    assert parsed(claude_stdin.allow("r", {})) == {
        "type": "control_response",
        "response": {
            "subtype": "success",
            "request_id": "r",
            "response": {"behavior": "allow", "updatedInput": {}},
        },
    }
    rule = {"type": "addRules", "rules": [{"toolName": "Bash"}], "behavior": "allow", "destination": "session"}
    answer = parsed(claude_stdin.allow("r", {"command": "ls"}, [rule]))["response"]["response"]
    assert answer == {"behavior": "allow", "updatedInput": {"command": "ls"}, "updatedPermissions": [rule]}


@pytest.mark.req("PM-8")
def test_a_denial_interrupts_only_when_told() -> None:
    assert parsed(claude_stdin.deny("r", "no"))["response"]["response"] == {"behavior": "deny", "message": "no"}
    assert parsed(claude_stdin.deny("r", "no", interrupt=True))["response"]["response"]["interrupt"] is True


@pytest.mark.req("PS-4")
def test_the_session_is_ended_by_a_control_request() -> None:
    assert parsed(claude_stdin.end_session("e")) == {
        "type": "control_request",
        "request_id": "e",
        "request": {"subtype": "end_session"},
    }
