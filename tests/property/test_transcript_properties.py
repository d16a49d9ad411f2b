"""What holds for every transcript, however damaged."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from betcode.model.conversation import Conversation
from betcode.wire.claude_transcript import StoredConversation
from betcode.wire.lines import LineSplitter

LINES = sorted(
    {
        line
        for path in (Path(__file__).parents[1] / "recordings" / "transcripts").glob("*.jsonl")
        for line in path.read_bytes().splitlines()
    },
    key=lambda line: (len(line), line),
)
READ = "uuid message content type id tool_use_id text origin kind model stop_reason isMeta isSidechain promptSource"
FIELDS = [*READ.split(), "isCompactSummary", "isApiErrorMessage", "mergedSendUuids", "attachment", "source_uuid"]

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["user", "tool_use", "tool_result", "sdk"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=6,
)
kinds = st.sampled_from(["user", "assistant", "attachment"])
recorded = st.sampled_from(LINES)


def read(data: bytes) -> Conversation:
    stored = StoredConversation()
    lines = LineSplitter(line_bytes_max=1 << 16)
    for line in lines.feed(data):
        stored.take(line)
    if (tail := lines.take_tail()) is not None:
        stored.take(tail, finished=False)
    return stored.conversation(size=len(data), whole=True)


def check(found: Conversation, data: bytes) -> None:
    assert found.found == bool(data)
    assert found.damaged <= data.count(b"\n")
    assert set(found.prompts) <= found.messages
    assert len(set(found.prompts)) == len(found.prompts)
    for name in (*found.messages, *found.calls, *found.results):
        assert type(name) is str
        assert name


@pytest.mark.req("PS-5")
@given(st.binary() | st.text('{}[]",:\\u0dD8 1eE.-\n').map(str.encode))
def test_any_bytes_are_read_without_an_exception(data: bytes) -> None:
    check(read(data), data)


@pytest.mark.req("PS-5")
@given(st.lists(st.tuples(kinds, st.dictionaries(st.sampled_from(FIELDS), values, max_size=6)), max_size=3))
def test_any_fields_of_any_entry_are_read_without_an_exception(entries: list[tuple[str, dict[str, Any]]]) -> None:
    data = b"".join(json.dumps({**fields, "type": kind}).encode() + b"\n" for kind, fields in entries)
    found = read(data)
    check(found, data)
    assert not found.damaged


@pytest.mark.req("PS-5", "INV-7")
@given(st.lists(recorded, max_size=30), st.data())
def test_a_transcript_cut_anywhere_never_claims_more_than_the_whole_one(
    lines: list[bytes], data: st.DataObject
) -> None:
    whole = b"".join(line + b"\n" for line in lines)
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    found, part = read(whole), read(cut)
    check(part, cut)
    assert not part.damaged
    assert part.messages <= found.messages
    assert part.calls <= found.calls
    assert part.results <= found.results
    assert found.prompts[: len(part.prompts)] == part.prompts


@pytest.mark.req("PS-5")
@given(st.lists(recorded, min_size=1, max_size=30), st.binary(), st.data())
def test_a_damaged_line_costs_itself_only(lines: list[bytes], damage: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(lines) - 1))
    damage = damage.replace(b"\n", b"")
    damaged = [*lines[:at], b"x" + damage, *lines[at + 1 :]]
    found = read(b"".join(line + b"\n" for line in damaged))
    others = read(b"".join(line + b"\n" for line in lines[:at] + lines[at + 1 :]))
    assert found.damaged == others.damaged + 1
    assert (found.messages, found.prompts, found.calls, found.results) == (
        others.messages, others.prompts, others.calls, others.results,
    )  # fmt: skip
