"""What holds for every line and every stream, however damaged."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from betcode.model import limits
from betcode.model.facts import BadLine, Fact, Unknown
from betcode.testing.fuzz_targets import read_output
from betcode.wire import claude_stdin
from betcode.wire.check import Check, Report
from betcode.wire.claude import LINES, read_line
from betcode.wire.claude_blocks import DELTAS, read_delta_quickly, read_stream_event
from betcode.wire.claude_system import SYSTEM
from betcode.wire.lines import Line, LineSplitter
from betcode.wire.visible import visible

RECORDINGS = [
    [line for line in path.read_bytes().split(b"\n") if line]
    for path in sorted((Path(__file__).parents[1] / "recordings").glob("*.ndjson"))
    if not path.name.endswith(".stdin.ndjson")
]
RECORDED = sorted({line for lines in RECORDINGS for line in lines}, key=lambda line: (len(line), line))
FIELDS = sorted({word.decode() for line in RECORDED for word in re.findall(rb'"(\w{2,30})":', line)})

finite = st.floats(allow_nan=False, allow_infinity=False)  # JSON has no others
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["nan", "null", "1", "success"])
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6)
)
kinds = st.sampled_from([{"type": kind} for kind in LINES] + [{"type": "system", "subtype": kind} for kind in SYSTEM])


def facts_of(stream: bytes, line_bytes_max: int = limits.LINE_BYTES_MAX) -> list[list[Fact]]:
    """Facts of each line of a whole stream."""
    splitter = LineSplitter(line_bytes_max=line_bytes_max)
    return [read_line(line.data, line.original_size) for line in splitter.feed(stream)]


def check_facts(data: bytes, facts: list[Fact]) -> None:
    """What may be said of any line."""
    msgspec.json.encode(facts)  # whoever stores or sends them must not be surprised
    bad = [fact for fact in facts if isinstance(fact, BadLine)]
    assert len(bad) <= 1
    for line in bad:
        assert facts[0] is line
        assert line.error_type == "schema" or len(facts) == 1
        assert line.size_bytes == len(data)
        assert len(line.raw) <= limits.BAD_LINE_PREVIEW_CHARS
    for fact in facts:
        if isinstance(fact, Unknown):
            assert len(facts) == 1
            assert len(fact.raw) <= limits.UNKNOWN_RAW_CHARS


@pytest.mark.req("ND-10")
@given(
    st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")) | st.text('{}[]",:\\u0dD8 1eE.-')
)
def test_garbage_never_raises(data: bytes | str) -> None:
    line = data.encode() if isinstance(data, str) else data
    check_facts(line, read_line(line, None, []))


@pytest.mark.req("ND-5", "ND-10")
@given(kinds, st.dictionaries(st.sampled_from(FIELDS), values, max_size=8))
def test_any_fields_of_any_known_kind_never_raise(kind: dict[str, str], fields: dict[str, Any]) -> None:
    line = json.dumps({**fields, **kind}).encode()
    check_facts(line, read_line(line, None, []))


def damage(draw: st.DrawFn, line: bytes) -> bytes:
    """One of the ways in which a line goes wrong."""
    data = bytearray(line)
    at = draw(st.integers(0, len(line) - 1))
    match draw(st.sampled_from(["cut", "head lost", "bit", "bytes", "hole", "garbage", "twice", "joined"])):
        case "cut":
            del data[at:]
        case "head lost":
            del data[:at]
        case "bit":
            data[at] ^= 1 << draw(st.integers(0, 7))
        case "bytes":
            data[at : at + 4] = draw(st.binary(min_size=1, max_size=4))
        case "hole":
            del data[at : at + draw(st.integers(1, 300))]
        case "garbage":
            data[at:at] = draw(st.binary(min_size=1, max_size=20) | st.just(b"\0" * 4096))
        case "twice":
            data += b"\n" + line
        case _:
            data += draw(st.sampled_from(RECORDED))
    return bytes(data)


@pytest.mark.req("ND-1", "ND-2", "ND-3", "ND-10")
@given(st.data())
def test_a_damaged_line_never_changes_the_facts_of_the_others(data: st.DataObject) -> None:
    lines = data.draw(st.lists(st.sampled_from(RECORDED), min_size=1, max_size=8))
    number = data.draw(st.integers(0, len(lines) - 1))
    damaged = data.draw(st.composite(damage)(lines[number]))
    whole = facts_of(b"".join(line + b"\n" for line in lines))
    stream = b"".join([*(line + b"\n" for line in lines[:number]), damaged, b"\n"])
    stream += b"".join(line + b"\n" for line in lines[number + 1 :])
    read = facts_of(stream)
    assert read[:number] == whole[:number]
    after = len(lines) - number - 1
    assert read[len(read) - after :] == whole[number + 1 :]
    for part, facts in zip(damaged.split(b"\n"), read[number:], strict=False):
        check_facts(part, facts)


@pytest.mark.req("ND-1", "ND-10")
@settings(max_examples=100)
@given(st.data())
def test_a_recording_with_any_bytes_damaged_is_read_decided_on_and_stored_without_an_error(data: st.DataObject) -> None:
    recording = bytearray(b"".join(line + b"\n" for line in data.draw(st.sampled_from(RECORDINGS))))
    for at in data.draw(st.lists(st.integers(0, max(0, len(recording) - 1)), max_size=20)):
        recording[at : at + 1] = data.draw(st.binary(max_size=3))
    read_output(bytes(recording))


def replaced(draw: st.DrawFn, value: Any) -> Any:
    """The same JSON value with something of another type somewhere inside."""
    if isinstance(value, dict) and value and draw(st.integers(0, 4)):
        key = draw(st.sampled_from(sorted(value)))
        rest = {name: item for name, item in value.items() if name != key}
        return rest if draw(st.integers(0, 5)) == 0 else {**rest, key: replaced(draw, value[key])}
    if isinstance(value, list) and value and draw(st.integers(0, 4)):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], replaced(draw, value[at]), *value[at + 1 :]]
    return draw(values)


@pytest.mark.req("ND-5", "ND-10")
@given(st.data())
def test_wrong_types_and_missing_fields_never_raise(data: st.DataObject) -> None:
    line = json.loads(data.draw(st.sampled_from(RECORDED)))
    changed = json.dumps(data.draw(st.composite(replaced)(line))).encode()
    check_facts(changed, read_line(changed, None, []))


@pytest.mark.req("ND-10")
@given(
    st.sampled_from([*DELTAS, "signature_delta", ""]) | values,
    st.integers() | values,
    st.none() | st.text() | values,
    st.dictionaries(st.sampled_from(["text", "thinking", "partial_json"]), st.text() | values),
)
def test_the_quick_way_to_read_a_delta_agrees_with_the_thorough_one(
    kind: Any, index: Any, scope: Any, texts: dict[str, Any]
) -> None:
    event = {"type": "content_block_delta", "index": index, "delta": {**texts, "type": kind}}
    line = {"type": "stream_event", "event": event, "parent_tool_use_id": scope}
    problems: list[str] = []
    thorough = read_stream_event(line, problems)
    quick = read_delta_quickly(line)
    if quick is not None:
        assert thorough == [quick]
        assert not problems
    elif isinstance(kind, str) and kind in DELTAS:
        # Only what is not of the usual form may take the long way.
        usual = type(index) is int and isinstance(scope, str | None) and isinstance(texts.get(DELTAS[kind][1]), str)
        assert not usual or problems


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    ends = [*sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    starts = [0, *ends[:-1]]
    return [stream[start:end] for start, end in zip(starts, ends, strict=True)]


streams = st.lists(st.binary(max_size=30) | st.sampled_from([b"", b"\n", b"\r\n", b"x" * 60]), max_size=20).map(
    b"\n".join
)


@pytest.mark.req("ND-1", "ND-7")
@given(streams, st.lists(st.integers(0, 1000), max_size=12), st.integers(1, 64), st.integers(0, 10**12))
def test_chunking_never_changes_the_lines(stream: bytes, cuts: list[int], most: int, start: int) -> None:
    splitter = LineSplitter(start, most)
    lines: list[Line] = []
    for chunk in pieces(stream, cuts):
        lines += splitter.feed(chunk)
        assert splitter.position == (lines[-1].end if lines else start)
    *whole, rest = stream.split(b"\n")
    assert splitter.tail == len(rest)
    assert [line.data for line in lines] == [data[:most] for data in whole]
    assert [line.original_size for line in lines] == [len(d) if len(d) > most else None for d in whole]
    for line in lines:
        assert stream[line.start - start : line.end - start].startswith(line.data)
        assert stream[line.end - start - 1 : line.end - start] == b"\n"
    tail = splitter.take_tail()
    expected = Line(
        start + len(stream) - len(rest), start + len(stream), rest[:most], len(rest) if len(rest) > most else None
    )
    assert tail == (expected if rest else None)
    # A reader that begins at any line's end sees the lines that follow.
    for number, line in enumerate(lines):
        assert LineSplitter(line.end, most).feed(stream[line.end - start :]) == lines[number + 1 :]


def report(chunks: list[bytes], line_bytes_max: int) -> Report:
    check = Check(line_bytes_max)
    for chunk in chunks:
        check.feed(chunk)
    return check.finish()


@pytest.mark.req("ND-10")
@given(st.lists(st.sampled_from(RECORDED[:400]) | st.binary(max_size=40), max_size=10).map(b"\n".join), st.data())
def test_a_check_never_raises_and_counts_each_line_once(stream: bytes, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, 5000), max_size=6))
    line_bytes_max = data.draw(st.sampled_from([100, 300, 10_000]))
    one = report([stream], line_bytes_max)
    assert one == report(pieces(stream, cuts), line_bytes_max)
    rest = stream.rpartition(b"\n")[2]
    assert one.lines == stream.count(b"\n") + (1 if rest and one.tail == "complete" else 0)
    assert one.bytes == len(stream)
    assert sum(one.unknown.values()) == one.events.get("unknown", 0)


any_text = st.text(st.characters(exclude_categories=()))
any_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
)


def mended(value: Any) -> Any:
    return json.loads(re.sub("[\ud800-\udfff]", "\ufffd", json.dumps(value, ensure_ascii=False)))


@pytest.mark.req("INV-1", "PM-8")
@given(any_text, any_text, st.dictionaries(any_text, any_json, max_size=4))
def test_every_line_for_claude_is_one_line_of_valid_json(name: str, text: str, tool_input: dict[str, Any]) -> None:
    written: list[tuple[bytes, dict[str, Any]]] = [
        (claude_stdin.user_message(name, text), {"uuid": name, "text": text}),
        (claude_stdin.deny(name, text, interrupt=True), {"request_id": name, "text": text}),
        (claude_stdin.allow(name, tool_input, [tool_input]), {"request_id": name, "input": tool_input}),
        (claude_stdin.refuse_control(name, text), {"request_id": name, "text": text}),
        (claude_stdin.initialize(name), {"request_id": name}),
    ]
    for line, told in written:
        decoded = line.decode("utf-8")
        assert not re.search("[\n\r\u2028\u2029]", decoded)
        shown = json.dumps(json.loads(decoded), ensure_ascii=False)
        for value in told.values():
            assert json.dumps(mended(value), ensure_ascii=False) in shown


@pytest.mark.req("SE-4")
@given(any_text, st.booleans())
def test_visible_text_can_be_printed_and_stays_as_it_is(text: str, keep_newlines: bool) -> None:
    shown = visible(text, keep_newlines=keep_newlines)
    shown.encode("utf-8")
    assert visible(shown, keep_newlines=keep_newlines) == shown
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]", shown)
    assert keep_newlines or "\n" not in shown
