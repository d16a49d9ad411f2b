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
    return [line for line in LINES if turn.take(line) is not None]


def test_only_what_claude_would_print_for_this_message_is_shown() -> None:
    turn = RawTurn(OURS)
    assert [head(line).kind for line in shown(turn)] == ["system/init", "assistant", "brand_new", "result"]
    assert (turn.result, turn.over) == (RESULT, True)


def test_text_that_is_being_written_is_shown_when_it_is_wanted() -> None:
    kinds = [head(line).kind for line in shown(RawTurn(OURS, partial=True))]
    assert kinds == ["system/init", "system/status", "stream_event", "assistant", "brand_new", "result"]


def test_the_whole_is_every_byte_from_the_first_line_about_the_message_on() -> None:
    turn = RawTurn(OURS, whole=True)
    assert shown(turn)[:13] == LINES[1:14]
    assert turn.over


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
