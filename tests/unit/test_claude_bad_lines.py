"""Lines that claude should not have printed: quarantined or read as far as they go, never raised."""

import json
from typing import Any

import pytest

from betcode.keeper import protocol
from betcode.model import limits
from betcode.model.facts import (
    ApiRetry,
    BadLine,
    ControlRequest,
    Delta,
    Fact,
    Lifecycle,
    PermissionRequest,
    RateLimit,
    Remark,
    TaskList,
    TextBlock,
    ToolCall,
    ToolResult,
    TurnResult,
    TurnStarted,
    Unknown,
)
from betcode.wire import claude_shapes
from betcode.wire.claude import read_line
from betcode.wire.claude_shapes import Shape
from betcode.wire.lenient import PROBLEMS_MAX, fit
from betcode.wire.objects import NESTING_MAX


def read(line: Any) -> list[Fact]:
    return read_line(json.dumps(line).encode())


def bad(facts: list[Fact]) -> BadLine:
    (line,) = [fact for fact in facts if isinstance(fact, BadLine)]
    return line


def schema(line: dict[str, Any]) -> tuple[str, list[Fact]]:
    """The detail of the one schema problem, which stands first, and the facts that could be made all the same."""
    facts = read(line)
    assert bad(facts[:1]).error_type == "schema"
    return bad(facts).detail, facts[1:]


@pytest.mark.req("ND-1")
@pytest.mark.parametrize("data", [b"", b" ", b"\r", b"\t \r"])
def test_an_empty_line_says_nothing(data: bytes) -> None:
    assert read_line(data) == []


@pytest.mark.req("ND-2")
@pytest.mark.parametrize(
    "data",
    [b"\xff", b'{"type":"keep_alive","skipped":"\xc3"}', b'{"type":"stream_event","event":{},"x":"\xed\xa0\x80"}'],
)
def test_invalid_utf8_is_quarantined_wherever_it_stands(data: bytes) -> None:
    (line,) = read_line(data)
    assert isinstance(line, BadLine)
    assert line.error_type == "invalid_utf8"
    assert line.size_bytes == len(data)
    assert "\\x" in line.raw


@pytest.mark.req("ND-3")
@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b'{"type":"keep_alive"',
        b'{"type":"keep_alive"}}',
        b'{"type":"keep_alive"} {"type":"keep_alive"}',
        b'{"type":"keep_alive","x":NaN}',
        b'{"type":"keep_alive","x":Infinity}',
        b'{"type":"keep_alive","x":1e999}',
        b'{"type":"keep_alive","x":"\\ud800","y":NaN}',
        b'{"type":"keep_alive","x":"\\ud800"',
        b'{"type":"keep_alive","x":"\\q"}',
        b'{"type":"keep_alive","x":"a\x01b"}',
        b'{"type":"keep_alive","x":' + b"1" * 5000 + b"}",
        b"\xef\xbb\xbf{}",
        b"null\x00",
        b"[" * 100_000,
        b'{"a":' * 100_000 + b'"\\ud800"',
    ],
)
def test_broken_json_is_quarantined(data: bytes) -> None:
    (line,) = read_line(data)
    assert isinstance(line, BadLine)
    assert line.error_type == "invalid_json"
    assert line.size_bytes == len(data)


@pytest.mark.req("ND-3")
def test_nesting_has_a_fixed_bound() -> None:
    def nested(levels: int) -> bytes:
        """A line of so many levels in all."""
        return b'{"type":"keep_alive","x":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"

    assert read_line(nested(NESTING_MAX)) == []
    assert bad(read_line(nested(NESTING_MAX + 1))).error_type == "invalid_json"
    assert read_line(b'{"type":"keep_alive","x":[' + b"[]," * 1000 + b'"' + b"[{" * 1000 + b'"]}') == []


@pytest.mark.req("ND-3")
@pytest.mark.parametrize(
    "escaped, text",
    [
        ("a\\ud83d", "a\ufffd"),
        ("\\uDE00b", "\ufffdb"),
        ("\\ud83d\\ude00 \\ud83d", "😀 \ufffd"),
        ("\\\\ud800", "\\ud800"),
        ("\\ud800\\u0041 é", "\ufffdA é"),
    ],
)
def test_half_surrogate_pairs_are_replaced(escaped: str, text: str) -> None:
    raw = escaped.encode()
    event = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%s"}}' % raw
    assert read_line(b'{"type":"stream_event","event":%s}' % event) == [Delta("", 0, "text", text)]
    call = b'{"type":"tool_use","id":"t","name":"n","input":{"%s":["%s"]}}' % (raw, raw)
    answer = b'{"type":"assistant","message":{"id":"m","content":[%s]}}' % call
    assert read_line(answer) == [ToolCall("", "m", "t", "n", {text: [text]})]


