"""What one line of claude's standard output says, in our words.

`wire.claude` makes facts from bytes; `core` decides by them. A line gives zero or more facts, in order. Text is as
claude printed it: whoever shows it to a person makes control characters visible first.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct, field

from betcode.model.capabilities import UNKNOWN, Capabilities
from betcode.model.usage import Use

Scope = str
"""Empty for the main conversation, else the `parent_tool_use_id` of a subagent."""


class Fact(Struct, frozen=True, tag_field="fact", omit_defaults=True):
    """Base of all facts."""


class AnswerStarted(Fact, frozen=True, tag="answer_started"):
    """The model began a new answer (`message_start`); `message` is the API's message id."""

    scope: Scope
    message: str


class BlockStarted(Fact, frozen=True, tag="block_started"):
    """Content block `index` of the current answer of `scope` began."""

    scope: Scope
    index: int
    part: Literal["text", "thinking", "tool", "other"]


class Delta(Fact, frozen=True, tag="delta"):
    """More of block `index`: text, thinking, or a piece of the JSON of a tool's input."""

    scope: Scope
    index: int
    part: Literal["text", "thinking", "tool", "other"]
    text: str


class BlockStopped(Fact, frozen=True, tag="block_stopped"):
    """Block `index` is complete; its whole content came in an earlier `assistant` line."""

    scope: Scope
    index: int


class TextBlock(Fact, frozen=True, tag="text_block"):
    """A whole text or thinking block of answer `message` (`aborted`: cut by an interrupt)."""

    scope: Scope
    message: str
    part: Literal["text", "thinking"]
    text: str
    aborted: bool = False
    api_error: str = ""


class ToolCall(Fact, frozen=True, tag="tool_call"):
    """The model calls a tool. `input` is whatever JSON object the model wrote."""

    scope: Scope
    message: str
    tool_use_id: str
    tool: str
    input: dict[str, Any]


class ToolResult(Fact, frozen=True, tag="tool_result"):
    """A tool call ended; `text` is what the model is shown (images and the like as `[image]`)."""

    scope: Scope
    tool_use_id: str
    text: str
    is_error: bool


class UserText(Fact, frozen=True, tag="user_text"):
    """A text in the user's role that claude wrote itself, or repeats (`replay`)."""

    scope: Scope
    text: str
    uuid: str = ""
    replay: bool = False
    synthetic: bool = False


class TurnResult(Fact, frozen=True, tag="turn_result"):
    """A turn ended. Judge by `is_error`, `subtype` and `terminal_reason` together: an API error has subtype success."""

    subtype: str
    is_error: bool
    terminal_reason: str = ""
    text: str = ""
    errors: tuple[str, ...] = ()
    api_error_status: int | None = None
    api_error: str = ""
    message_ids: tuple[str, ...] = ()
    origin: str = ""
    num_turns: int = 0
    duration_ms: int = 0
    cost_usd: float = 0.0
    usage: dict[str, Any] = field(default_factory=dict)
    models: dict[str, Use] | None = None
    """What was used since the result before, by model; None from a version that does not tell it."""
    denials: tuple[str, ...] = ()
    """tool_use_ids of calls that were refused in this turn."""
    deferred_tool_use_id: str = ""


class Lifecycle(Fact, frozen=True, tag="lifecycle"):
    """claude reports on one of our messages: queued, started, completed or cancelled."""

    message_id: str
    state: str


class PermissionRequest(Fact, frozen=True, tag="permission_request"):
    """claude asks whether it may run a tool; it waits until it is answered."""

    request_id: str
    tool: str
    input: dict[str, Any]
    tool_use_id: str = ""
    description: str = ""
    agent_id: str = ""
    reason: str = ""
    needs_person: bool = False
    suggestions: tuple[dict[str, Any], ...] = ()


class ControlRequest(Fact, frozen=True, tag="control_request"):
    """claude asks its host something else (a hook, an MCP message, an unknown subtype)."""

    request_id: str
    subtype: str


class RequestWithdrawn(Fact, frozen=True, tag="request_withdrawn"):
    """claude no longer wants an answer to this request."""

    request_id: str


class ControlAnswer(Fact, frozen=True, tag="control_answer"):
    """claude answered a control request of ours. `offer` is what the answer says of claude itself."""

    request_id: str
    ok: bool
    body: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    offer: Capabilities = UNKNOWN


class TurnStarted(Fact, frozen=True, tag="turn_started"):
    """`system/init`, printed at the start of each turn."""

    model: str
    claude_session_id: str
    version: str = ""
    cwd: str = ""
    permission_mode: str = ""
    tools: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()


class RequestSent(Fact, frozen=True, tag="request_sent"):
    """`system/status requesting`: a model request is on its way."""


class RunState(Fact, frozen=True, tag="run_state"):
    """`session_state_changed`: idle, running or requires_action."""

    state: str


class ApiRetry(Fact, frozen=True, tag="api_retry"):
    """The CLI waits and tries the API again by itself. `status` is null when there was no HTTP answer."""

    attempt: int
    max_retries: int
    delay_ms: int
    status: int | None
    error: str


class RateLimit(Fact, frozen=True, tag="rate_limit"):
    """Usage window news; `resets_at_unix_s` is 0 when not told."""

    status: str
    window: str
    resets_at_unix_s: int
    utilization: float = 0.0


class Task(Fact, frozen=True, tag="task"):
    """A background task or subagent began, moved on or ended (`change`: started, progress, updated, notification)."""

    change: str
    task_id: str
    task_type: str = ""
    status: str = ""
    description: str = ""


class TaskList(Fact, frozen=True, tag="task_list"):
    """All background tasks that are alive now; `names` says what each is about, in the same order."""

    task_ids: tuple[str, ...]
    names: tuple[str, ...] = ()


class ToolProgress(Fact, frozen=True, tag="tool_progress"):
    """A tool is still running."""

    tool_use_id: str
    elapsed_s: float = 0.0


class Remark(Fact, frozen=True, tag="remark"):
    """A known line that changes nothing here (attachments, compaction, title, mode), kept for display."""

    name: str
    text: str = ""


class Unknown(Fact, frozen=True, tag="unknown"):
    """A line of a kind this version does not know (ND-4): stored and passed on, never an error."""

    name: str
    raw: str


class BadLine(Fact, frozen=True, tag="bad_line"):
    """A line that could not be read (ND-2, ND-3, ND-7), or was read with defaults for bad fields (ND-5: `schema`).

    `raw` is a preview of at most `limits.BAD_LINE_PREVIEW_CHARS` characters, cut visibly; the journal has the bytes.
    """

    error_type: Literal["invalid_utf8", "invalid_json", "schema", "oversize"]
    detail: str
    raw: str
    size_bytes: int
