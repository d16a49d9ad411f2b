"""docs/protocol.schema.json and docs/protocol.md against the code that reads and writes the client protocol."""

import json
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import jsonschema  # type: ignore[import-untyped]
import msgspec
import pytest

from betcode.client.session_view import Hole, Reset, SessionView
from betcode.model import events, frames, rows
from betcode.model.errors import BetcodeError
from betcode.wire.client_api import decode_frame, decode_request

DOCS = Path(__file__).resolve().parents[2] / "docs"
SCHEMA: dict[str, Any] = json.loads((DOCS / "protocol.schema.json").read_text("utf-8"))
UNIONS: dict[str, Any] = {
    "AnyRequest": frames.AnyRequest,
    "AnyFrame": frames.AnyFrame,
    "AnyEvent": events.AnyEvent,
}
KINDS = [(union, struct) for union, structs in UNIONS.items() for struct in get_args(structs)]

SPECIAL: dict[str, Any] = {
    "Create.key": "6f1f1bd1-3c1b-4c6e-8f53-0a54b4f4c2de",
    "Send.key": "6f1f1bd1-3c1b-4c6e-8f53-0a54b4f4c2de",
    "Hello.trace_id": "0af7651916cd43dd8448eb211c80319c",
    "Options.trace_id": "0af7651916cd43dd8448eb211c80319c",
    "Options.allow": ("Bash(git *)",),
    "Options.disallow": ("Read",),
    "Options.more": ("--effort=high",),
    "Options.permission_mode": "plan",
    "GetUsage.by": "session",
}
"""Values for fields whose type does not say what is allowed."""


def validator(union: str) -> Any:
    """Checks one value against one union of the schema."""
    return jsonschema.Draft202012Validator({"$ref": f"#/$defs/{union}", "$defs": SCHEMA["$defs"]})


def value(kind: Any) -> Any:
    """A value of a type that is not the default of any field."""
    simple: dict[Any, Any] = {str: "x", bytes: b"x", int: 7, float: 1.5, bool: True, Any: 7}
    if kind in simple:
        return simple[kind]
    if kind is msgspec.Raw:
        return msgspec.Raw(msgspec.json.encode(example(events.Gap, full=True)))
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return example(kind, full=True)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (list, tuple):
        return origin([value(arguments[0])])
    if origin is dict:
        return {"a": value(arguments[1])}
    assert origin is types.UnionType, f"{kind} is new here"
    return value(arguments[0])


def example(struct: Any, *, full: bool) -> Any:
    """One value of a struct: with every field, or with those that must be there."""
    fields = [field for field in msgspec.structs.fields(struct) if full or field.required]
    special = {field.name: SPECIAL.get(f"{struct.__name__}.{field.name}") for field in fields}
    return struct(**{field.name: special[field.name] or value(field.type) for field in fields})


def as_json(struct: Any, *, full: bool = True) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(msgspec.json.encode(example(struct, full=full)))
    return found


def accepted(union: str, document: dict[str, Any]) -> bool:
    """Whether the product reads it."""
    text = json.dumps(document).encode()
    try:
        if union == "AnyRequest":
            decode_request(text)
        elif union == "AnyFrame":
            decode_frame(text)
        else:
            msgspec.json.decode(text, type=UNIONS[union])
    except (BetcodeError, msgspec.ValidationError):
        return False
    return True


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("full", [True, False], ids=["every field", "only what must be there"])
@pytest.mark.parametrize("union, struct", KINDS)
def test_what_the_product_writes_and_reads_is_valid(union: str, struct: Any, full: bool) -> None:
    document = as_json(struct, full=full)
    assert list(validator(union).iter_errors(document)) == []
    assert accepted(union, document)
    for other in UNIONS.keys() - {union}:
        assert not validator(other).is_valid(document)


@pytest.mark.parametrize("union, struct", KINDS)
def test_a_field_of_a_wrong_type_or_that_is_missing_is_invalid_for_schema_and_product(union: str, struct: Any) -> None:
    good = as_json(struct)
    required = {field.encode_name for field in msgspec.structs.fields(struct) if field.required}
    for name, held in good.items():
        bad = good | {name: 7 if isinstance(held, str) else "x"}
        assert not validator(union).is_valid(bad), name
        assert not accepted(union, bad), name
        without = {other: good[other] for other in good if other != name}
        is_tag = name in ("op", "type", "kind")
        assert validator(union).is_valid(without) == (name not in required and not is_tag), name
        assert accepted(union, without) == (name not in required and not is_tag), name


