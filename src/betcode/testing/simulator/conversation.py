"""Claude's own record of a conversation: appended to as it works, on the disk a little later."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Entry:
    """One line of the transcript file; `durable_at_s` is when it is on the disk."""

    kind: str
    """user, assistant or tool_result"""
    uuids: tuple[str, ...]
    """The user messages it belongs to."""
    durable_at_s: float


@dataclass(slots=True)
class ModelConversation:
    """One transcript. At most one process may act on it at a time (INV-7)."""

    name: str
    entries: list[Entry] = field(default_factory=list)
    processes: int = 0
    """Model claudes that are alive on it."""

    def append(self, kind: str, uuids: tuple[str, ...], now_s: float, lag_s: float) -> None:
        """Add an entry. A file grows at its end: nothing is durable before what stands above it."""
        before = self.entries[-1].durable_at_s if self.entries else 0.0
        self.entries.append(Entry(kind, uuids, max(before, now_s + lag_s)))

    def crash(self, now_s: float) -> None:
        """The process was killed: what was not written is gone."""
        self.entries = [entry for entry in self.entries if entry.durable_at_s <= now_s]

    def flush(self) -> None:
        """The process ended in good order: everything is on the disk."""
        for entry in self.entries:
            entry.durable_at_s = 0.0

    def can_be_resumed(self, now_s: float) -> bool:
        """Whether there is a file with anything in it."""
        return any(entry.durable_at_s <= now_s for entry in self.entries)

    def has_user(self, uuid: str) -> bool:
        """Whether this message was taken into the conversation."""
        return any(entry.kind == "user" and uuid in entry.uuids for entry in self.entries)

    def is_answered(self, uuid: str) -> bool:
        """Whether an answer to it was begun: claude does not run it again then."""
        return any(entry.kind != "user" and uuid in entry.uuids for entry in self.entries)
