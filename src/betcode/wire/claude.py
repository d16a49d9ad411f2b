"""One line of claude's standard output into facts. Never raises, whatever the line holds (ND-1).

Two stages: bytes to a JSON object (`objects`), whose `type` and `subtype` choose a reader; then a typed shape for that
kind, field by field with defaults when it does not fit (`lenient`). What fails in the first stage is a `BadLine` and
nothing else. What fails in the second is a `BadLine` of type `schema`, followed by the facts that could be made:

  no facts        a control request, answer or withdrawal without its `request_id`: there is no one to answer
  ControlRequest  a permission request whose tool or input cannot be read: a person must not allow what they cannot see
  is_error        of a result, when it cannot be read, is taken from `subtype`: a failed turn must not look completed
"""

from __future__ import annotations

from typing import Any, Final

from betcode.model import limits
from betcode.model.capabilities import LIFECYCLE, Capabilities
from betcode.model.facts import (
    BadLine,
    ControlAnswer,
    ControlRequest,
    Fact,
    Lifecycle,
    PermissionRequest,
    RateLimit,
    Remark,
    RequestWithdrawn,
    ToolProgress,
    TurnResult,
    Unknown,
)
from betcode.model.usage import Use
from betcode.wire import claude_shapes as shapes
from betcode.wire.claude_blocks import read_assistant, read_delta_quickly, read_stream_event, read_user
from betcode.wire.claude_system import SYSTEM, Reader
from betcode.wire.known_fields import STREAM, New, look
from betcode.wire.lenient import fit, note
from betcode.wire.objects import ErrorType, Unreadable, preview, read_object


def read_line(data: bytes, original_size: int | None = None, new: list[New] | None = None) -> list[Fact]:
    """The facts of one line without its newline, in order; none for an empty line.

    `original_size` is given when `data` is only the beginning of a line that was too long (`lines.Line`). What this
    program does not know of a line that it can read is added to `new`.
    """
    size = len(data) if original_size is None else original_size
    if original_size is not None:
        detail = f"longer than the limit: {len(data)} of {size} bytes were kept"
        return [_bad("oversize", detail, data, size)]
    if not data.strip():
        return []
    try:
        line = read_object(data)
    except Unreadable as error:
        return [_bad(error.error_type, str(error), data, size)]
    kind = line.get("type")
    if kind == "stream_event":
        delta = read_delta_quickly(line)
        if delta is not None:
            if new is not None and not STREAM.issuperset(line):
                look("stream_event", line, new)
            return [delta]
    return _read(kind, line, data, new)


def _read(kind: object, line: dict[str, Any], data: bytes, new: list[New] | None) -> list[Fact]:
    readers, name = LINES, kind
    if kind == "system":
        readers, name = SYSTEM, line.get("subtype")
    if not isinstance(name, str):
        field = "subtype" if kind == "system" else "type"
        return [_bad("schema", f"{field}: expected `str`, got `{type(name).__name__}`", data, len(data))]
    reader = readers.get(name)
    full = f"system/{name}" if kind == "system" else name
    if reader is None:
        raw = preview(data, limits.UNKNOWN_RAW_CHARS, len(data))
        return [Unknown(full[: limits.NAME_CHARS_MAX], raw)]
    problems: list[str] = []
    facts = reader(line, problems)
    if new is not None:
        look(full, line, new)
    if problems:
        facts.insert(0, _bad("schema", "; ".join(problems), data, len(data)))
    return facts


def _bad(error_type: ErrorType, detail: str, data: bytes, size: int) -> BadLine:
    return BadLine(error_type, detail, preview(data, limits.BAD_LINE_PREVIEW_CHARS, size), size)


def _result(line: dict[str, Any], problems: list[str]) -> list[Fact]:
    result = fit(shapes.ResultLine, line, problems)
    is_error = result.is_error
    if is_error is None:
        is_error = result.subtype != "success"
        if line.get("is_error") is None:
            note(problems, "is_error: missing")
    message_ids = result.user_message_uuids
    if message_ids is None:
        message_ids = [result.user_message_uuid] if result.user_message_uuid else []
    return [
        TurnResult(
            subtype=result.subtype,
            is_error=is_error,
            terminal_reason=result.terminal_reason or "",
            text=result.result or "",
            errors=tuple(result.errors or ()),
            api_error_status=result.api_error_status,
            api_error=result.api_error or result.api_error_type or "",
            message_ids=tuple(message_ids),
            origin=(result.origin and result.origin.kind) or "",
            num_turns=result.num_turns or 0,
            duration_ms=int(result.duration_ms or 0),
            cost_usd=result.total_cost_usd or 0.0,
            usage=result.usage or {},
            models=_models(result.model_usage_since_last_result),
            denials=tuple(denial.tool_use_id for denial in result.permission_denials or ()),
            deferred_tool_use_id=(result.deferred_tool_use and result.deferred_tool_use.id) or "",
        )
    ]