@pytest.mark.req("ND-5")
@pytest.mark.parametrize(
    "data",
    [b"1", b"null", b'"type"', b"[]", b"{}", b'{"type":1}', b'{"type":null}', b'{"type":"system"}', b'{"type":["a"]}'],
)
def test_json_that_is_no_typed_object_is_a_schema_problem(data: bytes) -> None:
    (line,) = read_line(data)
    assert isinstance(line, BadLine)
    assert line.error_type == "schema"
    assert line.raw == data.decode()


@pytest.mark.req("ND-7")
def test_an_oversize_line_is_marked_and_gives_nothing_else() -> None:
    (line,) = read_line(b'{"type":"keep_alive"}', original_size=12_345_678)
    assert isinstance(line, BadLine)
    assert line.error_type == "oversize"
    assert line.size_bytes == 12_345_678
    assert line.raw == '{"type":"keep_alive"}[truncated: original_size=12345678 bytes]'


@pytest.mark.req("ND-3", "ND-7")
@pytest.mark.parametrize("unit", ["x", "é", "漢", "😀"])
def test_previews_are_bounded_and_cut_visibly(unit: str) -> None:
    data = ("{" + unit * 2000).encode()
    raw = bad(read_line(data)).raw
    assert len(raw) == limits.BAD_LINE_PREVIEW_CHARS
    kept, _, mark = raw.partition("[")
    assert kept == "{" + unit * (len(kept) - 1)
    assert mark == f"truncated: original_size={len(data)} bytes]"


@pytest.mark.req("ND-4")
def test_unknown_kinds_are_passed_on_as_they_are() -> None:
    data = '{"type":"tomorrow","x":"é"}'
    assert read_line(data.encode()) == [Unknown("tomorrow", data)]
    data = '{"type":"system","subtype":"tomorrow"}'
    assert read_line(data.encode()) == [Unknown("system/tomorrow", data)]
    data = '{"type":"system/init"}'
    assert read_line(data.encode()) == [Unknown("system/init", data)]


@pytest.mark.req("ND-4")
def test_a_huge_unknown_line_is_cut_visibly() -> None:
    data = json.dumps({"type": "t" * 1000, "pad": "x" * 100_000}).encode()
    (line,) = read_line(data)
    assert isinstance(line, Unknown)
    assert line.name == "t" * limits.NAME_CHARS_MAX
    assert len(line.raw) == limits.UNKNOWN_RAW_CHARS
    assert line.raw.endswith(f"[truncated: original_size={len(data)} bytes]")


@pytest.mark.req("ND-5")
def test_numbers_given_as_strings_are_accepted_and_unknown_fields_ignored() -> None:
    line = {"attempt": "1", "max_retries": "10", "retry_delay_ms": "512.5", "error_status": "529", "new": {"x": 1}}
    assert read({"type": "system", "subtype": "api_retry", **line}) == [ApiRetry(1, 10, 512, 529, "")]


@pytest.mark.req("ND-5")
@pytest.mark.parametrize(
    "line, detail, facts",
    [
        ({"type": "command_lifecycle", "state": "queued"}, "command_uuid: missing", [Lifecycle("", "queued")]),
        (
            {
                "type": "result",
                "subtype": "success",
                "is_error": False,
                "num_turns": "many",
                "usage": [1],
                "result": "ok",
            },
            "num_turns: Expected `int | null`, got `str`; usage: Expected `object | null`, got `array`",
            [TurnResult("success", False, text="ok")],
        ),
        (
            {"type": "system", "subtype": "init", "session_id": "s", "tools": ["a", 1, "b"]},
            "model: missing; tools[1]: Expected `str`, got `int`",
            [TurnStarted("", "s", tools=("a", "b"))],
        ),
        (
            {"type": "system", "subtype": "background_tasks_changed", "tasks": [{"task_id": "a"}, 7, {"task_id": 1}]},
            "tasks[1]: expected `object`, got `int`; tasks[2].task_id: Expected `str`, got `int`",
            [TaskList(("a", "", ""), ("", "", ""))],
        ),
        (
            {
                "type": "rate_limit_event",
                "rate_limit_info": {"status": "allowed", "resetsAt": 1e17, "utilization": "nan"},
            },
            "rate_limit_info.resetsAt: Expected `float` <= 253402300799.0; "
            "rate_limit_info.utilization: Expected `float` >= 0.0",
            [RateLimit("allowed", "", 0)],
        ),
        (
            {"type": "assistant", "message": {"id": 5, "content": [{"type": "text"}, "x", {"type": "new"}]}},
            "message.id: Expected `str`, got `int`; message.content[0].text: missing; "
            "message.content[1]: expected `object`, got `str`",
            [TextBlock("", "", "text", ""), Remark("assistant/new")],
        ),
        (
            {"type": "user", "message": {"content": [{"type": "tool_result", "tool_use_id": "t", "content": 7}]}},
            "message.content[0].content: Expected `str | array | null`, got `int`",
            [ToolResult("", "t", "", False)],
        ),
        ({"type": "assistant"}, "message: missing", []),
        (
            {
                "type": "stream_event",
                "event": {"type": "content_block_delta", "index": -1, "delta": {"type": "text_delta"}},
            },
            "event.index: Expected `int` >= 0; event.delta.text: expected `str`, got `NoneType`",
            [],
        ),
        ({"type": "stream_event", "event": 5}, "event: Expected `object`, got `int`", []),
        ({"type": "stream_event", "event": {"type": {}}}, "event.type: Expected `str`, got `object`", []),
        (
            {"type": "system", "subtype": "informational", "content": {}},
            "content: expected `str`, got `dict`",
            [Remark("system/informational")],
        ),
    ],
)
def test_a_bad_field_costs_only_itself(line: dict[str, Any], detail: str, facts: list[Fact]) -> None:
    assert schema(line) == (detail, facts)


