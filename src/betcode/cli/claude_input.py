"""What a program of the Agent SDK writes to claude's standard input, one line at a time (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec


@dataclass(frozen=True, slots=True)
class UserText:
    """A message for claude. `uuid` is empty when the program did not choose one."""

    text: str
    uuid: str


@dataclass(frozen=True, slots=True)
class ControlAsked:
    """The program asks for something beside the conversation."""

    request_id: str
    subtype: str
    request: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Decided:
    """The program's answer to a question; `response` is None when it failed to decide, which `error` explains."""

    request_id: str
    response: dict[str, Any] | None
    error: str


@dataclass(frozen=True, slots=True)
class Unusable:
    """A line that cannot be passed on, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class Nothing:
    """A line that asks for nothing: empty, or a sign of life."""


InputLine = UserText | ControlAsked | Decided | Unusable | Nothing


def read_input(line: bytes) -> InputLine:
    """One line, with or without its newline. Never raises."""
    if not line.strip():
        return Nothing()
    try:
        value = msgspec.json.decode(line)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        return Unusable(f"a line of standard input is no JSON: {error}")
    if not isinstance(value, dict):
        return Unusable("a line of standard input is no JSON object")
    match value.get("type"):
        case "user":
            return _user(value)
        case "control_request":
            request = value.get("request")
            if not isinstance(request, dict) or not isinstance(value.get("request_id"), str):
                return Unusable("a control_request without request_id or request")
            return ControlAsked(value["request_id"], str(request.get("subtype", "")), request)
        case "control_response":
            return _decided(value)
        case "keep_alive":
            return Nothing()
        case other:
            return Unusable(f"lines of type {other!r} are not supported through betcode")


def _user(value: dict[str, Any]) -> InputLine:
    message = value.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    uuid = value.get("uuid") if isinstance(value.get("uuid"), str) else ""
    if isinstance(content, str):
        return UserText(content, uuid or "")
    blocks = content if isinstance(content, list) else []
    texts = [b["text"] for b in blocks if isinstance(b, dict) and b.get("type") == "text" and _is_text(b.get("text"))]
    if not texts or len(texts) < len(blocks):
        return Unusable("a user message must consist of text; images and files are not supported through betcode")
    return UserText("\n\n".join(texts), uuid or "")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _decided(value: dict[str, Any]) -> InputLine:
    response = value.get("response")
    if not isinstance(response, dict) or not isinstance(response.get("request_id"), str):
        return Unusable("a control_response without response or request_id")
    inner = response.get("response")
    if response.get("subtype") != "success" or not isinstance(inner, dict):
        return Decided(response["request_id"], None, str(response.get("error") or "no decision was given"))
    return Decided(response["request_id"], inner, "")
