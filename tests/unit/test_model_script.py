"""The script language of the model server, and how a script is found in a conversation of the real CLI."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from betcode.testing.conversation import governing, is_background, script_for, session_of
from betcode.testing.script import (
    DEFAULT_SCRIPT,
    Fault,
    ScriptError,
    expected_text,
    parse_script,
    parse_step,
    pieces,
    resolved,
)
from betcode.testing.sse import Reply

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
STEP_KEYS = [
    *("text", "words", "prefix", "thinking", "tool", "tools", "id", "chunk", "delta_ms", "delay_s", "usage", "headers"),
    *(
        "status",
        "html",
        "error_type",
        "message",
        "times",
        "then",
        "reset",
        "after",
        "stall_s",
        "eof_after",
        "sse_error",
    ),
]


def user(*texts: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": text} for text in texts]}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


def tool_result(text: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": text}]}


def scripted(*steps: dict[str, Any], **top: Any) -> str:
    return "please @script " + json.dumps({"steps": list(steps), **top})


# ------------------------------------------------------------------------------------------------ reading scripts


@pytest.mark.req("RL-5")
@pytest.mark.parametrize(
    "script, named",
    [
        ({"steps": [{"text": "a"}, {"txt": "b"}]}, 'unknown key "txt" in step 1'),
        ({"steps": [], "loop": True}, 'unknown key "loop" in the script'),
        ({"steps": [{"tool": {"name": "Bash", "args": {}}}]}, 'unknown key "args" in the tool call of step 0'),
        ({"steps": [{"status": 429, "then": {"oops": 1}}]}, 'unknown key "oops" in "then" of step 0'),
        ({"steps": [{"words": -1}]}, '"words" in step 0'),
        ({"steps": [{"words": True}]}, '"words" in step 0'),
        ({"steps": [{"status": 200}]}, '"status" in step 0'),
        ({"steps": [{"headers": {"x-a": "1\r\nx-b: 2"}, "text": "a"}]}, '"headers" in step 0'),
        ({"steps": [{"status": 429, "reset": "mid_stream"}]}, "step 0 has status and reset"),
        ({"steps": [{"text": "a", "times": 1}]}, '"times" has no meaning in step 0'),
        ({"steps": [{"text": "a", "words": 1}]}, "exclude each other"),
        ({"steps": [{}]}, "step 0 is empty"),
        ({"steps": {}}, '"steps" must be a list'),
        ([], "the script must be a JSON object"),
    ],
)
def test_a_wrong_script_is_refused_in_a_sentence_that_names_the_place(script: object, named: str) -> None:
    with pytest.raises(ScriptError, match=named) as caught:
        parse_script(script)
    assert caught.value.hint


@pytest.mark.req("RL-5")
@given(st.dictionaries(st.sampled_from(STEP_KEYS), JSON, max_size=4))
def test_no_step_raises_anything_but_the_script_error(step: dict[str, object]) -> None:
    with contextlib.suppress(ScriptError):
        assert len(parse_script({"steps": [step]}).steps) == 1


@pytest.mark.req("RL-5")
@given(st.text(max_size=60), st.none() | st.integers(1, 9))
def test_the_deltas_of_a_text_joined_are_the_text(text: str, chunk: int | None) -> None:
    parts = pieces(text, chunk)
    assert "".join(parts) == text
    assert all(parts)


@pytest.mark.req("RL-5")
def test_words_are_generated_and_streamed_one_a_delta() -> None:
    step = parse_step({"words": 3, "prefix": "x"})
    assert expected_text(step) == "x0 x1 x2"
    assert pieces(step.text, step.chunk) == ["x0 ", "x1 ", "x2"]


@pytest.mark.req("RL-5")
def test_a_fault_with_times_goes_away_after_that_many_requests() -> None:
    step = parse_step({"status": 429, "times": 2, "then": {"status": 529, "times": 1, "then": {"text": "at last"}}})
    assert [resolved(step, earlier).status for earlier in range(5)] == [429, 429, 529, 200, 200]
    assert expected_text(step) == "at last"


@pytest.mark.req("RL-5")
@pytest.mark.parametrize(
    "step, text",
    [
        ({"status": 429, "times": 1}, "ok"),
        ({"status": 429, "times": 1, "text": "own"}, "own"),
        ({"status": 429}, ""),
        ({"html": 502, "times": 3}, "ok"),
        ({"reset": "before_headers", "times": 1}, "ok"),
        ({"reset": "mid_stream", "after": 1, "words": 3, "times": 1}, "w0 w1 w2"),
        ({"reset": "mid_stream", "after": 1, "words": 3}, ""),
        ({"reset": "mid_stream", "after": 3, "words": 3}, "w0 w1 w2"),
        ({"stall_s": 9, "after": 1, "words": 3}, "w0 w1 w2"),
        ({"eof_after": 1, "words": 3}, ""),
        ({"sse_error": "overloaded_error", "after": 3, "words": 3}, "w0 w1 w2"),
        ({"headers": {"retry-after": 5}}, "ok"),
        ({"text": ""}, ""),
        ({"tool": {"name": "Bash", "input": {}}}, ""),
    ],
)
def test_the_text_that_remains_after_a_fault_is_known(step: dict[str, Any], text: str) -> None:
    assert expected_text(step) == text


@pytest.mark.req("RL-5")
def test_a_cut_without_content_cuts_what_follows_it() -> None:
    step = parse_step({"reset": "mid_stream", "after": 2, "times": 1, "then": {"words": 5}})
    assert (step.fault, step.text) == (Fault.RESET_MID_STREAM, "w0 w1 w2 w3 w4")


@pytest.mark.req("RL-5")
def test_a_script_ends_with_done_or_goes_round() -> None:
    steps = [{"text": "a"}, {"text": "b"}]
    assert [parse_script({"steps": steps}).step_at(n).text for n in range(4)] == ["a", "b", "done", "done"]
    assert [parse_script({"steps": steps, "repeat": True}).step_at(n).text for n in range(4)] == ["a", "b", "a", "b"]
    assert parse_script({"steps": [], "repeat": True}).step_at(0).text == "done"


@pytest.mark.req("RL-5")
def test_the_streamed_answer_holds_the_same_as_the_whole_one() -> None:
    tools = [{"name": "Read", "input": {"file_path": "/a"}}, {"name": "Bash", "input": {}, "id": "toolu_mine"}]
    step = parse_step({"thinking": "let me see", "text": "two calls", "tools": tools, "usage": {"input_tokens": 7}})
    reply = Reply(step=step, model="some-model", reply_id="1")
    whole = json.loads(reply.whole())
    raw = reply.opening() + b"".join(payload for payload, _ in reply.blocks()) + reply.closing()
    events = [json.loads(part.split(b"data: ")[1]) for part in raw.split(b"\n\n") if part]
    content: list[dict[str, Any]] = []
    for event in events:
        if event["type"] == "content_block_start":
            content.append(event["content_block"])
            assert event["index"] == len(content) - 1
        if event["type"] == "content_block_delta":
            match event["delta"]:
                case {"type": "text_delta", "text": text}:
                    content[-1]["text"] += text
                case {"type": "thinking_delta", "thinking": text}:
                    content[-1]["thinking"] += text
                case {"type": "signature_delta", "signature": text}:
                    content[-1]["signature"] += text
                case {"type": "input_json_delta", "partial_json": text}:
                    content[-1]["input"] = json.loads(text)
                case unknown:
                    raise AssertionError(unknown)
    assert content == whole["content"]
    assert [block["type"] for block in content] == ["thinking", "text", "tool_use", "tool_use"]
    assert whole["stop_reason"] == events[-2]["delta"]["stop_reason"] == "tool_use"
    assert whole["usage"]["input_tokens"] == events[0]["message"]["usage"]["input_tokens"] == 7
    assert content[3]["id"] == "toolu_mine"


# --------------------------------------------------------------------------------- finding the script and the step


@pytest.mark.req("PS-5")
def test_the_step_is_the_number_of_answers_since_the_script() -> None:
    prompt = scripted({"text": "a"}, {"text": "b"}, {"text": "c"})
    messages = [user("earlier"), assistant("x"), user(prompt)]
    assert governing(messages).step == 0
    messages += [assistant("a"), assistant("still the same turn"), tool_result("r")]
    assert governing(messages).step == 1
    messages += [{"role": "system", "content": "note"}, assistant("b"), tool_result("r")]
    assert governing(messages).step == 2
    assert governing(messages).prompt == prompt


@pytest.mark.req("PS-5")
def test_a_later_prompt_without_a_script_is_answered_by_the_default() -> None:
    found = governing([user(scripted({"text": "a"})), assistant("a"), user("and now?")])
    assert (found.prompt, found.step) == ("and now?", 0)
    assert script_for(found.prompt, DEFAULT_SCRIPT) is DEFAULT_SCRIPT


@pytest.mark.req("PS-5")
def test_a_script_that_is_kept_goes_on_through_later_prompts() -> None:
    prompt = scripted({"text": "a"}, {"text": "b"}, {"text": "c"}, keep=True)
    found = governing([user(prompt), assistant("a"), user("The tool was interrupted."), assistant("b"), user("go on")])
    assert (found.prompt, found.step) == (prompt, 2)
    assert governing([user(prompt), assistant("a"), user(scripted({"text": "new"}))]).step == 0


@pytest.mark.req("PS-5")
@pytest.mark.parametrize(
    "written",
    [
        '<system-reminder>\nRemember @script {"steps": []}\n</system-reminder>\n',
        "Continue from where you left off.",
        "Your response above was cut off mid-stream. Resume directly from where it stops.",
        "[Request interrupted by user]\n",
        "[Request interrupted by user for tool use]",
        "<command-name>/compact</command-name>",
        "<local-command-stdout>Compacted </local-command-stdout>",
    ],
)
def test_what_the_cli_writes_in_the_users_name_ends_no_script(written: str) -> None:
    prompt = scripted({"text": "a"}, {"text": "b"})
    found = governing([user(prompt), assistant("a"), user(written)])
    assert (found.prompt, found.step) == (prompt, 1)


@pytest.mark.req("PS-5")
def test_an_answer_that_the_cli_made_up_is_not_a_step() -> None:
    prompt = scripted({"text": "a"}, {"text": "b"}, keep=True)
    messages = [user(prompt), assistant("a"), tool_result("interrupted"), assistant("No response requested.")]
    assert governing([*messages, user("go on")]).step == 1


@pytest.mark.req("PS-5")
def test_prompts_that_were_merged_into_one_message_are_told_apart() -> None:
    first, second = scripted({"status": 400}), scripted({"text": "good"})
    assert governing([user(first, second)]).prompt == second
    assert governing([user(first, "plain")]).prompt == "plain"
    assert governing([user("same", "same")]).occurrence == 1


@pytest.mark.req("PS-5")
def test_a_message_to_the_running_turn_governs_only_with_a_script() -> None:
    prompt, inner = scripted({"text": "a"}, {"text": "b"}), scripted({"text": "steered"})
    running = [user(prompt), assistant("a"), tool_result("r")]
    note = "The user sent a new message while you were working:\n{}\n\nThis is how Claude Code surfaces messages."
    plain = {"role": "system", "content": note.format("be quick")}
    assert (governing([*running, plain]).prompt, governing([*running, plain]).step) == (prompt, 1)
    steered = governing([*running, {"role": "system", "content": note.format(inner)}])
    assert steered.step == 0
    assert script_for(steered.prompt, DEFAULT_SCRIPT).step_at(0).text == "steered"
    reminder = user(f"<system-reminder>{note.format(inner)}</system-reminder>")
    assert governing([*running, reminder]).step == 0


@pytest.mark.req("PS-5")
def test_the_last_script_of_a_prompt_governs_and_one_inside_another_does_not() -> None:
    nested = scripted({"tool": {"name": "Agent", "input": {"prompt": scripted({"text": "inner"})}}}) + " thanks"
    assert script_for(nested, DEFAULT_SCRIPT).step_at(0).tools[0].name == "Agent"
    both = scripted({"text": "first"}) + " or rather " + scripted({"text": "second"})
    assert script_for(both, DEFAULT_SCRIPT).step_at(0).text == "second"
    assert script_for("what does @script do?", DEFAULT_SCRIPT) is DEFAULT_SCRIPT


@pytest.mark.req("PS-5")
def test_a_broken_script_in_a_prompt_is_refused_and_the_next_prompt_is_not() -> None:
    broken = 'x @script {"steps": [}'
    with pytest.raises(ScriptError, match="after @script"):
        script_for(broken, DEFAULT_SCRIPT)
    assert governing([user(broken, "plain")]).prompt == "plain"


@pytest.mark.req("PS-5")
@given(st.lists(st.dictionaries(st.sampled_from(["role", "content"]), JSON | st.sampled_from(["user", "assistant"]))))
def test_malformed_conversations_are_answered_all_the_same(messages: list[dict[str, Any]]) -> None:
    assert governing(messages).step <= len(messages)
    assert is_background({"messages": messages}) is False


@pytest.mark.req("RL-5")
def test_the_session_is_read_from_the_header_or_from_the_metadata() -> None:
    by_json = {"metadata": {"user_id": json.dumps({"device_id": "d", "session_id": "s-2"})}}
    assert session_of({"x-claude-code-session-id": "s-1"}, by_json) == "s-1"
    assert session_of({}, by_json) == "s-2"
    assert session_of({}, {"metadata": {"user_id": "user_1_account__session_s-3"}}) == "s-3"
    assert session_of({}, {"metadata": None}) == session_of({}, {}) == ""


@pytest.mark.req("RL-5")
def test_calls_that_the_cli_makes_for_itself_are_told_apart() -> None:
    tools = [{"name": "Bash"}]
    assert is_background({"model": "claude-haiku-9", "messages": [user("title?")]})
    assert not is_background({"model": "claude-haiku-9", "messages": [user("hi")], "tools": tools})
    assert not is_background({"model": "claude-opus-9", "messages": [user("hi")], "tools": []})
    compaction = "CRITICAL: Respond with TEXT ONLY. Do NOT call any tools.\n\nWrite a summary."
    assert is_background({"model": "claude-opus-9", "messages": [user("hi"), user(compaction)], "tools": tools})