@pytest.mark.req("ND-5")
def test_only_the_first_problems_of_a_line_are_told() -> None:
    detail, facts = schema(
        {"type": "system", "subtype": "init", "session_id": "s", "model": "m", "tools": [1] * 10_000}
    )
    assert detail.count("Expected") == PROBLEMS_MAX
    assert facts == [TurnStarted("m", "s")]


@pytest.mark.req("ND-5")
@pytest.mark.parametrize("is_error", [{}, {"is_error": None}, {"is_error": "perhaps"}])
def test_a_result_that_does_not_say_whether_it_failed_is_judged_by_its_subtype(is_error: dict[str, Any]) -> None:
    for subtype, failed in [("success", False), ("error_during_execution", True)]:
        detail, facts = schema({"type": "result", "subtype": subtype, **is_error})
        assert detail.startswith("is_error: ")
        assert ";" not in detail
        assert facts == [TurnResult(subtype, failed)]


@pytest.mark.req("ND-5", "INV-3")
@pytest.mark.parametrize(
    "request_", [{"tool_name": 1, "input": {}}, {"tool_name": "Bash"}, {"tool_name": "", "input": {}}]
)
def test_a_permission_request_that_cannot_be_shown_is_left_to_be_refused(request_: dict[str, Any]) -> None:
    facts = read({"type": "control_request", "request_id": "r", "request": {"subtype": "can_use_tool", **request_}})
    assert facts[-1] == ControlRequest("r", "can_use_tool")
    assert not [fact for fact in facts if isinstance(fact, PermissionRequest)]


@pytest.mark.req("ND-5")
@pytest.mark.parametrize(
    "line",
    [
        {"type": "control_request", "request": {"subtype": "can_use_tool", "tool_name": "Bash", "input": {}}},
        {"type": "control_request", "request_id": "é" * 49, "request": {"subtype": "make_coffee"}},
        {"type": "control_response", "response": {"subtype": "success", "request_id": 1}},
        {"type": "control_cancel_request"},
    ],
)
def test_without_a_request_id_there_is_no_one_to_answer(line: dict[str, Any]) -> None:
    detail, facts = schema(line)
    assert "request_id" in detail
    assert facts == []


@pytest.mark.req("ND-5")
def test_any_request_id_that_is_read_can_be_answered() -> None:
    longest = "\U0001f9d1" * limits.REQUEST_ID_CHARS_MAX
    for prefix in ("answer:", "refuse:", "again:"):
        protocol.stdin_frame(prefix + longest, b"{}")
    assert read({"type": "control_request", "request_id": longest, "request": {"subtype": "x"}}) == [
        ControlRequest(longest, "x")
    ]


def all_shapes(base: type[Shape] = Shape) -> list[type[Shape]]:
    return [shape for child in base.__subclasses__() for shape in (child, *all_shapes(child))]


@pytest.mark.req("ND-5")
@pytest.mark.parametrize("shape", all_shapes(), ids=lambda shape: shape.__name__)
@pytest.mark.parametrize("value", [{}, None, 5, [], "x"])
def test_every_shape_can_be_made_of_nothing(shape: type[Shape], value: object) -> None:
    """A required field of a type that has no empty value would raise."""
    assert shape.__module__ == claude_shapes.__name__
    problems: list[str] = []
    made = fit(shape, value, problems)
    assert isinstance(made, shape)
    assert value == {} or problems
