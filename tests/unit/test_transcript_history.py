"""Conversations that claude had without us: what was said in them, and what is taken over."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from betcode.adapters.conversations import conversations, history
from betcode.core.importing import with_history
from betcode.core.life import Session
from betcode.model import import_limits
from betcode.model.errors import BetcodeError
from betcode.model.events import Assistant, Error, Gap, Note, ToolCalled, ToolEnded, UserMessage
from betcode.model.ids import ClaudeSessionId, SessionId
from betcode.model.rows import Options
from betcode.wire.transcript_history import events_of

RECORDED = sorted(Path(__file__).parents[1].glob("recordings/transcripts/*.jsonl"))
ID = "123e4567-e89b-42d3-a456-426614174000"


def line(**entry: object) -> bytes:
    return json.dumps(entry).encode() + b"\n"


def prompt(text: str, **more: object) -> bytes:
    return line(type="user", uuid="u1", timestamp="t", message={"role": "user", "content": text}, **more)


def answer(message: str, *blocks: Mapping[str, object]) -> bytes:
    return line(type="assistant", timestamp="t", message={"id": message, "content": list(blocks)})


@pytest.mark.req("INV-6")
def test_prompts_answers_calls_and_results_come_in_order_with_the_names_that_live_output_has() -> None:
    text, call = (
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "t1", "name": "Read", "input": {"a": 1}},
    )
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "found"}]}
    lines = [
        line(type="queue-operation", operation="enqueue"),
        prompt("look"),
        answer("m1", text),
        answer("m1", call),
        line(type="user", message={"content": [result]}, timestamp="t"),
        prompt("a note of claude's", isMeta=True),
        prompt("of a subagent", isSidechain=True),
        answer("m2", {"type": "text", "text": "Done."}),
    ]
    found = list(events_of(lines))
    assert [type(event) for event in found] == [UserMessage, Assistant, ToolCalled, ToolEnded, Note, Assistant]
    assert [event.block for event in found if isinstance(event, (Assistant, ToolCalled))] == ["m1:0", "m1:1", "m2:0"]
    assert found[3] == ToolEnded(tool_use_id="t1", text="found", time="t")


@pytest.mark.req("INV-6")
@pytest.mark.parametrize("path", RECORDED, ids=[path.stem for path in RECORDED])
def test_a_recorded_transcript_is_read_whole(path: Path) -> None:
    found = list(events_of(path.read_bytes().splitlines()))
    assert found
    assert not any(isinstance(event, Error) for event in found) or "damaged" in path.stem


@pytest.mark.req("ND-1")
@given(st.integers(0, 10**6), st.binary(max_size=20))
def test_a_damaged_line_costs_that_line_and_nothing_else(at: int, noise: bytes) -> None:
    whole = [prompt(f"p{number}") for number in range(5)]
    damaged = whole[2][: at % len(whole[2])] + noise.replace(b"\n", b"")
    found = list(events_of([*whole[:2], damaged, *whole[3:]]))
    texts = [event.text for event in found if isinstance(event, UserMessage)]
    assert [text for text in texts if text in ("p0", "p1", "p3", "p4")] == ["p0", "p1", "p3", "p4"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "text", "id"]), inner),
    max_leaves=8,
)


@pytest.mark.req("ND-1")
@given(st.sampled_from(["user", "assistant", "system"]), JSON, JSON)
def test_no_shape_of_an_entry_breaks_it(kind: str, message: object, content: object) -> None:
    list(events_of([line(type=kind, message=message, content=content), line(type=kind, message={"content": content})]))


def home(tmp_path: Path, *lines: bytes) -> dict[str, str]:
    folder = tmp_path / "projects" / "-home-ada"
    folder.mkdir(parents=True)
    (folder / f"{ID}.jsonl").write_bytes(b"".join(lines))
    return {"CLAUDE_CONFIG_DIR": str(tmp_path)}


def test_a_conversation_is_listed_with_its_directory_and_first_words(tmp_path: Path) -> None:
    env = home(tmp_path, line(type="system", cwd="/home/ada"), prompt("x" * 500))
    (tmp_path / "projects/-home-ada/empty.jsonl").touch()
    (tmp_path / "projects/a file").touch()
    [one], older = conversations(env)
    assert (one.id, one.directory, older) == (ID, "/home/ada", 0)
    assert one.words == "x" * import_limits.WORDS_CHARS
    assert conversations({"CLAUDE_CONFIG_DIR": str(tmp_path / "nowhere")}) == ([], 0)


@pytest.mark.req("INV-8")
def test_of_a_long_conversation_the_newest_is_taken_over_and_the_rest_told_as_a_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = home(tmp_path, *[prompt(f"p{number}") for number in range(50)])
    monkeypatch.setattr(import_limits, "EVENTS_MAX", 10)
    found = history(env, ID)
    assert isinstance(found.events[0], Gap)
    assert (found.events[0].last, found.messages) == (40, 10)
    with pytest.raises(BetcodeError) as error:
        history(env, "another")
    assert error.value.code == "import.not_found"


@pytest.mark.req("INV-2")
def test_the_history_is_numbered_from_one_without_a_hole_and_says_where_it_is_from(tmp_path: Path) -> None:
    env = home(tmp_path, *[prompt(f"p{number}") for number in range(5)])
    begun = Session(
        id=SessionId("aaaaaaaaaa"),
        claude_session_id=ClaudeSessionId(ID),
        directory="/",
        name="",
        created_at="now",
        options=Options(),
    )
    session, numbered = with_history(begun, history(env, ID).events)
    assert [event.seq for event in numbered] == list(range(1, session.seq + 1))
    assert numbered[-1].code == "session.imported"  # type: ignore[attr-defined]
    assert with_history(begun, ()) == (begun, [])
