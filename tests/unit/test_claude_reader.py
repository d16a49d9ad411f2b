"""Reading the lines of the real claude: every kind, and every recording."""

import json
from pathlib import Path
from typing import Any

import pytest

from betcode.model.facts import (
    AnswerStarted,
    ApiRetry,
    BadLine,
    BlockStarted,
    BlockStopped,
    ControlAnswer,
    ControlRequest,
    Delta,
    Fact,
    Lifecycle,
    PermissionRequest,
    RateLimit,
    Remark,
    RequestSent,
    RequestWithdrawn,
    RunState,
    Task,
    TaskList,
    TextBlock,
    ToolCall,
    ToolProgress,
    ToolResult,
    TurnResult,
    TurnStarted,
    Unknown,
    UserText,
)
from betcode.wire.claude import read_line

RECORDINGS = sorted(
    path
    for path in (Path(__file__).parents[1] / "recordings").glob("*.ndjson")
    if not path.name.endswith(".stdin.ndjson")
)


def read(line: dict[str, Any]) -> list[Fact]:
    return read_line(json.dumps(line).encode())


def recorded(name: str) -> list[Fact]:
    path = next(path for path in RECORDINGS if path.stem == name)
    return [fact for line in path.read_bytes().splitlines() for fact in read_line(line)]


def of(kind: type[Fact], facts: list[Fact]) -> list[Any]:
    return [fact for fact in facts if isinstance(fact, kind)]


# --- recordings -----------------------------------------------------------------------------------------------------
@pytest.mark.req("ND-10")
@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_no_recorded_line_is_bad_or_unknown(path: Path) -> None:
    for line in path.read_bytes().splitlines():
        facts = read_line(line)
        assert not of(BadLine, facts) + of(Unknown, facts)


@pytest.mark.req("ND-10")
def test_every_recorded_turn_is_read() -> None:
    """The index says how each turn ended; it was written by another program than the reader."""
    index = (RECORDINGS[0].parent / "INDEX.md").read_text("utf-8")
    rows = [[cell.strip() for cell in line.split("|")] for line in index.splitlines() if ".ndjson |" in line]
    assert len(rows) == len(RECORDINGS)
    for _, name, _, _, reasons, _, _ in rows:
        results = of(TurnResult, recorded(name.removesuffix(".ndjson")))
        ends = "; ".join(
            r.terminal_reason or ("tool_deferred" if r.deferred_tool_use_id else r.subtype) for r in results
        )
        assert ends == reasons


@pytest.mark.req("ND-10")
def test_an_allowed_call_is_told_from_question_to_result() -> None:
    facts = recorded("02_allow")
    (question,) = of(PermissionRequest, facts)
    assert question.tool == "Bash"
    assert question.input == {"command": "echo hi > out.txt; cat out.txt", "description": "w"}
    assert question.request_id == "2d21ed14-d4a3-45f4-a230-2c3c9a2ba691"
    assert [s["type"] for s in question.suggestions] == ["addRules", "addDirectories"]
    (call,) = of(ToolCall, facts)
    (result,) = of(ToolResult, facts)
    assert question.tool_use_id == call.tool_use_id == result.tool_use_id
    assert (result.text, result.is_error) == ("hi", False)
    message = "ad3d74f2-228f-4519-aed9-841968deb50a"
    assert [f.state for f in of(Lifecycle, facts) if f.message_id == message] == ["queued", "started", "completed"]
    assert of(TurnResult, facts)[0].message_ids == (message,)
    assert len(of(TurnStarted, facts)) == 2
    assert of(TurnStarted, facts)[0].version == "2.1.330"


@pytest.mark.req("ND-10")
def test_an_interrupt_is_seen_in_the_block_the_answer_and_the_result() -> None:
    facts = recorded("04_interrupt_mid_stream")
    block = of(TextBlock, facts)[0]
    assert block.aborted
    assert block.text == "".join(f.text for f in of(Delta, facts) if f.index == 0)[: len(block.text)]
    assert of(ControlAnswer, facts)[0] == ControlAnswer(
        of(ControlAnswer, facts)[0].request_id, True, {"still_queued": []}
    )
    assert of(UserText, facts)[0].text == "[Request interrupted by user]"
    first = of(TurnResult, facts)[0]
    assert (first.is_error, first.terminal_reason) == (True, "aborted_streaming")


