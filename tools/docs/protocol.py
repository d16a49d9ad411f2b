"""docs/protocol.md: the client protocol, from the types and docstrings of model/frames.py and model/events.py."""

from __future__ import annotations

import types
from collections.abc import Iterable
from typing import Any, get_args, get_origin

import msgspec
from tools.docs import conversation, replies, rules
from tools.docs.bounds import BOUNDS, key_of
from tools.docs.markdown import anchor, bullets, literal, mark, page, table
from tools.docs.reading import attribute_docs, introduction, meaning

from betcode.model import events, frames, rows, states, upstream

ABOUT_THE_SOURCE = "`docs/protocol.md` is generated from here."
"""In the module's docstring for those who edit it; not for readers of the page."""

REPLY_HEAD = ("field", "type", "meaning")
FIELD_HEAD = ("field", "type", "default", "meaning")

OBJECTS: tuple[type, ...] = (frames.Summary, upstream.ApiWait, rows.Options, events.Preview, events.Passing)
"""Objects inside requests, replies and frames."""

SCALARS: dict[object, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    bytes: "text, in base64",
    types.NoneType: "null",
    msgspec.Raw: "[event](#events)",
}

STATES: dict[str, type] = {
    "States of sessions": states.SessionState,
    "States of messages": states.MessageState,
    "States of questions": states.PermissionState,
}


def render() -> str:
    """The page."""
    replies.check()
    return page(
        mark("src/betcode/model/frames.py", "src/betcode/model/events.py"),
        "# Client protocol",
        introduction(frames).replace(ABOUT_THE_SOURCE, ""),
        "## Connection",
        rules.CONNECTION,
        "## Cursors and previews",
        rules.CURSOR,
        "## Errors",
        rules.ERRORS,
        "## Example",
        conversation.render(),
        "## Requests",
        "Every request has these fields; an answer repeats `id` as `re`.",
        _family(frames.Request, "op"),
        *_blocks(_request(request) for request in get_args(frames.AnyRequest)),
        "## Frames",
        "What the daemon sends. Every frame has this field.",
        _family(frames.Frame, "type"),
        *_blocks(_struct(f"frame {tag_of(frame)}", frame, frames.Frame) for frame in get_args(frames.AnyFrame)),
        "## Events",
        introduction(events),
        "Every event has these fields.",
        _family(events.Event, "kind"),
        *_blocks(_struct(f"event {tag_of(event)}", event, events.Event) for event in get_args(events.AnyEvent)),
        "## Objects",
        *_blocks(_struct(f"object {cls.__name__}", cls) for cls in OBJECTS),
        "### object Question",
        "A permission question that waits for an answer.",
        _reply_table(replies.QUESTION),
        "## States",
        *_blocks(_states(title, state) for title, state in STATES.items()),
    )


def _blocks(parts: Iterable[list[str]]) -> Iterable[str]:
    return (block for part in parts for block in part)


def tag_of(struct: type) -> str:
    """The word by which the JSON of a struct is known."""
    info = msgspec.inspect.type_info(struct)
    assert isinstance(info, msgspec.inspect.StructType)
    return str(info.tag)


def _family(base: type, tag_field: str) -> str:
    """The fields that all structs of a family have."""
    words = {"op": "Which request it is.", "type": "Which frame it is.", "kind": "Which event it is."}
    return table(FIELD_HEAD, [(literal(tag_field), "text", "required", words[tag_field]), *_field_rows(base, ())])


def _request(request: type) -> list[str]:
    described = _struct(f"request {tag_of(request)}", request, frames.Request)
    body = replies.BODIES.get(request.__name__)
    if body is None:
        return [*described, "Answered by [frame welcome](#frame-welcome)."]
    return [*described, *(["Body of the reply:", _reply_table(body)] if body else ["The body of the reply is empty."])]


def _reply_table(body: replies.Rows) -> str:
    return table(REPLY_HEAD, [(literal(name), kind, text) for name, kind, text in body])


def _struct(title: str, struct: type, base: type | None = None) -> list[str]:
    """Heading, meaning and fields of one struct, without those of its family."""
    known = [field.name for field in msgspec.structs.fields(base)] if base else []
    rows_ = _field_rows(struct, known)
    return [f"### {title}", meaning(struct), table(FIELD_HEAD, rows_) if rows_ else ""]


def _field_rows(struct: type, known: Iterable[str]) -> list[tuple[str, str, str, str]]:
    docs = attribute_docs(struct)
    limited = issubclass(struct, frames.Request | rows.Options)
    found = []
    for field in msgspec.structs.fields(struct):
        if field.name not in known:
            key = key_of(struct.__name__, field.name) if limited else ""
            words = docs.get(field.name, "") + (f" Limits: {BOUNDS[key].words}." if key else "")
            found.append((literal(field.encode_name), type_text(field.type), default_text(field), words))
    return found


def default_text(field: msgspec.structs.FieldInfo) -> str:
    """What a field counts as when it is left out."""
    if field.required:
        return "required"
    if field.default_factory is not msgspec.NODEFAULT:
        return literal("[]" if get_origin(field.type) is list else "{}")
    return literal(msgspec.json.encode(field.default).decode())


def type_text(kind: Any) -> str:
    """A type in words."""
    if kind in SCALARS:
        return SCALARS[kind]
    if kind in OBJECTS:
        return f"[{kind.__name__}]({anchor(f'object {kind.__name__}')})"
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (list, tuple):
        return f"list of {type_text(arguments[0])}"
    if origin is dict:
        return "object"
    if origin is types.UnionType:
        return " or ".join(type_text(argument) for argument in arguments)
    raise TypeError(f"no words for the type {kind}")


def _states(title: str, state: Any) -> list[str]:
    docs = attribute_docs(state)
    members = [literal(m.value) + (f": {docs[m.name]}" if m.name in docs else "") for m in state]
    return [f"### {title}", meaning(state), bullets(members)]