def _models(told: dict[str, shapes.ModelUse] | None) -> dict[str, Use] | None:
    if told is None:
        return None
    return {
        name[: limits.NAME_CHARS_MAX]: Use(
            input_tokens=use.input_tokens,
            output_tokens=use.output_tokens,
            cache_read_tokens=use.cache_read_input_tokens,
            cache_write_tokens=use.cache_creation_input_tokens,
            cost_usd=use.cost_usd,
        )
        for name, use in told.items()
    }


def _control_request(line: dict[str, Any], problems: list[str]) -> list[Fact]:
    control = fit(shapes.ControlRequestLine, line, problems)
    subtype = control.request.get("subtype")
    if not isinstance(subtype, str):
        note(problems, f"request.subtype: expected `str`, got `{type(subtype).__name__}`")
        subtype = ""
    if not control.request_id:
        return []
    if subtype != "can_use_tool":
        return [ControlRequest(control.request_id, subtype)]
    ask = fit(shapes.CanUseTool, control.request, problems, "request.")
    if not ask.tool_name or not isinstance(control.request.get("input"), dict):
        return [ControlRequest(control.request_id, subtype)]
    return [
        PermissionRequest(
            request_id=control.request_id,
            tool=ask.tool_name,
            input=ask.input,
            tool_use_id=ask.tool_use_id or "",
            description=ask.description or "",
            agent_id=ask.agent_id or "",
            reason=ask.decision_reason or "",
            needs_person=bool(ask.requires_user_interaction),
            suggestions=tuple(ask.permission_suggestions or ()),
        )
    ]


def _control_response(line: dict[str, Any], problems: list[str]) -> list[Fact]:
    answer = fit(shapes.ControlAnswerLine, line, problems).response
    if not answer.request_id:
        return []
    body = answer.response or {}
    return [
        ControlAnswer(answer.request_id, answer.subtype == "success", body, answer.error or "", _offer(body, problems))
    ]


def _offer(body: dict[str, Any], problems: list[str]) -> Capabilities:
    said = fit(shapes.SelfDescription, body, problems, "response.response.")
    lifecycle = True if LIFECYCLE in (said.capabilities or ()) else None
    return Capabilities(version=said.claude_code_version or said.version or "", lifecycle=lifecycle)


def _control_cancel_request(line: dict[str, Any], problems: list[str]) -> list[Fact]:
    request_id = fit(shapes.CancelLine, line, problems).request_id
    return [RequestWithdrawn(request_id)] if request_id else []


def _lifecycle(line: dict[str, Any], problems: list[str]) -> list[Fact]:
    lifecycle = fit(shapes.LifecycleLine, line, problems)
    return [Lifecycle(lifecycle.command_uuid, lifecycle.state)]


def _rate_limit(line: dict[str, Any], problems: list[str]) -> list[Fact]:
    info = fit(shapes.RateLimitLine, line, problems).rate_limit_info
    return [RateLimit(info.status, info.window or "", int(info.resets_at or 0), info.utilization or 0.0)]


def _tool_progress(line: dict[str, Any], problems: list[str]) -> list[Fact]:
    progress = fit(shapes.ToolProgressLine, line, problems)
    return [ToolProgress(progress.tool_use_id, progress.elapsed_time_seconds or 0.0)]


def _attachment(line: dict[str, Any], problems: list[str]) -> list[Fact]:
    return [Remark("attachment", fit(shapes.AttachmentLine, line, problems).attachment.type)]


def _keep_alive(_line: dict[str, Any], _problems: list[str]) -> list[Fact]:
    return []


def _progress(_line: dict[str, Any], _problems: list[str]) -> list[Fact]:
    return [Remark("progress")]


LINES: Final[dict[str, Reader]] = {
    "assistant": read_assistant,
    "attachment": _attachment,
    "command_lifecycle": _lifecycle,
    "control_cancel_request": _control_cancel_request,
    "control_request": _control_request,
    "control_response": _control_response,
    "keep_alive": _keep_alive,
    "progress": _progress,
    "rate_limit_event": _rate_limit,
    "result": _result,
    "stream_event": read_stream_event,
    "tool_progress": _tool_progress,
    "user": read_user,
}
"""Every type that this version knows, but `system`."""
