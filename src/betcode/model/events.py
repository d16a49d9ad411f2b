"""Durable events: the numbered rows of a session, and previews, which have no number.

A durable event is stored before any client sees it and is never changed. Its position is (epoch, seq): seq starts at
1 and has no hole inside an epoch; a new epoch begins when the numbering cannot be proved (INV-2). On the wire and in
the database an event is one flat JSON object: `kind`, `epoch`, `seq`, `time`, then the fields of its kind.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from betcode.model.usage import Use


class Event(Struct, frozen=True, kw_only=True, tag_field="kind"):
    """Base of durable events. `core` leaves the three fields at their defaults; `core.session` stamps them."""

    epoch: int = 0
    seq: int = 0
    time: str = ""
    """When the daemon stored it: ISO 8601, UTC, milliseconds."""


class UserMessage(Event, frozen=True, kw_only=True, tag="user_message"):
    """A person's (or script's) message was accepted."""

    message_id: str
    text: str
    client: str = ""


class MessageProgress(Event, frozen=True, kw_only=True, tag="message_state"):
    """A message reached the next state of its life; `reason` says why it waits or how it ended."""

    message_id: str
    state: str
    reason: str = ""
    code: str = ""
    """Set while it waits for the API: `agent.rate_limited`, `agent.api_down` or `agent.credentials`."""
    retry_at: str = ""
    """When the API is tried again, as far as is known, ISO 8601."""


class TurnBegun(Event, frozen=True, kw_only=True, tag="turn_started"):
    """claude began to work; `message_id` is empty for a turn that claude started itself."""

    message_id: str = ""
    model: str = ""
    version: str = ""
    permission_mode: str = ""


class Assistant(Event, frozen=True, kw_only=True, tag="assistant"):
    """A whole block of the answer. It replaces all previews of `block`."""

    block: str
    part: str
    text: str
    scope: str = ""
    interrupted: bool = False
    api_error: str = ""
    """Set when claude wrote it in place of an answer, since the API refused the request, such as `rate_limit`."""


class ToolCalled(Event, frozen=True, kw_only=True, tag="tool_call"):
    """The model called a tool."""

    block: str
    tool_use_id: str
    tool: str
    input: dict[str, Any]
    scope: str = ""


class ToolEnded(Event, frozen=True, kw_only=True, tag="tool_result"):
    """A tool call ended."""

    tool_use_id: str
    text: str
    is_error: bool = False
    scope: str = ""


class PermissionAsked(Event, frozen=True, kw_only=True, tag="permission_asked"):
    """claude asks whether it may run a tool; `expires_at` (ISO 8601) is when silence becomes a denial."""

    permission_id: str
    tool: str
    input: dict[str, Any]
    tool_use_id: str = ""
    description: str = ""
    agent_id: str = ""
    reason: str = ""
    expires_at: str = ""


class PermissionSettled(Event, frozen=True, kw_only=True, tag="permission_settled"):
    """A question has its one outcome: ALLOWED, DENIED, EXPIRED or CANCELLED, decided `by` a client, time or claude."""

    permission_id: str
    state: str
    by: str = ""
    message: str = ""


class Status(Event, frozen=True, kw_only=True, tag="status"):
    """The session changed its state; `reason` says why, `hint` what comes next or what a person can do."""

    state: str
    reason: str = ""
    hint: str = ""


class TurnEnded(Event, frozen=True, kw_only=True, tag="turn_ended"):
    """A turn ended. The rest is what claude reported.

    `outcome` is completed, interrupted, failed, or refused: the API did not answer, and the message goes on later.
    """

    outcome: str
    message_ids: list[str]
    text: str = ""
    subtype: str = ""
    terminal_reason: str = ""
    api_error_status: int | None = None
    num_turns: int = 0
    duration_ms: int = 0
    cost_usd: float = 0.0
    usage: dict[str, Any] = field(default_factory=dict)
    models: dict[str, Use] | None = None
    """What the turn used by model, subagents included; null when claude did not tell. `cost_usd` is a running total."""
    upstream: str = ""
    """Name of the upstream that was asked, such as `api.anthropic.com`."""
    denials: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


class Note(Event, frozen=True, kw_only=True, tag="note"):
    """Something claude reported that changes nothing: a task, a compaction, a text it wrote in the user's role."""

    name: str
    text: str = ""
    scope: str = ""


class Notice(Event, frozen=True, kw_only=True, tag="notice"):
    """BetCode tells the people of this session something: `severity` is info, warning or error."""

    severity: str
    code: str
    message: str
    hint: str = ""


class Error(Event, frozen=True, kw_only=True, tag="error"):
    """A line could not be read. The session goes on; `raw` is its visible beginning."""

    code: str
    message: str
    hint: str = ""
    raw: str = ""


class Gap(Event, frozen=True, kw_only=True, tag="gap"):
    """Something is missing here: `unit` (events or bytes) `first` to `last`, with the cause."""

    unit: str
    first: int
    last: int
    cause: str


class UnknownLine(Event, frozen=True, kw_only=True, tag="unknown"):
    """A line of a kind that this version does not know, as claude printed it."""

    name: str
    raw: str


AnyEvent = (
    UserMessage
    | MessageProgress
    | TurnBegun
    | Assistant
    | ToolCalled
    | ToolEnded
    | PermissionAsked
    | PermissionSettled
    | Status
    | TurnEnded
    | Note
    | Notice
    | Error
    | Gap
    | UnknownLine
)


class Preview(Struct, frozen=True):
    """The text of a block that is still being written.

    `offset` counts characters: a client keeps `text[:offset]` of what it has for this block and appends `text`. The
    durable event with the same `block` replaces it. At most one block of a scope is open.
    """

    block: str
    part: str
    offset: int
    text: str
    scope: str = ""


class Passing(Struct, frozen=True):
    """Something of the moment, never stored: a tool's progress, the CLI's own retry countdown."""

    name: str
    text: str
    scope: str = ""
