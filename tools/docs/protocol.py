"""docs/protocol.md: the client protocol, from the types and docstrings of model/frames.py and model/events.py."""

from __future__ import annotations

import types
from typing import Any, get_args, get_origin

import msgspec

from betcode.model import events, frames, limits, rows, states
from tools.docs import conversation, replies
from tools.docs.bounds import bound_of
from tools.docs.markdown import anchor, bullets, literal, mark, page, table
from tools.docs.reading import attribute_docs, introduction, meaning

CONNECTION = f"""\
The daemon listens on the Unix socket `daemon.sock` in the runtime directory ([files.md](files.md)); only processes of
its user may connect. Open a WebSocket on it, with any path but `/healthz` and `/metrics`, which are pages for HTTP
([metrics.md](metrics.md)). Each text is one JSON object in UTF-8. A request whose `Origin` header is set is refused:
browsers cannot use this socket.

- `hello` must come first, within {limits.HELLO_WAIT_S:.0f} s.
- Requests are carried out one after the other, in the order they come.
- A request may have {limits.FRAME_BYTES_MAX // 1024**2} MiB; for a larger one the connection is closed, after an error if it is not much larger.
- {limits.CONNECTIONS_MAX} clients may be connected, {limits.CLIENTS_PER_SESSION_MAX} attached to one session.
- Neither side sends pings: on a Unix socket the end of the other side is always seen.
- Readers must ignore fields, frame types and event kinds that they do not know.

[protocol.schema.json](protocol.schema.json) has the same as JSON Schema. All bounds are in [limits.md](limits.md)."""

CURSOR = f"""\
A *cursor* is the position (epoch, seq) of the last event a client has seen of a session. Keep it, and every event comes
once and in order, whatever breaks.

1. Inside an epoch, numbers start at 1 and have no hole. An event is stored before anybody sees it and never changes.
2. `attach` with the cursor. All events behind it come, up to {limits.FRAME_EVENTS_MAX} or about {limits.FRAME_BYTES_SOFT // 1024} KiB a frame, then live
   ones. Without a cursor attach with epoch 0, seq 0. With `from_end` the cursor is `epoch`, `seq` of the reply.
3. An event at or before the cursor is a duplicate: drop it. The next one moves the cursor by one, also when you do not
   know its kind.
4. If the first event that comes is not number 1 and you had no cursor, older ones are no longer stored: begin there.
5. A `gap` event whose unit is `events` stands for the numbers `first` to `last`, which are lost: the cursor moves to
   `last`.
6. An event further ahead than the next one is a hole that should not be: `detach`, then `attach` with the cursor.
7. If `reset` is not empty, forget what you hold of this session and take (`epoch` of the frame, 0) as the cursor. This
   happens when the session's epoch is not yours any more, or when you know more events than are stored.
8. Acknowledge nothing. A client that reads slowly gets larger frames and merged previews, and slows nobody.

Previews show what is still being written. They have no number and are not stored.

1. Keep one text for each `scope`. A preview keeps the first `offset` characters of what you have of its `block` and
   appends its `text`. Characters are Unicode code points, not bytes and not UTF-16 units.
2. The durable event with the same `block` replaces them. A newer block of the scope drops the older one; `turn_ended`
   drops all. A preview of a block that is complete already is late: drop it.
3. If `offset` is beyond what you have, text is missing: `detach`, then `attach` with the cursor.
4. After each `attach` the text of an open block comes once more, from its beginning."""

ERRORS = """\
A request gets exactly one answer, `reply` or `error`. An `error` means that it was not done. `code` is what to match
([errors.md](errors.md)); `message` says what happened and `hint` what to do, both for people. A frame that is no
request is answered too, with its `id` if one can be found in it, else with `re` 0; the connection goes on. It is closed
after an error to `hello` and after a frame that is too large.

A connection that breaks before the answer leaves open whether the request was done. Send it again: `create` and `send`
do nothing twice under the same `key`, an `answer` that comes twice is refused, and the other requests do no harm."""

