"""Claude's own record of a conversation: appended to as it works, on the disk a little later."""

from __future__ import annotations

from dataclasses import dataclass, field

from betcode.model.conversation import Conversation


@dataclass(slots=True)
class Entry:
    """One line of the transcript file; `durable_at_s` is when it is on the disk."""

    kind: str
    """user, assistant, call, tool_result, filler, or end: the last word of an answer"""
    uuids: tuple[str, ...]
    """The user messages it belongs to."""
    durable_at_s: float
    name: str = ""
    """tool_use_id of a call or a result."""


@dataclass(slots=True)
class ModelConversation:
    """One transcript. At most one process may act on it at a time (INV-7)."""

    name: str
    entries: list[Entry] = field(default_factory=list)
    processes: int = 0
    """Model claudes that are alive on it."""

    def append(self, kind: str, uuids: tuple[str, ...], now_s: float, lag_s: float, name: str = "") -> None:
        """Add an entry. A file grows at its end: nothing is durable before what stands above it."""
        before = self.entries[-1].durable_at_s if self.entries else 0.0
        self.entries.append(Entry(kind, uuids, max(before, now_s + lag_s), name))

    def stored(self) -> Conversation:
        """What a reader of the file learns when no process is alive."""
        last = self.newest()
        return Conversation(
            found=bool(self.entries),
            messages=frozenset(uuid for entry in self.entries if entry.kind == "user" for uuid in entry.uuids),
            calls=self._names("call"),
            results=self._names("tool_result"),
            prompts=(last,) if last else (),
            answered=any(e.kind == "end" and last in e.uuids for e in self.entries),
            followed=bool(self.entries) and self.entries[-1].kind != "user",
        )

    def is_filled(self, uuid: str) -> bool:
        """Whether all that there is of an answer to it is the note that there was none."""
        kinds = {entry.kind for entry in self.entries if uuid in entry.uuids}
        return kinds == {"user", "filler"}

    def fill(self, now_s: float) -> str:
        """claude was resumed: after a message at the end it notes that there is no answer. uuid of that message."""
        if not self.entries or self.entries[-1].kind != "user":
            return ""
        uuids = self.entries[-1].uuids
        self.append("filler", uuids, now_s, 0.0)
        return uuids[-1]

    def newest(self) -> str:
        """uuid of the newest user message; empty when there is none."""
        return next((entry.uuids[-1] for entry in reversed(self.entries) if entry.kind == "user"), "")

    def _names(self, kind: str) -> frozenset[str]:
        return frozenset(entry.name for entry in self.entries if entry.kind == kind)

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
