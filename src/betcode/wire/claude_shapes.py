"""The fields of claude's stdout lines that we read, as msgspec Structs; see `lenient` for the rules.

Required is only what the daemon cannot act without and every supported version prints; all else may be missing or
null. Numbers are bounded, so that a nonsensical one becomes a schema problem instead of an overflow further up.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta, Struct, field

from betcode.model import limits

Text = str | None
Flag = bool | None

INT_MAX: Final = 2**53
"""JavaScript's integers end here."""
Count = Annotated[int, Meta(ge=0, le=INT_MAX)]
Amount = Annotated[float, Meta(ge=0, le=1e15)]
UnixSeconds = Annotated[float, Meta(ge=0, le=253_402_300_799)]  # the end of the year 9999


class Shape(Struct, frozen=True, gc=False):
    """Base of all shapes."""


# --- content blocks -------------------------------------------------------------------------------------------------
class TextPart(Shape, frozen=True):
    """`text`."""

    text: str


class ThinkingPart(Shape, frozen=True):
    """`thinking`."""

    thinking: str


class ToolUsePart(Shape, frozen=True):
    """`tool_use`."""

    id: str
    name: str
    input: dict[str, Any]


class ToolResultPart(Shape, frozen=True):
    """`tool_result`."""

    tool_use_id: str
    content: str | list[Any] | None = None
    is_error: Flag = None


# --- the conversation -----------------------------------------------------------------------------------------------
class Answer(Shape, frozen=True):
    """`assistant.message`."""

    id: str
    content: str | list[Any]


class AssistantLine(Shape, frozen=True):
    """`assistant`. `error` names the class of an API error that claude wrote down as an answer."""

    message: Answer
    parent_tool_use_id: Text = None
    aborted: Flag = None
    error: Text = None
    api_error: Text = None
    is_api_error_message: Flag = None


class UserMessage(Shape, frozen=True):
    """`user.message`."""

    content: str | list[Any]


class UserLine(Shape, frozen=True):
    """`user`."""

    message: UserMessage
    parent_tool_use_id: Text = None
    uuid: Text = None
    is_replay: Flag = field(default=None, name="isReplay")
    is_synthetic: Flag = field(default=None, name="isSynthetic")


class Denial(Shape, frozen=True):
    """One of `result.permission_denials`."""

    tool_use_id: str


class Origin(Shape, frozen=True):
    """`result.origin`: what began a turn that nobody asked for."""

    kind: Text = None


class Deferred(Shape, frozen=True):
    """`result.deferred_tool_use`."""

    id: Text = None


class ModelUse(Shape, frozen=True, rename="camel"):
    """One model of `result.model_usage_since_last_result`."""

    input_tokens: Count = 0
    output_tokens: Count = 0
    cache_read_input_tokens: Count = 0
    cache_creation_input_tokens: Count = 0
    cost_usd: Amount = field(default=0.0, name="costUSD")


class ResultLine(Shape, frozen=True):
    """`result`. `is_error` is required too; `claude` looks after it, for its default depends on `subtype`."""

    subtype: str
    is_error: Flag = None
    terminal_reason: Text = None
    result: Text = None
    errors: list[str] | None = None
    api_error_status: Count | None = None
    api_error: Text = None
    api_error_type: Text = None
    user_message_uuids: list[str] | None = None
    user_message_uuid: Text = None
    origin: Origin | None = None
    num_turns: Count | None = None
    duration_ms: Amount | None = None
    total_cost_usd: Amount | None = None
    usage: dict[str, Any] | None = None
    model_usage_since_last_result: dict[str, ModelUse] | None = None
    permission_denials: list[Denial] | None = None
    deferred_tool_use: Deferred | None = None


# --- the stream -----------------------------------------------------------------------------------------------------
class StreamLine(Shape, frozen=True):
    """`stream_event`."""

    event: dict[str, Any]
    parent_tool_use_id: Text = None


class Kind(Shape, frozen=True):
    """Anything that has a type."""

    type: str


class MessageId(Shape, frozen=True):
    """`message_start.message`."""

    id: str


class MessageStart(Shape, frozen=True):
    """`message_start`."""

    message: MessageId


class BlockStart(Shape, frozen=True):
    """`content_block_start`."""

    index: Count
    content_block: Kind


class BlockDelta(Shape, frozen=True):
    """`content_block_delta`."""

    index: Count
    delta: dict[str, Any]


