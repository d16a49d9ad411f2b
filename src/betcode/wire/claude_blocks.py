"""The conversation: `assistant`, `user` and `stream_event` lines into facts.

An answer is told twice: as stream events while it is written, and whole, one `assistant` line a block, just before
the block's `content_block_stop`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal

from betcode.model.facts import (
    AnswerStarted,
    BlockStarted,
    BlockStopped,
    Delta,
    Fact,
    Remark,
    TextBlock,
    ToolCall,
    ToolResult,
    UserText,
)
from betcode.wire import claude_shapes as shapes
from betcode.wire.lenient import fit, note

Part = Literal["text", "thinking", "tool", "other"]

PARTS: Final[dict[str, Part]] = {"text": "text", "thinking": "thinking", "tool_use": "tool"}
"""Block type -> what a preview shows it as."""

DELTAS: Final[dict[str, tuple[Part, str]]] = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "input_json_delta": ("tool", "partial_json"),
}
"""Delta type -> what it adds to, and the field that has the text. Signatures and citations add nothing to show."""


def read_assistant(line: dict[str, Any], problems: list[str]) -> list[Fact]:
    """Whole blocks of an answer, one fact each, in order."""
    assistant = fit(shapes.AssistantLine, line, problems)
    scope, message = assistant.parent_tool_use_id or "", assistant.message.id
    aborted = bool(assistant.aborted)
    api_error = assistant.api_error or assistant.error or ("api_error" if assistant.is_api_error_message else "")
    facts: list[Fact] = []
    for kind, block, where in _blocks(assistant.message.content, problems, "message.content"):
        match kind:
            case "text":
                text = fit(shapes.TextPart, block, problems, where).text
                facts.append(TextBlock(scope, message, "text", text, aborted, api_error))
            case "thinking":
                text = fit(shapes.ThinkingPart, block, problems, where).thinking
                facts.append(TextBlock(scope, message, "thinking", text, aborted, api_error))
            case "tool_use":
                call = fit(shapes.ToolUsePart, block, problems, where)
                facts.append(ToolCall(scope, message, call.id, call.name, call.input))
            case _:
                facts.append(Remark(f"assistant/{kind}"))
    return facts


def read_user(line: dict[str, Any], problems: list[str]) -> list[Fact]:
    """Results of tools, and texts in the user's role."""
    user = fit(shapes.UserLine, line, problems)
    scope, uuid = user.parent_tool_use_id or "", user.uuid or ""
    replay, synthetic = bool(user.is_replay), bool(user.is_synthetic)
    facts: list[Fact] = []
    for kind, block, where in _blocks(user.message.content, problems, "message.content"):
        match kind:
            case "tool_result":
                result = fit(shapes.ToolResultPart, block, problems, where)
                text = _shown(result.content, problems, f"{where}content")
                facts.append(ToolResult(scope, result.tool_use_id, text, bool(result.is_error)))
            case "text":
                text = fit(shapes.TextPart, block, problems, where).text
                facts.append(UserText(scope, text, uuid, replay, synthetic))
            case "image" | "document":
                facts.append(UserText(scope, f"[{kind}]", uuid, replay, synthetic))
            case _:
                facts.append(Remark(f"user/{kind}"))
    return facts


def read_stream_event(line: dict[str, Any], problems: list[str]) -> list[Fact]:
    """One event of the API's stream. Types that add nothing to show, and new ones, give no fact."""
    stream = fit(shapes.StreamLine, line, problems)
    event, scope = stream.event, stream.parent_tool_use_id or ""
    if "event" not in line or not isinstance(line["event"], dict):
        return []
    match fit(shapes.Kind, event, problems, "event.").type:
        case "message_start":
            start = fit(shapes.MessageStart, event, problems, "event.")
            return [AnswerStarted(scope, start.message.id)]
        case "content_block_start":
            block = fit(shapes.BlockStart, event, problems, "event.")
            return [BlockStarted(scope, block.index, PARTS.get(block.content_block.type, "other"))]
        case "content_block_delta":
            return _delta(event, scope, problems)
        case "content_block_stop":
            return [BlockStopped(scope, fit(shapes.BlockStop, event, problems, "event.").index)]
        case _:
            return []


def read_delta_quickly(line: dict[str, Any]) -> Delta | None:
    """The delta in a `stream_event` of the usual form: nine in ten lines. None: `read_stream_event` has to look."""
    event, scope = line.get("event"), line.get("parent_tool_use_id")
    if type(event) is not dict or not (scope is None or type(scope) is str):
        return None
    index, delta = event.get("index"), event.get("delta")
    if event.get("type") != "content_block_delta" or type(delta) is not dict or type(index) is not int:
        return None
    kind = delta.get("type")
    if type(kind) is not str or kind not in DELTAS or not 0 <= index <= shapes.INT_MAX:
        return None
    part, name = DELTAS[kind]
    text = delta.get(name)
    return Delta(scope or "", index, part, text) if type(text) is str else None


def _delta(event: dict[str, Any], scope: str, problems: list[str]) -> list[Fact]:
    block = fit(shapes.BlockDelta, event, problems, "event.")
    if not isinstance(event.get("delta"), dict):
        return []
    kind = fit(shapes.Kind, block.delta, problems, "event.delta.").type
    if kind not in DELTAS:
        return []
    part, name = DELTAS[kind]
    text = block.delta.get(name)
    if not isinstance(text, str):
        note(problems, f"event.delta.{name}: expected `str`, got `{type(text).__name__}`")
        return []
    return [Delta(scope, block.index, part, text)]


def _blocks(content: str | list[Any], problems: list[str], where: str) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Type, block and path of each content block; a plain string is one text block."""
    if isinstance(content, str):
        if content:
            yield "text", {"text": content}, f"{where}."
        return
    for number, block in enumerate(content):
        kind = fit(shapes.Kind, block, problems, f"{where}[{number}].").type
        if kind:
            yield kind, block, f"{where}[{number}]."


def _shown(content: str | list[Any] | None, problems: list[str], where: str) -> str:
    """What a tool's result shows: texts line by line, and `[image]` and the like for what is no text."""
    if content is None:
        return ""
    return "\n".join(
        fit(shapes.TextPart, block, problems, path).text if kind == "text" else f"[{kind}]"
        for kind, block, path in _blocks(content, problems, where)
    )
