"""What Claude's own transcript of a conversation says, read back as far as is needed after a process has ended."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """The state of the transcript file. By default: there is none."""

    found: bool = False
    """Whether there is a file with anything in it: only then claude can resume."""
    whole: bool = True
    """Whether everything that was asked for was read. False: what is not in the sets may be stored all the same."""
    size: int = 0
    """Length of the file in bytes."""
    messages: frozenset[str] = field(default_factory=frozenset)
    """uuids of the user messages that are stored."""
    calls: frozenset[str] = field(default_factory=frozenset)
    """tool_use_ids of stored calls of the main conversation."""
    results: frozenset[str] = field(default_factory=frozenset)
    """tool_use_ids of calls with a stored result."""
    finished: str = ""
    """uuid of the newest user message, if the model's last word on it is stored (stop reason `end_turn`)."""


NOTHING_STORED = Conversation()
"""There is no transcript."""