@pytest.mark.req("ND-10")
def test_a_usage_limit_is_seen_before_the_answer_that_tells_of_it() -> None:
    facts = recorded("07_unified_headers_rejected_oauth")
    told = [f for f in facts if isinstance(f, (RateLimit, TextBlock, TurnResult))][:3]
    assert [type(f) for f in told] == [RateLimit, TextBlock, TurnResult]
    limit, text, result = told
    assert isinstance(limit, RateLimit)
    assert (limit.status, limit.window) == ("rejected", "five_hour")
    assert limit.resets_at_unix_s > 1_795_000_000
    assert isinstance(text, TextBlock)
    assert text.api_error == "usage_limit_reached"
    assert isinstance(result, TurnResult)
    assert (result.subtype, result.is_error, result.api_error_status) == ("success", True, 429)
    assert result.api_error == "usage_limit_reached"


@pytest.mark.req("ND-10")
def test_a_subagent_has_its_own_scope() -> None:
    facts = recorded("12_subagent_permission")
    main, sub = of(ToolCall, facts)
    assert main.scope == ""
    assert sub.scope == main.tool_use_id
    assert of(PermissionRequest, facts)[0].agent_id
    assert [t.change for t in of(Task, facts)] == ["started", "progress", "updated", "notification"]
    assert [len(t.task_ids) for t in of(TaskList, facts)] == [1, 0]
    assert [r.state for r in of(RunState, facts)] == ["running", "requires_action", "running", "idle"]
    assert [r.origin for r in of(TurnResult, facts)] == ["", "task-notification"]


@pytest.mark.req("ND-10")
@pytest.mark.parametrize(
    "name, kind, count",
    [
        ("02_cancel_on_interrupt", RequestWithdrawn, 1),
        ("06b_hook_timeout_3s", ControlRequest, 1),
        ("07_500_default_retries", ApiRetry, 6),
        ("02_allow", RequestSent, 3),
    ],
)
def test_recorded_facts_are_counted(name: str, kind: type[Fact], count: int) -> None:
    assert len(of(kind, recorded(name))) == count


@pytest.mark.req("ND-10")
def test_a_refused_and_a_deferred_call_are_named_by_the_result() -> None:
    (refused,) = of(TurnResult, recorded("02_error_response"))
    assert refused.denials == (of(ToolCall, recorded("02_error_response"))[0].tool_use_id,)
    (deferred,) = of(TurnResult, recorded("06_defer4"))
    assert deferred.deferred_tool_use_id == of(ToolCall, recorded("06_defer4"))[-1].tool_use_id


# --- one kind each --------------------------------------------------------------------------------------------------
def stream(event: dict[str, Any], **more: Any) -> list[Fact]:
    return read({"type": "stream_event", "event": event, **more})


@pytest.mark.req("ND-10")
@pytest.mark.parametrize(
    "event, facts",
    [
        ({"type": "message_start", "message": {"id": "m"}}, [AnswerStarted("s", "m")]),
        (
            {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "t"}},
            [BlockStarted("s", 1, "tool")],
        ),
        (
            {"type": "content_block_start", "index": 2, "content_block": {"type": "new"}},
            [BlockStarted("s", 2, "other")],
        ),
        (
            {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "a"}},
            [Delta("s", 1, "text", "a")],
        ),
        (
            {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "b"}},
            [Delta("s", 0, "thinking", "b")],
        ),
        (
            {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{"}},
            [Delta("s", 0, "tool", "{")],
        ),
        (
            {"type": "content_block_delta", "index": "3", "delta": {"type": "text_delta", "text": "a"}},
            [Delta("s", 3, "text", "a")],
        ),
        ({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "x"}}, []),
        ({"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": {}}}, []),
        ({"type": "content_block_stop", "index": 1}, [BlockStopped("s", 1)]),
        ({"type": "message_delta", "delta": {}}, []),
        ({"type": "message_stop"}, []),
        ({"type": "ping"}, []),
        ({"type": "new in the API"}, []),
    ],
)
def test_stream_events(event: dict[str, Any], facts: list[Fact]) -> None:
    assert stream(event, parent_tool_use_id="s") == facts


