"""What is read from transcripts that the real claude left at its death."""

import json
from pathlib import Path
from typing import Any

import pytest

from betcode.model.conversation import Conversation
from betcode.wire.claude_transcript import StoredConversation
from betcode.wire.lines import LineSplitter

RECORDED = Path(__file__).parents[1] / "recordings" / "transcripts"
NAMES = sorted(path.stem for path in RECORDED.glob("*.jsonl"))


def read(data: bytes, *, line_bytes_max: int = 1 << 20) -> Conversation:
    stored = StoredConversation()
    lines = LineSplitter(line_bytes_max=line_bytes_max)
    for line in lines.feed(data):
        stored.take(line)
    if (tail := lines.take_tail()) is not None:
        stored.take(tail, finished=False)
    return stored.conversation(size=len(data), whole=True)


def recorded(name: str) -> Conversation:
    return read((RECORDED / f"{name}.jsonl").read_bytes())


def jsonl(*entries: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)


def prompt(uuid: str, **more: Any) -> dict[str, Any]:
    return {"type": "user", "uuid": uuid, "promptSource": "sdk", "message": {"role": "user", "content": "go"}} | more


def answer(text: str, stop: str | None = "end_turn") -> dict[str, Any]:
    return {"type": "assistant", "message": {"content": [{"type": "text", "text": text}], "stop_reason": stop}}


@pytest.mark.req("PS-5")
@pytest.mark.parametrize("name, messages, calls, results", [
    ("first_answer_streaming", 1, 0, 0),
    ("second_message_queued", 1, 0, 0),  # the queued one is stored with its text only: it must be sent again
    ("tool_ran_before_its_call_was_stored", 1, 0, 0),
    ("permission_pending", 1, 1, 0),
    ("tool_running", 1, 1, 0),
    ("result_printed_not_stored", 1, 1, 0),
    ("result_stored_answer_streaming", 1, 1, 1),
    ("tool_done_then_permission_pending", 1, 2, 1),
    ("two_calls_one_done_one_pending", 1, 2, 1),
    ("outcome_unknown_then_streaming", 2, 1, 1),
    ("api_error_after_tool", 1, 1, 1),
    ("taken_up_again_with_tool_done", 1, 1, 1),
    ("2.1.222_result_stored", 1, 1, 1),
])  # fmt: skip
def test_at_each_moment_of_a_turn_it_is_known_what_is_stored(
    name: str, messages: int, calls: int, results: int
) -> None:
    found = recorded(name)
    assert (len(found.messages), len(found.calls), len(found.results)) == (messages, calls, results)
    assert len(found.calls - found.results) == calls - results
    assert (found.found, found.whole, found.damaged) == (True, True, 0)
    assert not found.answered


@pytest.mark.req("PS-5")
@pytest.mark.parametrize("name", NAMES)
def test_only_a_turn_that_came_to_its_end_counts_as_answered(name: str) -> None:
    ended = ["completed", "completed_with_subagent", "answer_cut_off", "background_task_ended", "compacted"]
    ended += ["other_processes", "2.1.222_background_task_ended", "2.1.222_other_processes"]
    assert recorded(name).answered == (name in ended)


@pytest.mark.req("PS-5")
@pytest.mark.parametrize("name", NAMES)
def test_a_turn_that_was_taken_up_again_in_vain_is_recognised(name: str) -> None:
    spent = ["taken_up_again_and_killed", "taken_up_again_api_error", "2.1.222_taken_up_again_and_killed"]
    assert recorded(name).rerun_spent == (name in spent)


@pytest.mark.req("PS-5", "INV-1")
@pytest.mark.parametrize("name", NAMES)
def test_only_a_message_that_nothing_of_an_answer_follows_is_called_unfollowed(name: str) -> None:
    alone = ["first_answer_streaming", "second_message_queued", "tool_ran_before_its_call_was_stored", "interrupted"]
    alone += ["outcome_unknown_then_streaming", "two_messages_merged", "taken_up_again_and_killed"]
    alone += ["2.1.222_taken_up_again_and_killed"]
    assert recorded(name).followed == (name not in alone)


@pytest.mark.req("INV-1")
def test_a_message_that_claude_noted_as_unanswered_is_dropped_when_it_is_sent_again() -> None:
    filler = answer("No response requested.", "stop_sequence")
    filler["message"]["model"] = "<synthetic>"
    found = read(jsonl(prompt("a"), filler))
    assert (found.answered, found.drops("a"), found.drops("b")) == (False, True, False)
    assert not read(jsonl(prompt("a"))).drops("a")
    assert not read(jsonl(prompt("a"), filler, prompt("b"))).drops("b")