def test_an_event_inside_a_frame_must_be_an_event() -> None:
    frame = as_json(frames.SessionFrame)
    assert [event["kind"] for event in frame["events"]] == ["gap"]
    assert validator("AnyFrame").is_valid(frame)
    assert not validator("AnyFrame").is_valid(frame | {"events": [{"kind": "gap"}]})


def edges(rule: dict[str, Any]) -> Iterator[tuple[Any, bool]]:
    """Values just inside and just outside of what one field's schema allows."""
    if "maxLength" in rule:
        yield "a" * rule["maxLength"], True
        yield "a" * (rule["maxLength"] + 1), False
    if "pattern" in rule:
        yield "-", False
    if "enum" in rule and len(rule["enum"]) > 1:
        yield from ((word, True) for word in rule["enum"])
        yield "bypassPermissions", False
    if "minLength" in rule:
        yield "", False
    if "maxItems" in rule:
        texts = ("--effort=high", "Bash")
        item = (
            next(t for t in texts if re.search(rule["items"].get("pattern", ""), t))
            if rule["items"]["type"] == "string"
            else 1
        )
        yield [item] * rule["maxItems"], True
        yield [item] * (rule["maxItems"] + 1), False
        yield from (([inner], inside) for inner, inside in edges(rule["items"]))
    if "minimum" in rule:
        yield rule["minimum"], True
        yield rule["minimum"] - 1, False
        yield rule["maximum"], True
        yield rule["maximum"] + 1, False
    for choice in rule.get("anyOf", []):
        if "const" in choice:
            yield choice["const"], True
        if "minimum" in choice:
            yield choice["minimum"], True
            yield choice["minimum"] / 2, False
            yield choice["maximum"], True
            yield choice["maximum"] + 1, False


def limited_fields() -> Iterator[tuple[Any, str, Any, bool]]:
    for struct in get_args(frames.AnyRequest):
        for name, rule in SCHEMA["$defs"][struct.__name__]["properties"].items():
            yield from ((struct, name, edge, inside) for edge, inside in edges(rule))
    for name, rule in SCHEMA["$defs"][rows.Options.__name__]["properties"].items():
        yield from ((frames.Create, name, edge, inside) for edge, inside in edges(rule))


@pytest.mark.req("SE-2")
def test_every_limit_of_the_schema_is_where_the_daemon_draws_it() -> None:
    tried = 0
    for struct, name, edge, inside in limited_fields():
        document = as_json(struct)
        if name in document:
            document[name] = edge
        else:
            document["options"] |= {name: edge}
        what = f"{struct.__name__}.{name} = {str(edge)[:40]}"
        assert validator("AnyRequest").is_valid(document) is inside, what
        assert accepted("AnyRequest", document) is inside, what
        tried += 1
    assert tried > 50


def conversation() -> list[tuple[str, str]]:
    """The lines of the example in docs/protocol.md: who sends, and what."""
    lines = (DOCS / "protocol.md").read_text("utf-8").splitlines()
    return [(line[:6], line[8:]) for line in lines if line.startswith(("client  {", "daemon  {"))]


def test_the_example_conversation_is_one_that_the_product_understands() -> None:
    view = SessionView()
    attached: list[frames.Attach] = []
    for sender, text in conversation():
        document = json.loads(text)
        assert validator("AnyRequest" if sender == "client" else "AnyFrame").is_valid(document), text
        if sender == "client":
            request = decode_request(text)
            attached += [request] if isinstance(request, frames.Attach) else []
        elif isinstance(frame := decode_frame(text), frames.SessionFrame):
            assert not [news for news in view.apply(frame) if isinstance(news, Hole | Reset)], text
            for raw in frame.events:
                assert validator("AnyEvent").is_valid(json.loads(bytes(raw)))
    first, second = attached
    assert (first.epoch, first.seq) == (0, 0)
    assert (second.epoch, second.seq) == (view.epoch, view.seq)


def test_the_page_has_a_section_for_every_request_frame_and_event() -> None:
    headings = {line for line in (DOCS / "protocol.md").read_text("utf-8").splitlines() if line.startswith("### ")}
    words = {"AnyRequest": ("request", "op"), "AnyFrame": ("frame", "type"), "AnyEvent": ("event", "kind")}
    for union, struct in KINDS:
        family, tag = words[union]
        assert f"### {family} {as_json(struct)[tag]}" in headings
