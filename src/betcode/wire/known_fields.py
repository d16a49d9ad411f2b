"""What of claude's lines is new: kinds and fields that neither this program reads nor its recordings hold.

Unknown fields are ignored (ND-5), which is right and says nothing: here they are told, so that a claude that has
changed is noticed before it matters. Only kinds of which there are recordings have a list of their fields. Whatever a
person, a tool or an MCP server may fill freely is not looked into.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

from betcode.model import limits

_COMMON: Final = {"session_id", "type", "uuid"}
_SYSTEM: Final = _COMMON | {"subtype"}
_UUIDS: Final = {"user_message_uuid", "user_message_uuids"}

FIELDS: Final[dict[str, frozenset[str]]] = {
    kind: frozenset(common | set(words.split()))
    for kind, common, words in (
        (
            "assistant",
            _COMMON | _UUIDS,
            "aborted agent_id api_error api_error_params api_error_status api_error_type error is_api_error_message"
            " message parent_tool_use_id request_id resume_reason subagent_type task_description"
            " thinking_display thinking_duration_ms timestamp",
        ),
        ("attachment", _COMMON, "attachment parent_tool_use_id timestamp"),
        ("command_lifecycle", _COMMON, "command_uuid state"),
        ("control_cancel_request", _COMMON, "request_id"),
        ("control_request", _COMMON, "request request_id"),
        ("control_response", _COMMON, "response"),
        ("rate_limit_event", _COMMON, "rate_limit_info"),
        (
            "result",
            _SYSTEM | _UUIDS,
            "api_error api_error_status api_error_type begun_message_ids deferred_tool_use duration_api_ms duration_ms"
            " errors fast_mode_disabled_reason fast_mode_state first_content_frame_ms"
            " first_request_cache_read_input_tokens first_request_input_tokens is_error modelUsage"
            " model_usage_since_last_result num_turns origin permission_denials queued_turn_count request_sent_wall_ms"
            " result result_index resume_reason safety_stops stop_reason structured_output subagent_stats"
            " terminal_reason time_to_request_ms total_cost_usd ttft_ms ttft_stream_ms usage",
        ),
        (
            "stream_event",
            _COMMON | _UUIDS,
            "abandoned_blocks api_message_id event owed_rows parent_tool_use_id resume_reason thinking_display ttft_ms",
        ),
        ("system/api_retry", _SYSTEM, "attempt error error_status max_retries retry_delay_ms"),
        ("system/background_tasks_changed", _SYSTEM, "tasks"),
        (
            "system/init",
            _SYSTEM | _UUIDS,
            "additional_directories agents analytics_disabled apiKeySource capabilities claude_code_version cwd"
            " fast_mode_disabled_reason fast_mode_state mcp_servers memory_paths messaging_socket_path model"
            " original_cwd output_style per_turn_effort_active permissionMode plugins product_feedback_disabled"
            " served_by_anthropic skills slash_commands terminal_slash_commands tools ultrathink_available"
            " ultrathink_typed_raises view_mode",
        ),
        ("system/session_state_changed", _SYSTEM, "state"),
        ("system/status", _SYSTEM | _UUIDS, "permissionMode status"),
        (
            "system/task_notification",
            _SYSTEM,
            "output_file run_id status summary summary_is_report task_id tool_use_id usage",
        ),
        (
            "system/task_progress",
            _SYSTEM,
            "description last_tool_name run_id subagent_type task_id tool_use_id usage",
        ),
        (
            "system/task_started",
            _SYSTEM,
            "description is_backgrounded prompt run_id spawn_depth subagent_type task_id task_type tool_use_id",
        ),
        ("system/thinking_tokens", _SYSTEM | _UUIDS, "estimated_tokens estimated_tokens_delta"),
        ("system/task_updated", _SYSTEM, "patch run_id task_id"),
        (
            "user",
            _COMMON,
            "agent_id isReplay isSynthetic message parent_tool_use_id subagent_type task_description timestamp"
            " tool_result_meta tool_use_result",
        ),
    )
}
"""Kind of line -> every field that was ever seen in it; `tests/recordings` has them all."""

STREAM: Final = FIELDS["stream_event"]
EVENTS: Final = frozenset(
    {
        "content_block_delta",
        "content_block_start",
        "content_block_stop",
        "error",
        "message_delta",
        "message_start",
        "message_stop",
        "ping",
    }
)
"""Types of the events in a `stream_event`."""
BLOCKS: Final = frozenset({"document", "image", "redacted_thinking", "text", "thinking", "tool_result", "tool_use"})
"""Types of the blocks of a message."""
ASKED: Final = frozenset({"can_use_tool", "hook_callback"})
"""Subtypes of claude's control requests."""


class New(NamedTuple):
    """Something of a line that is not known. `value`: what stands there, as decoded."""

    what: Literal["kind", "field"]
    name: str
    value: object


def look(kind: str, line: dict[str, Any], found: list[New]) -> None:
    """Add what is new in a line of a known kind, at most `limits.NEW_IN_LINE_MAX` of each sort."""
    known = FIELDS.get(kind)
    if known is not None and not known.issuperset(line):
        names = sorted(line.keys() - known)[: limits.NEW_IN_LINE_MAX]
        found += [New("field", f"{kind}.{name}"[: limits.NAME_CHARS_MAX], line[name]) for name in names]
    if kind == "stream_event":
        _kind(kind, line.get("event"), "type", EVENTS, found)
    elif kind == "control_request":
        _kind(kind, line.get("request"), "subtype", ASKED, found)
    elif kind in ("assistant", "user"):
        message = line.get("message")
        content = message.get("content") if isinstance(message, dict) else None
        for block in content[: limits.NEW_IN_LINE_MAX] if isinstance(content, list) else ():
            _kind(kind, block, "type", BLOCKS, found)


def _kind(kind: str, part: object, field: str, known: frozenset[str], found: list[New]) -> None:
    name = part.get(field) if isinstance(part, dict) else None
    if isinstance(name, str) and name not in known:
        found.append(New("kind", f"{kind}/{name}"[: limits.NAME_CHARS_MAX], part))