@pytest.mark.req("PS-5")
@pytest.mark.parametrize("name", ["message_during_tool", "2.1.222_message_during_tool"])
def test_a_message_that_joined_a_running_turn_is_stored_and_began_none(name: str) -> None:
    found = recorded(name)
    assert len(found.messages) == 2
    assert len(found.prompts) == 1


@pytest.mark.req("PS-5")
def test_messages_that_were_merged_into_one_are_all_stored() -> None:
    found = recorded("two_messages_merged")
    assert len(found.prompts) == 3
    assert found.messages == set(found.prompts)


@pytest.mark.req("INV-7")
@pytest.mark.parametrize("name", ["other_processes", "2.1.222_other_processes"])
def test_prompts_of_other_processes_are_foreign_and_ours_are_not(name: str) -> None:
    entries = [json.loads(line) for line in (RECORDED / f"{name}.jsonl").read_bytes().splitlines()]
    said = {entry["uuid"]: entry["message"]["content"] for entry in entries if entry["type"] == "user"}
    ours = {uuid for uuid, text in said.items() if text == "second of ours" or text.startswith("go ")}
    assert len(ours) == 2
    foreign = [said[uuid][:12] for uuid in recorded(name).prompts if uuid not in ours]
    assert foreign == [
        "hi from anot", "slow @script", "hi via -c", "hello from s", "hello from b", "typed by a p",
    ]  # fmt: skip


@pytest.mark.req("INV-7")
@pytest.mark.parametrize("name", [name for name in NAMES if "other_processes" not in name])
def test_what_claude_writes_in_the_users_name_is_no_foreign_prompt(name: str) -> None:
    """Notes on interrupts, background tasks, compactions, cut answers and turns that go on."""
    found = recorded(name)
    entries = [json.loads(line) for line in (RECORDED / f"{name}.jsonl").read_bytes().splitlines()]
    sent = {entry["uuid"] for entry in entries if entry.get("promptSource") == "sdk" and not entry.get("isMeta")}
    merged = {uuid for entry in entries for uuid in entry.get("mergedSendUuids", ())}
    assert set(found.prompts) <= sent | merged
    assert len(found.prompts) == {"two_messages_merged": 3, "outcome_unknown_then_streaming": 2, "compacted": 2}.get(
        name, 1
    )


def test_a_later_message_is_not_answered_by_the_answer_to_an_earlier_one() -> None:
    assert read(jsonl(prompt("a"), answer("yes"))).answered
    assert not read(jsonl(prompt("a"), answer("yes"), prompt("b"))).answered


def test_text_before_a_tool_call_is_no_answer() -> None:
    call = {"type": "assistant", "message": {"content": [{"type": "tool_use", "id": "t"}], "stop_reason": "tool_use"}}
    assert not read(jsonl(prompt("a"), answer("let me look", "tool_use"))).answered
    assert not read(jsonl(prompt("a"), answer("let me look"), call)).answered
    assert not read(jsonl(prompt("a"), answer("cut by an interr", None))).answered


def test_entries_of_subagents_are_left_out() -> None:
    data = jsonl(prompt("a"), {**prompt("s"), "isSidechain": True}, {**answer("done"), "isSidechain": True})
    assert read(data) == Conversation(found=True, size=len(data), messages=frozenset("a"), prompts=("a",))


def test_garbage_costs_itself_only_and_is_counted() -> None:
    data = jsonl(prompt("a")) + b"garbage\n" + b"\0" * 4096 + b"\n[1]\n\n" + jsonl(answer("yes"))
    found = read(data)
    assert found.messages == {"a"}
    assert (found.damaged, found.answered) == (3, True)


def test_an_unfinished_last_line_is_no_damage_and_counts_if_it_can_be_read() -> None:
    whole = jsonl(prompt("a"), prompt("b"))
    assert read(whole[:-1]).messages == {"a", "b"}
    cut = read(whole[:-9])
    assert cut.messages == {"a"}
    assert (cut.damaged, cut.whole) == (0, True)


@pytest.mark.req("PS-5")
def test_a_line_that_is_too_long_makes_absence_prove_nothing() -> None:
    data = jsonl(prompt("a"), prompt("b", text="x" * 500), prompt("c"))
    found = read(data, line_bytes_max=400)
    assert found.messages == {"a", "c"}
    assert (found.whole, found.damaged) == (False, 0)


def test_fields_of_a_wrong_type_say_nothing() -> None:
    odd: list[Any] = [None, 7, "x", [], {}, [[7]], {"content": 7}, {"content": [7, {"type": 7, "id": 7}]}]
    entries = [
        {"type": kind, "uuid": value, "message": value, "attachment": value, "origin": value, "mergedSendUuids": value}
        for kind in ("user", "assistant", "attachment", 7)
        for value in odd
    ]
    found = read(jsonl(*entries))
    assert (found.damaged, found.prompts, found.calls, found.results) == (0, (), frozenset(), frozenset())
