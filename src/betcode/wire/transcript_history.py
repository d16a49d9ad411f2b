"""The lines of claude's transcript into the events that a session would have had (INV-6).

Blocks get the names that live output gives them (the id of claude's message and the place in it), so that what a
journal has and what the transcript has is known to be the same. A line that cannot be read becomes an error event and
loses nothing else. Entries of subagents are left out. Where somebody went back and said something else, both are shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from betcode.model import limits
from betcode.model.events import Assistant, Error, Event, Note, ToolCalled, ToolEnded, UserMessage
from betcode.model.ids import block_id
from betcode.wire.objects import Unreadable, read_object

CLIENT = "claude"
"""Who sent the messages of a conversation that was not ours."""


def events_of(lines: Iterable[bytes]) -> Iterator[Event]:
    """The events, without numbers; `time` is that of the entry. Never raises for any content."""
    reader = _Reader()
    for line in lines:
        data = line.strip()
        if data:
            yield from reader.read(data)


class _Reader:
    """Knows how many blocks of claude's present message were read."""

    def __init__(self) -> None:
        self._message, self._index = "", 0

    def read(self, data: bytes) -> Iterator[Event]:
        try:
            entry = read_object(data)
        except Unreadable as error:
            text = f"a line of {len(data)} bytes of claude's transcript cannot be read: {error}"
            yield Error(code="import.line", message=text, hint="What stands in the other lines is here.")
            return
        if entry.get("isSidechain") is True:
            return
        time, message = _string(entry, "timestamp"), _object(entry, "message")
        match entry.get("type"):
            case "user":
                yield from self._user(entry, message, time)
            case "assistant":
                yield from self._assistant(message, time)
            case "system" if text := _string(entry, "content"):
                yield Note(name=_string(entry, "subtype") or "system", text=_bounded(text), time=time)
            case _:
                pass

    def _user(self, entry: Mapping[str, Any], message: Mapping[str, Any], time: str) -> Iterator[Event]:
        content = message.get("content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else _blocks(message)
        said = []
        for block in blocks:
            match block.get("type"):
                case "tool_result":
                    text = _bounded(_shown(block.get("content")))
                    failed = block.get("is_error") is True
                    yield ToolEnded(tool_use_id=_string(block, "tool_use_id"), text=text, is_error=failed, time=time)
                case "text":
                    said.append(_string(block, "text"))
                case "image" | "document":
                    said.append(f"[{block['type']}]")
                case _:
                    pass
        text = _bounded("\n".join(part for part in said if part))
        if not text:
            return
        if entry.get("isMeta") is True or entry.get("isCompactSummary") is True:
            yield Note(name="user_text", text=text, time=time)
        else:
            yield UserMessage(message_id=_string(entry, "uuid"), text=text, client=CLIENT, time=time)

    def _assistant(self, message: Mapping[str, Any], time: str) -> Iterator[Event]:
        name = _string(message, "id")
        if name != self._message:
            self._message, self._index = name, 0
        for block in _blocks(message):
            place, self._index = block_id(name, self._index), self._index + 1
            match block.get("type"):
                case "text" | "thinking" as part:
                    if text := _string(block, part):
                        yield Assistant(block=place, part=part, text=_bounded(text), time=time)
                case "tool_use":
                    yield ToolCalled(
                        block=place,
                        tool_use_id=_string(block, "id"),
                        tool=_string(block, "name"),
                        input=dict(_object(block, "input")),
                        time=time,
                    )
                case _:
                    pass


def _shown(content: object) -> str:
    """What a tool gave back, as text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = [part for part in content if isinstance(part, dict)]
    return "\n".join(_string(part, "text") or f"[{_string(part, 'type')}]" for part in parts)


def _bounded(text: str) -> str:
    if len(text) <= limits.EVENT_TEXT_CHARS:
        return text
    return f"{text[: limits.EVENT_TEXT_CHARS]}[truncated: original_size={len(text)} characters]"


def _blocks(message: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    content = message.get("content")
    for block in content if isinstance(content, list) else ():
        if isinstance(block, dict):
            yield block


def _object(holder: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = holder.get(key)
    return value if isinstance(value, dict) else {}


def _string(holder: Mapping[str, Any], key: str) -> str:
    value = holder.get(key)
    return value if isinstance(value, str) else ""
