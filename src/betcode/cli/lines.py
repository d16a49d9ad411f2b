"""Durable events as lines for people. Pure; who prints them makes control characters visible.

What is shortened says so, and where the whole is.
"""

from __future__ import annotations

import json
from typing import Any

from betcode.cli.local_time import local

ONE_LINE_CHARS = 160
"""A tool call in one line: as much as two lines of a common terminal."""
RESULT_LINES = 4
"""Lines shown of what a tool gave back."""
USUAL_INPUT = ("command", "file_path", "path", "pattern", "url", "query", "prompt", "description")
"""The field of a tool's input that says most, the best first."""


def cut(text: str, chars: int = ONE_LINE_CHARS) -> str:
    """The beginning of a text in one line, with a mark of what is missing."""
    flat = " ".join(text.split())
    return flat if len(flat) <= chars else f"{flat[:chars]}[... {len(flat) - chars} more characters]"


def tool_line(event: dict[str, Any]) -> str:
    """A tool call in one line."""
    given = event["input"]
    main = next((given[name] for name in USUAL_INPUT if isinstance(given.get(name), str)), None)
    text = main if main is not None else json.dumps(given, ensure_ascii=False)
    return f"{inside(event)}* {event['tool']}: {cut(text)}"


def result_lines(event: dict[str, Any]) -> list[str]:
    """What a tool gave back, its first lines."""
    lines = [line for line in event["text"].split("\n") if line.strip()]
    mark = "failed: " if event.get("is_error") else ""
    margin = f"{inside(event)}  | "
    shown = [f"{margin}{mark if number == 0 else ''}{cut(line)}" for number, line in enumerate(lines[:RESULT_LINES])]
    if len(lines) > RESULT_LINES:
        shown.append(f"{margin}[... {len(lines) - RESULT_LINES} more lines]")
    return shown or [f"{margin}{mark}(nothing)"]


def inside(event: dict[str, Any]) -> str:
    """Indentation of what a subagent does."""
    return "    " if event.get("scope") else ""


def question_lines(question: dict[str, Any], directory: str = "") -> list[str]:
    """A permission question with the tool's whole input; never cut, since a person decides by it."""
    lines = [f"? claude asks to use {question['tool']}" + (f" in {directory}" if directory else "")]
    if _says_more(question.get("description", ""), question["input"]):
        lines.append(f"  {question['description']}")
    if question.get("reason"):
        lines.append(f"  reason: {question['reason']}")
    if question.get("agent_id"):
        lines.append(f"  asked by the subagent {question['agent_id']}")
    for name, value in question["input"].items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        first, *rest = text.split("\n")
        lines.append(f"  {name}: {first}")
        lines += [f"    {line}" for line in rest]
    return lines


def _says_more(description: str, given: dict[str, Any]) -> bool:
    """Whether a description is more than the beginning of the tool's input, which is shown whole."""
    beginning = description.rstrip("\u2026")
    return bool(beginning) and not any(isinstance(v, str) and v.startswith(beginning) for v in given.values())


def how_to_answer(permission_id: str, expires_at: str) -> list[str]:
    """What a person types to answer a question, and until when."""
    return [
        f"  denied at {local(expires_at, seconds=True)} if nobody answers",
        f"  betcode permissions allow {permission_id}   or   betcode permissions deny {permission_id}",
    ]


def advice(text: str, hint: str) -> list[str]:
    """A sentence and what to do about it."""
    return [text, *([f"  hint: {hint}"] if hint else [])]


def event_lines(event: dict[str, Any]) -> list[str]:
    """Any durable event in the order of a conversation; some show nothing."""
    match event["kind"]:
        case "user_message":
            first, *rest = event["text"].split("\n")
            return [f"> {first}", *(f"  {line}" for line in rest)]
        case "assistant":
            return _said(event)
        case "tool_call":
            return [tool_line(event)]
        case "tool_result":
            return result_lines(event)
        case "permission_asked":
            return [*question_lines(event), *how_to_answer(event["permission_id"], event["expires_at"])]
        case "turn_ended":
            # Of a turn that a person interrupted claude only says where it stood.
            told = event.get("errors") if event["outcome"] != "interrupted" else []
            return [f"-- turn {event['outcome']}" + (f": {'; '.join(told)}" if told else "")]
        case "error":
            return advice(f"! {event['code']}: {event['message']}", event.get("hint", ""))
        case "gap":
            return [f"! missing: {event['unit']} {event['first']} to {event['last']} ({event['cause']})"]
        case _:
            return _minor(event)


def _said(event: dict[str, Any]) -> list[str]:
    lines = event["text"].split("\n")
    if event["part"] != "text":
        lines = [f"({event['part']}) {lines[0]}", *lines[1:]]
    if event.get("interrupted"):
        lines.append("[interrupted]")
    return [f"{inside(event)}{line}" for line in lines]


def _minor(event: dict[str, Any]) -> list[str]:
    """What happens around a conversation."""
    match event["kind"]:
        case "permission_settled":
            by = f" by {event['by']}" if event.get("by") else ""
            message = f": {event['message']}" if event.get("message") else ""
            return [f"  question {event['permission_id']} {event['state']}{by}{message}"]
        case "status":
            return [f"-- {event['state']}" + (f": {event['reason']}" if event.get("reason") else "")]
        case "notice":
            return advice(f"! {event['severity']}: {event['message']}", event.get("hint", ""))
        case "message_state":
            told = event["state"] in ("queued", "failed", "cancelled", "unknown") and event.get("reason")
            again = f" Next try at {local(event['retry_at'], seconds=True)}." if event.get("retry_at") else ""
            return [f"-- message {event['state']}: {event['reason']}{again}"] if told else []
        case "note":
            return [f"  ({event['name']}) {cut(event.get('text', ''))}".rstrip()]
        case "unknown":
            return [f"  (unknown line {event['name']}) {cut(event['raw'])}"]
        case "turn_started":
            return []
        case _:
            return [f"  ({event['kind']})"]


def retried_text(body: dict[str, Any]) -> str:
    """What a retry did."""
    what = "started afresh" if body.get("retried", True) else "there was nothing to retry"
    return f"{what}; messages that wait: {body['waiting']}"


def queue_lines(messages: list[dict[str, Any]], *, held: bool) -> list[str]:
    """Messages without an outcome, each with its state and why it waits."""
    if not messages:
        return ["no message waits"]
    rows = [f"{m['id']}  {m['state']}{_because(m)}\n  {cut(m['text'])}" for m in messages]
    lines = [line for row in rows for line in row.split("\n")]
    return [*lines, "what waits is held until it is released or cleared"] if held else lines


def _because(message: dict[str, Any]) -> str:
    return f": {message['reason']}" if message["reason"] else ""
