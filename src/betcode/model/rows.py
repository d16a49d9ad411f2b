"""What the database keeps: one struct per table, its fields are the columns; and the unit in which it is written.

`core` decides with these very values, so what is in memory and what is stored cannot differ in shape.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from betcode.model.ids import ClaudeSessionId, MessageId, PermissionId, SessionId, attempt_id
from betcode.model.states import Delivery, MessageState, PermissionState

PASSED_ON = frozenset(
    {
        "tools",
        "max-budget-usd",
        "fallback-model",
        "betas",
        "effort",
        "thinking",
        "thinking-display",
        "max-thinking-tokens",
        "json-schema",
        "mcp-config",
        "strict-mcp-config",
        "plugin-dir",
    }
)
"""Options of claude that change neither its permission rules nor how it is supervised, so that they may be chosen."""


class Options(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the creator of a session chose; unchanged for its whole life."""

    trace_id: str = ""
    """W3C trace id of the request that created the session; its log lines and its claude carry it."""
    model: str = ""
    allow: tuple[str, ...] = ()
    """Permission rules in Claude Code's syntax, handed to the CLI at each start."""
    permission_ttl_s: float = 0.0
    """Seconds until silence is a denial; 0 means the default."""
    path: str = ""
    """PATH of the client that created the session."""
    virtual_env: str = ""
    """VIRTUAL_ENV of that client."""
    max_turns: int = 0
    permission_mode: str = ""
    """`default`, `acceptEdits` or `plan`; empty for claude's own choice."""
    disallow: tuple[str, ...] = ()
    """Permission rules that deny, whatever else allows."""
    add_dirs: tuple[str, ...] = ()
    """Further directories that claude may use."""
    system_prompt: str | None = None
    append_system_prompt: str = ""
    setting_sources: str | None = None
    """`--setting-sources` of claude: which settings files it reads; None for all."""
    more: tuple[str, ...] = ()
    """Further options for claude, each as `--name=value`, of the names in `PASSED_ON`."""
    background: bool = False
    """Made by a program: where slots are scarce, sessions of people go first."""
    claude_config_dir: str = ""
    """CLAUDE_CONFIG_DIR of the session: which account and settings claude uses; empty for the daemon's own."""


class Message(Struct, frozen=True, kw_only=True):
    """A user message. `run` is the process it was handed to, 0 before that."""

    id: MessageId
    session: SessionId
    text: str
    client: str
    state: MessageState
    accepted_at: str
    reason: str = ""
    run: int = 0
    steer: bool = False
    attempt: int = 0
    """How often claude had to be told to go on with it, because a process ended in the middle of its turn."""
    told: str = ""
    """What claude is told in place of `text` in that case."""

    @property
    def uuid(self) -> str:
        """The uuid under which claude knows it at present."""
        return attempt_id(self.id, self.attempt) if self.attempt else self.id

    @property
    def said(self) -> str:
        """What claude is given under that uuid."""
        return self.told if self.attempt else self.text


class Permission(Struct, frozen=True, kw_only=True):
    """A permission question and what became of it. Times are Unix seconds; `remaining_s` counts down (PM-2)."""

    id: PermissionId
    session: SessionId
    run: int
    request_id: str
    tool: str
    input: dict[str, Any]
    state: PermissionState
    asked_at_unix_s: float
    deadline_unix_s: float
    tool_use_id: str = ""
    description: str = ""
    agent_id: str = ""
    reason: str = ""
    delivery: Delivery = Delivery.NONE
    by: str = ""
    message: str = ""
    updated_input: dict[str, Any] | None = None
    for_session: bool = False
    interrupt: bool = False
    settled_at: str = ""


class Mark(Struct, frozen=True):
    """How far a session is committed, kept outside the database: the newest event, and the position in the output.

    A database that ends before it has lost something (SQ-3). It may lag behind, so it proves a loss, never its absence.
    """

    epoch: int
    seq: int
    run: int
    offset: int


class SessionRow(Struct, frozen=True, kw_only=True):
    """A session as stored. (`run`, `offset`): how far claude's output has become events; stored with them."""

    id: SessionId
    claude_session_id: ClaudeSessionId
    directory: str
    name: str
    created_at: str
    options: Options
    state: str
    reason: str
    epoch: int
    seq: int
    run: int
    offset: int
    checkpoint: int
    """Offset from which the run must be read again to know the text of blocks that are still open."""
    life: dict[str, Any]
    """The rest of the core's state (`core.session.Life`), as JSON."""


class EventRow(Struct, frozen=True):
    """One durable event as stored and sent: `body` is its whole JSON object."""

    session: SessionId
    epoch: int
    seq: int
    kind: str
    time: str
    body: bytes


class Tombstone(Struct, frozen=True):
    """What is remembered of what was deleted: a key that must not be used again.

    `kind` is `session` (its id), `conversation` (the key it was created with) or `message`; `state` is a message's
    outcome.
    """

    key: str
    kind: str
    session: str
    state: str
    deleted_at: str


class Deletion(Struct, frozen=True):
    """A session is deleted. Tombstones older than `forget_before` (a time as in `deleted_at`) go at this chance."""

    at: str
    forget_before: str = ""


class Transaction(Struct, frozen=True):
    """All or nothing: a session's row with the events and rows that belong to it.

    `creates`: the session must not exist yet. `messages` and `permissions` replace what is stored under their ids, in
    order; a message's id, session and text never change, so an id that is stored with others of them is
    `message.key_conflict`.

    `deletion`: the session goes, its keys are remembered; nothing else may be in the same transaction. `sweeps`: so it
    is with the removal of the next events that a deleted session left behind.
    """

    session: SessionRow
    events: tuple[EventRow, ...] = ()
    messages: tuple[Message, ...] = ()
    permissions: tuple[Permission, ...] = ()
    creates: bool = False
    deletion: Deletion | None = None
    sweeps: bool = False
