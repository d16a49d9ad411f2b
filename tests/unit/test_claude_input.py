"""What a program writes to the standard input of `betcode-claude`."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from betcode.cli.claude_input import ControlAsked, Decided, InputLine, Nothing, Unusable, UserText, read_input


def line(**fields: Any) -> InputLine:
    return read_input(json.dumps(fields).encode() + b"\n")


def test_a_message_is_its_text_whether_plain_or_in_blocks() -> None:
    assert line(type="user", message={"role": "user", "content": "hi"}) == UserText("hi", "")
    blocks = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    assert line(type="user", uuid="u1", message={"content": blocks}) == UserText("one\n\ntwo", "u1")


@pytest.mark.parametrize(
    "content", [[], [{"type": "image"}], [{"type": "text", "text": "x"}, {"type": "image"}], None, 7]
)
def test_a_message_of_anything_else_is_not_shortened_but_refused(content: object) -> None:
    found = line(type="user", message={"content": content})
    assert isinstance(found, Unusable)
    assert "text" in found.why


def test_controls_and_decisions_keep_their_ids() -> None:
    asked = line(type="control_request", request_id="r1", request={"subtype": "interrupt"})
    assert asked == ControlAsked("r1", "interrupt", {"subtype": "interrupt"})
    allow = {"behavior": "allow"}
    yes = line(type="control_response", response={"subtype": "success", "request_id": "q1", "response": allow})
    assert yes == Decided("q1", allow, "")


@pytest.mark.req("INV-3")
@pytest.mark.parametrize(
    "answer", [{"subtype": "error", "error": "boom"}, {"subtype": "success"}, {"subtype": "x", "response": 1}]
)
def test_a_decision_that_is_none_allows_nothing(answer: dict[str, Any]) -> None:
    found = line(type="control_response", response={"request_id": "q1", **answer})
    assert isinstance(found, Decided)
    assert found.response is None
    assert found.error


def test_empty_lines_and_signs_of_life_ask_for_nothing() -> None:
    assert read_input(b"  \n") == Nothing()
    assert line(type="keep_alive") == Nothing()


@pytest.mark.req("SE-2")
@given(
    st.one_of(
        st.binary(max_size=60),
        st.recursive(
            st.none() | st.text(max_size=5),
            lambda x: st.dictionaries(
                st.sampled_from(["type", "message", "content", "request", "response", "request_id"]), x, max_size=4
            ),
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_no_line_raises(data: bytes) -> None:
    assert read_input(data) is not None