class BlockStop(Shape, frozen=True):
    """`content_block_stop`."""

    index: Count


# --- control --------------------------------------------------------------------------------------------------------
class ControlRequestLine(Shape, frozen=True):
    """`control_request`. Under a longer id no answer could be given."""

    request_id: Annotated[str, Meta(max_length=limits.REQUEST_ID_CHARS_MAX)]
    request: dict[str, Any]


class CanUseTool(Shape, frozen=True):
    """`control_request.request` of subtype `can_use_tool`."""

    tool_name: str
    input: dict[str, Any]
    tool_use_id: Text = None
    description: Text = None
    agent_id: Text = None
    decision_reason: Text = None
    requires_user_interaction: Flag = None
    permission_suggestions: list[dict[str, Any]] | None = None


class ControlAnswerBody(Shape, frozen=True):
    """`control_response.response`."""

    subtype: str
    request_id: str
    response: dict[str, Any] | None = None
    error: Text = None


class ControlAnswerLine(Shape, frozen=True):
    """`control_response`."""

    response: ControlAnswerBody


class SelfDescription(Shape, frozen=True):
    """`control_response.response.response`, as far as claude speaks of itself: of `initialize`, `get_binary_version`.

    Longer than any version, so that nothing else is kept under its name.
    """

    claude_code_version: Annotated[str, Meta(max_length=limits.NAME_CHARS_MAX)] | None = None
    version: Annotated[str, Meta(max_length=limits.NAME_CHARS_MAX)] | None = None
    capabilities: list[str] | None = None


class CancelLine(Shape, frozen=True):
    """`control_cancel_request`."""

    request_id: str


# --- the rest -------------------------------------------------------------------------------------------------------
class LifecycleLine(Shape, frozen=True):
    """`command_lifecycle`."""

    command_uuid: str
    state: str


class RateLimitInfo(Shape, frozen=True):
    """`rate_limit_event.rate_limit_info`."""

    status: str
    window: Text = field(default=None, name="rateLimitType")
    resets_at: UnixSeconds | None = field(default=None, name="resetsAt")
    utilization: Amount | None = None


class RateLimitLine(Shape, frozen=True):
    """`rate_limit_event`."""

    rate_limit_info: RateLimitInfo


class ToolProgressLine(Shape, frozen=True):
    """`tool_progress`."""

    tool_use_id: str
    elapsed_time_seconds: Amount | None = None


class AttachmentLine(Shape, frozen=True):
    """`attachment`."""

    attachment: Kind


# --- system ---------------------------------------------------------------------------------------------------------
class InitLine(Shape, frozen=True):
    """`system/init`."""

    session_id: str
    model: str
    version: Text = field(default=None, name="claude_code_version")
    cwd: Text = None
    permission_mode: Text = field(default=None, name="permissionMode")
    tools: list[str] | None = None
    capabilities: list[str] | None = None


class StatusLine(Shape, frozen=True):
    """`system/status`."""

    status: Text = None
    permission_mode: Text = field(default=None, name="permissionMode")


class RetryLine(Shape, frozen=True):
    """`system/api_retry`."""

    attempt: Count
    max_retries: Count
    retry_delay_ms: Amount
    error_status: Count | None = None
    error: Text = None


class StateLine(Shape, frozen=True):
    """`system/session_state_changed`."""

    state: str


class TaskPatch(Shape, frozen=True):
    """`system/task_updated.patch`."""

    status: Text = None
    description: Text = None


class TaskLine(Shape, frozen=True):
    """`system/task_started`, `task_progress`, `task_updated` and `task_notification`."""

    task_id: str
    task_type: Text = None
    status: Text = None
    description: Text = None
    summary: Text = None
    patch: TaskPatch | None = None


class LiveTask(Shape, frozen=True):
    """One of `system/background_tasks_changed.tasks`."""

    task_id: str
    description: Text = None


class TaskListLine(Shape, frozen=True):
    """`system/background_tasks_changed`."""

    tasks: list[LiveTask]


class CompactMetadata(Shape, frozen=True):
    """`system/compact_boundary.compact_metadata`."""

    trigger: Text = None
    pre_tokens: Count | None = None


class CompactLine(Shape, frozen=True):
    """`system/compact_boundary`."""

    compact_metadata: CompactMetadata | None = None


class DeniedLine(Shape, frozen=True):
    """`system/permission_denied`: a rule of claude's own refused a call."""

    tool_name: str
    decision_reason: Text = None