@pytest.mark.req("ND-10")
def test_each_block_of_an_answer_is_a_fact_in_order() -> None:
    content = [
        {"type": "thinking", "thinking": "hm", "signature": "x"},
        {"type": "text", "text": "so"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}},
    ]
    assert read({"type": "assistant", "message": {"id": "m", "content": content}, "error": "rate_limit"}) == [
        TextBlock("", "m", "thinking", "hm", False, "rate_limit"),
        TextBlock("", "m", "text", "so", False, "rate_limit"),
        Remark("assistant/redacted_thinking"),
        ToolCall("", "m", "t1", "Bash", {"command": "ls"}),
    ]


@pytest.mark.req("ND-10")
def test_a_tool_result_shows_texts_and_names_what_is_no_text() -> None:
    blocks = [{"type": "text", "text": "a"}, {"type": "image", "source": {}}, {"type": "text", "text": "b"}]
    results = [
        {"type": "tool_result", "tool_use_id": "t", "content": blocks, "is_error": True},
        {"type": "tool_result", "tool_use_id": "u"},
        {"type": "image", "source": {}},
        {"type": "text", "text": "note"},
    ]
    assert read({"type": "user", "message": {"content": results}, "parent_tool_use_id": "p", "uuid": "i"}) == [
        ToolResult("p", "t", "a\n[image]\nb", True),
        ToolResult("p", "u", "", False),
        UserText("p", "[image]", "i"),
        UserText("p", "note", "i"),
    ]


@pytest.mark.req("ND-10")
def test_a_repeated_and_a_synthetic_text_are_marked() -> None:
    assert read({"type": "user", "message": {"content": "hi"}, "uuid": "i", "isReplay": True}) == [
        UserText("", "hi", "i", replay=True)
    ]
    assert read({"type": "user", "message": {"content": "go on"}, "isSynthetic": True}) == [
        UserText("", "go on", synthetic=True)
    ]


@pytest.mark.req("ND-10")
@pytest.mark.parametrize(
    "line, facts",
    [
        ({"type": "keep_alive"}, []),
        ({"type": "progress", "data": 1}, [Remark("progress")]),
        ({"type": "tool_progress", "tool_use_id": "t", "elapsed_time_seconds": 30}, [ToolProgress("t", 30.0)]),
        ({"type": "attachment", "attachment": {"type": "hook_success"}}, [Remark("attachment", "hook_success")]),
        ({"type": "system", "subtype": "status", "status": None}, [Remark("system/status")]),
        (
            {"type": "system", "subtype": "status", "status": None, "permissionMode": "plan"},
            [Remark("system/status", "permission mode: plan")],
        ),
        (
            {"type": "system", "subtype": "session_title_changed", "title": "t"},
            [Remark("system/session_title_changed", "t")],
        ),
        (
            {"type": "system", "subtype": "compact_boundary", "compact_metadata": {"trigger": "auto", "pre_tokens": 9}},
            [Remark("system/compact_boundary", "auto, 9 tokens")],
        ),
        (
            {"type": "system", "subtype": "permission_denied", "tool_name": "Bash", "decision_reason": "rule"},
            [Remark("system/permission_denied", "Bash: rule")],
        ),
        ({"type": "system", "subtype": "thinking_tokens", "estimated_tokens": 5}, []),
        (
            {"type": "control_response", "response": {"subtype": "error", "request_id": "r", "error": "no"}},
            [ControlAnswer("r", False, {}, "no")],
        ),
        (
            {"type": "control_request", "request_id": "r", "request": {"subtype": "mcp_message", "x": 1}},
            [ControlRequest("r", "mcp_message")],
        ),
    ],
)
def test_the_other_kinds(line: dict[str, Any], facts: list[Fact]) -> None:
    assert read(line) == facts