STATE_TITLES: dict[str, type] = {
    "Sessions": states.SessionState,
    "Messages": states.MessageState,
    "Permission questions": states.PermissionState,
}

OBJECTS: tuple[type, ...] = (frames.Summary, rows.Options, events.Preview, events.Passing)
"""Objects inside requests, replies and frames, with a heading each."""

SCALARS: dict[object, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    types.NoneType: "null",
    Any: "anything",
    msgspec.Raw: "[event](#events)",
}


def render() -> str:
    """The page."""
    replies.check()
    return page(
        mark("src/betcode/model/frames.py", "src/betcode/model/events.py"),
        "# Client protocol",
        introduction(frames),
        "## Connection",
        CONNECTION,
        "## Cursors and previews",
        CURSOR,
        "## Errors",
        ERRORS,
        "## Example",
        conversation.render(),
        "## Requests",
        _common(frames.Request, "op"),
        *(block for request in get_args(frames.AnyRequest) for block in _request(request)),
        "## Frames",
        _common(frames.Frame, "type"),
        *(block for frame in get_args(frames.AnyFrame) for block in _struct(frame, frames.Frame)),
        "## Events",
        introduction(events),
        _common(events.Event, "kind"),
        *(block for event in get_args(events.AnyEvent) for block in _struct(event, events.Event)),
        "## Objects",
        *(block for cls in OBJECTS for block in _struct(cls, None)),
        "### Question",
        "A permission question that is open.",
        table(("field", "type", "meaning"), [(literal(n), t, m) for n, t, m in replies.QUESTION]),
        "## States",
        *(block for title, state in STATE_TITLES.items() for block in _states(title, state)),
    )


def _common(base: type, tag_field: str) -> str:
    """What all structs of a family have in common."""
    tag = f"`{tag_field}` says which it is."
    fields = _fields(base, None)
    return page(f"{meaning(base)} {tag}", _field_table(base, fields) if fields else "")


def _request(request: type) -> list[str]:
    rows_ = replies.BODIES.get(request.__name__)
    if rows_ is None:
        reply = "Answered by a [welcome](#welcome) frame."
    elif not rows_:
        reply = "The reply's body is empty."
    else:
        reply = "Body of the reply:\n\n" + table(("field", "type", "meaning"), [(literal(n), t, m) for n, t, m in rows_])
    return [*_struct(request, frames.Request), reply]


def _struct(cls: type, base: type | None) -> list[str]:
    """Heading, meaning and fields of one struct, without those of its family."""
    fields = _fields(cls, base)
    return [f"### {title_of(cls)}", meaning(cls), _field_table(cls, fields) if fields else ""]


def title_of(cls: type) -> str:
    """The word that stands in the JSON, else the name of the type."""
    tag = msgspec.inspect.type_info(cls)
    assert isinstance(tag, msgspec.inspect.StructType)
    return str(tag.tag) if tag.tag is not None else cls.__name__


def _fields(cls: type, base: type | None) -> list[msgspec.structs.FieldInfo]:
    known = set(base.__struct_fields__) if base else set()  # type: ignore[attr-defined]
    return [field for field in msgspec.structs.fields(cls) if field.name not in known]


def _field_table(cls: type, fields: list[msgspec.structs.FieldInfo]) -> str:
    docs = attribute_docs(cls)
    limited = issubclass(cls, frames.Request | rows.Options)
    lines = []
    for field in fields:
        bound = bound_of(cls.__name__, field.name) if limited else None
        words = " ".join(text for text in (docs.get(field.name, ""), f"Limits: {bound.words}." if bound else "") if text)
        lines.append((literal(field.encode_name), type_text(field.type), default_text(field), words))
    return table(("field", "type", "default", "meaning and limits"), lines)


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
        return f"[{kind.__name__}]({anchor(kind.__name__)})"
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
