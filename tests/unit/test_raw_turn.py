"""Which of claude's lines `betcode run` prints."""

import json
from typing import Any

import pytest

from betcode.cli.raw_turn import RawTurn, head

OURS, OTHER = "key-1", "key-2"


def raw(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def life(key: str, state: str) -> bytes:
    return raw(type="command_lifecycle", command_uuid=key, state=state)


RESULT = raw(type="result", subtype="success", user_message_uuids=[OURS])
LINES = [
    raw(type="result", user_message_uuids=[OTHER]),  # of the turn before
    life(OURS, "queued"),
    raw(type="assistant", message={"id": "before"}),
    life(OURS, "started"),
    raw(type="system", subtype="init"),
    raw(type="system", subtype="status"),
    raw(type="system", subtype="session_state_changed", state="running"),
    raw(type="stream_event", event={}),
    raw(type="control_request", request_id="q"),
    raw(type="assistant", message={"id": "ours"}),
    raw(type="brand_new"),
    b"not json at all",
    RESULT,
    life(OURS, "completed"),
    raw(type="assistant", message={"id": "after"}),
]


def shown(turn: RawTurn) -> list[bytes]:
    return [shown for line in LINES for shown in turn.take(line)]


def test_only_what_claude_would_print_for_this_message_is_shown() -> None:
    turn = RawTurn(OURS)
    assert [head(line).kind for line in shown(turn)] == ["system/init", "assistant", "brand_new", "result"]
    assert (turn.result, turn.over) == (RESULT, True)


def test_text_that_is_being_written_is_shown_when_it_is_wanted() -> None:
    kinds = [head(line).kind for line in shown(RawTurn(OURS, partial=True))]
    assert kinds == ["system/init", "system/status", "stream_event", "assistant", "brand_new", "result"]


IDLE = raw(type="system", subtype="session_state_changed", state="idle")


def test_the_whole_is_every_byte_from_the_first_line_about_the_message_on_until_claude_is_idle() -> None:
    turn = RawTurn(OURS, whole=True)
    assert shown(turn) == LINES[1:]
    assert not turn.over
    assert turn.take(IDLE) == [IDLE]
    assert turn.over


def test_the_whole_begins_before_the_first_line_about_a_message_that_claude_gets_alone() -> None:
    assert shown(RawTurn(OURS, whole=True, alone=True)) == LINES


def test_the_whole_ends_before_the_next_message() -> None:
    turn = RawTurn(OURS, whole=True)
    shown(turn)
    assert (turn.take(life(OTHER, "queued")), turn.over) == ([life(OTHER, "queued")], False)
    assert (turn.take(life(OTHER, "started")), turn.over) == ([], True)


@pytest.mark.parametrize(
    "line", [b"", b"[]", b"\xff", b'{"type":7}', b'{"type":"result","user_message_uuids":{}}', b"[" * 5000]
)
def test_a_line_of_any_shape_has_a_head(line: bytes) -> None:
    assert head(line).type in ("", "7", "result")


def test_a_result_that_names_another_message_is_not_ours() -> None:
    turn = RawTurn(OURS)
    turn.take(life(OURS, "started"))
    turn.take(raw(type="result", user_message_uuids=[OTHER]))
    assert turn.result is None


def asked(call: str, **more: Any) -> bytes:
    request = {"subtype": "can_use_tool", "tool_name": "Bash", "tool_use_id": call, "input": {}, **more}
    return raw(type="control_request", request_id=f"request of {call}", request=request)


def answered(call: str, *, decision: str, text: str) -> bytes:
    block = {"type": "tool_result", "tool_use_id": call, "is_error": True, "content": text}
    meta = [{"id": call, "permission_decision": {"decision": decision}}]
    return raw(type="user", message={"content": [block]}, tool_result_meta=meta, session_id="s-1")


@pytest.mark.req("ND-4")
def test_a_call_that_was_refused_here_gets_claudes_own_line_before_its_result() -> None:
    def lines() -> list[bytes]:
        turn = RawTurn(OURS)
        given = [
            life(OURS, "started"),
            asked("c1", decision_reason_type="rule", agent_id="a7"),
            asked("c2"),
            answered("c1", decision="reject", text="not today"),
            answered("c2", decision="accept", text="exit code 1"),
            answered("c3", decision="reject", text="claude has printed the line for this one itself"),
        ]
        return [shown for line in given for shown in turn.take(line)]

    denied, *results = lines()
    assert [head(line).type for line in results] == ["user"] * 3
    value = json.loads(denied)
    assert list(value) == [
        *("type", "subtype", "tool_name", "tool_use_id", "agent_id", "decision_reason_type", "message"),
        *("uuid", "session_id"),
    ]
    assert (value["subtype"], value["tool_use_id"], value["message"]) == ("permission_denied", "c1", "not today")
    assert lines()[0] == denied, "the same call, the same line"


@pytest.mark.parametrize("line", [raw(type="user"), raw(type="user", message={"content": [7]}), b'{"type":"user",'])
def test_a_user_line_of_any_shape_is_no_refusal(line: bytes) -> None:
    turn = RawTurn(OURS, whole=False)
    turn.take(life(OURS, "started"))
    turn.take(asked("c1"))
    turn.take(raw(type="control_request", request=[]))
    assert turn.take(line) == ([line] if head(line).type else [])
