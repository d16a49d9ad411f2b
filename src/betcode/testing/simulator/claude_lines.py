"""The lines that a model claude prints, as bytes, in the forms recorded from the real one."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode
VERSION = "2.1.330"
SHORT_LINES = 65_536
"""Lines that are too long are printed only where the limit is below this: the others would cost more than they show."""


def line(value: dict[str, Any]) -> bytes:
    """A JSON line with its newline."""
    return _encode(value) + b"\n"


def lifecycle(uuid: str, state: str) -> bytes:
    """Claude reports on one of our messages."""
    return line({"type": "command_lifecycle", "command_uuid": uuid, "state": state})


def init(conversation: str, uuids: tuple[str, ...]) -> bytes:
    """The beginning of a turn."""
    return line(
        {
            "type": "system",
            "subtype": "init",
            "cwd": "/work",
            "session_id": conversation,
            "tools": ["Bash", "Read"],
            "model": "model-1",
            "permissionMode": "default",
            "claude_code_version": VERSION,
            "user_message_uuids": list(uuids),
        }
    )


def status(state: str | None) -> bytes:
    """A model request is on its way."""
    return line({"type": "system", "subtype": "status", "status": state})


def run_state(state: str) -> bytes:
    """idle, running or requires_action."""
    return line({"type": "system", "subtype": "session_state_changed", "state": state})


def stream(event: dict[str, Any]) -> bytes:
    """One event of the API's stream."""
    return line({"type": "stream_event", "event": event, "parent_tool_use_id": None, "session_id": "s"})


def message_start(message: str) -> bytes:
    """The model begins an answer."""
    return stream({"type": "message_start", "message": {"id": message, "role": "assistant", "content": []}})


def block_start(index: int, kind: str) -> bytes:
    """A block of the answer begins."""
    return stream({"type": "content_block_start", "index": index, "content_block": {"type": kind}})


def delta(index: int, kind: str, text: str) -> bytes:
    """More of a block of type text, thinking or tool_use."""
    name, key = {
        "text": ("text_delta", "text"),
        "thinking": ("thinking_delta", "thinking"),
        "tool_use": ("input_json_delta", "partial_json"),
    }[kind]
    return stream({"type": "content_block_delta", "index": index, "delta": {"type": name, key: text}})


def block_stop(index: int) -> bytes:
    """A block of the answer is complete; its line came before."""
    return stream({"type": "content_block_stop", "index": index})


def message_stop() -> bytes:
    """The answer is complete."""
    return stream({"type": "message_stop"})


def assistant(message: str, block: dict[str, Any], *, aborted: bool = False) -> bytes:
    """One whole block of an answer."""
    value: dict[str, Any] = {
        "message": {"id": message, "role": "assistant", "content": [block], "stop_reason": None},
        "parent_tool_use_id": None,
        "type": "assistant",
    }
    if aborted:
        value["aborted"] = True
    return line(value)


def tool_result(tool_use_id: str, text: str, *, is_error: bool = False) -> bytes:
    """A tool call ended."""
    block = {"type": "tool_result", "tool_use_id": tool_use_id, "content": text, "is_error": is_error}
    return line({"type": "user", "message": {"role": "user", "content": [block]}, "parent_tool_use_id": None})


def user_note(text: str) -> bytes:
    """A text in the user's role that claude wrote itself."""
    block = {"type": "text", "text": text}
    return line({"type": "user", "message": {"role": "user", "content": [block]}, "parent_tool_use_id": None})


def can_use_tool(request_id: str, tool: str, given: dict[str, Any], tool_use_id: str) -> bytes:
    """A permission question."""
    request = {
        "subtype": "can_use_tool",
        "tool_name": tool,
        "display_name": tool,
        "input": given,
        "description": "why",
        "permission_suggestions": [{"type": "setMode", "mode": "acceptEdits", "destination": "session"}],
        "tool_use_id": tool_use_id,
    }
    return line({"type": "control_request", "request_id": request_id, "request": request})


def cancel_request(request_id: str) -> bytes:
    """Claude no longer asks."""
    return line({"type": "control_cancel_request", "request_id": request_id})


def control_response(request_id: str, response: dict[str, Any]) -> bytes:
    """The answer to a control request of ours."""
    body = {"subtype": "success", "request_id": request_id, "response": response}
    return line({"type": "control_response", "response": body})


def control_refusal(request_id: str, error: str) -> bytes:
    """A control request of ours that claude does not support."""
    return line(
        {"type": "control_response", "response": {"subtype": "error", "request_id": request_id, "error": error}}
    )


def result(uuids: tuple[str, ...], outcome: str, *, text: str, own: bool = False) -> bytes:
    """The end of a turn; `outcome` is completed, failed (an API error) or cancelled (interrupted)."""
    value: dict[str, Any] = {
        "duration_api_ms": 47,
        "duration_ms": 50,
        "num_turns": 1,
        "total_cost_usd": 0.01,
        "usage": {"input_tokens": 3, "output_tokens": 5},
        "permission_denials": [],
        "type": "result",
    }
    if outcome == "completed":
        value |= {"subtype": "success", "is_error": False, "terminal_reason": "completed", "result": text}
    elif outcome == "failed":
        value |= {"subtype": "success", "is_error": True, "terminal_reason": "api_error", "api_error_status": 500}
        value["result"] = f"API Error: {text}"
    else:
        value |= {"subtype": "error_during_execution", "is_error": True, "terminal_reason": "aborted_streaming"}
        value["errors"] = ["[ede_diagnostic]"]
    if uuids:
        value["user_message_uuids"] = list(uuids)
    if own:
        value["origin"] = {"kind": "task-notification"}
    return line(value)


def no_conversation(conversation: str) -> bytes:
    """What `--resume` prints when there is nothing to resume; the process ends with status 1."""
    errors = [f"No conversation found with session ID: {conversation}"]
    return line(
        {"type": "result", "subtype": "error_during_execution", "is_error": True, "num_turns": 0, "errors": errors}
    )


def garbage(rng: Random, longest: int) -> tuple[str, bytes]:
    """A line that is not what it should be: the kind of event it becomes ("" for none), and its bytes."""
    kind = rng.randrange(6 if longest < SHORT_LINES else 4)
    if kind == 0:
        return "unknown", line({"type": f"novelty_{rng.randrange(3)}", "data": "x" * rng.randrange(50)})
    if kind == 1:
        return "error", b'{"type":"assistant","message":{"id":"m", \n'
    if kind == 2:
        return "error", b"\xff\xfe not UTF-8\n"
    if kind == 3:
        return "", b"\n"
    if kind == 4:
        return "unknown", line({"type": "system", "subtype": "novelty", "text": "\u2028\U0001f600"})
    return "error", b'{"type":"novelty","data":"' + b"y" * (longest + rng.randrange(9)) + b'"}\n'
