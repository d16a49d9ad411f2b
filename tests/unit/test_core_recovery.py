"""The decision table itself: complete, and never a way that could start a tool call a second time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from betcode.core.recovery import (
    EFFECT,
    MEANING,
    TABLE,
    Moment,
    Stored,
    Way,
    moment_of,
    stored_of,
    told,
    way_of,
)
from betcode.core.turn import Call, Fate, Turn, from_stored, to_stored, with_call, with_fate, with_result
from betcode.model import limits
from betcode.model.conversation import NOTHING_STORED, Conversation
from betcode.model.facts import ToolCall
from betcode.model.rows import Message
from betcode.model.states import MessageState
from betcode.testing.builders import SESSION, uuid

MESSAGE = Message(
    id=uuid(1), session=SESSION, text="do it", client="ann", state=MessageState.STARTED, accepted_at="", run=1
)
KNOWN = Conversation(found=True, messages=frozenset({MESSAGE.id}), prompts=(MESSAGE.id,))
CALL = ToolCall("", "msg", "toolu_1", "Bash", {"command": "make install"})
WRITTEN = frozenset({str(MESSAGE.id)})


def called(fate: Fate = Fate.FREE) -> Turn:
    """A turn with one call that has no result."""
    return with_fate(with_call(Turn(MESSAGE.id, begun=True), CALL), CALL.tool_use_id, fate)


DONE = with_result(called(), CALL.tool_use_id)


@pytest.mark.req("PS-5")
def test_each_moment_has_exactly_one_row_for_each_answer_of_the_transcript() -> None:
    for moment in Moment:
        for stored in Stored:
            assert len([row for row in TABLE if row.moment is moment and stored in row.stored]) == 1
    assert set(MEANING) == set(Moment)
    assert set(EFFECT) == set(Way)


@pytest.mark.req("INV-1")
def test_once_a_tool_was_called_the_message_is_never_sent_again_and_re_run_only_with_every_result_stored() -> None:
    after_a_call = (Moment.QUESTION, Moment.TOOL_RUNNING, Moment.TOOLS_DONE, Moment.DOUBTFUL)
    for row in TABLE:
        if row.moment in after_a_call:
            assert not {row.way, row.again} & {Way.SEND, Way.RESEND}
        if Way.RERUN in (row.way, row.again):
            assert (row.moment, row.stored) == (Moment.TOOLS_DONE, (Stored.YES,))
            assert row.again is not Way.RERUN, "claude takes a turn up by itself only once"


@pytest.mark.req("PS-5", "INV-1")
@pytest.mark.parametrize(
    "turn, written, known, expected",
    [
        (None, frozenset(), NOTHING_STORED, Moment.UNWRITTEN),
        (Turn(MESSAGE.id), WRITTEN, NOTHING_STORED, Moment.ANSWERING),
        (Turn(MESSAGE.id, begun=True), WRITTEN, KNOWN, Moment.ANSWERING),
        (called(), WRITTEN, KNOWN, Moment.TOOL_RUNNING),
        (called(Fate.ALLOWED), WRITTEN, KNOWN, Moment.TOOL_RUNNING),
        (called(Fate.ASKED), WRITTEN, KNOWN, Moment.QUESTION),
        (called(Fate.REFUSED), WRITTEN, KNOWN, Moment.QUESTION),
        (DONE, WRITTEN, KNOWN, Moment.TOOLS_DONE),
        (replace(DONE, doubt=True), WRITTEN, KNOWN, Moment.DOUBTFUL),
        (replace(Turn(MESSAGE.id, begun=True), doubt=True), WRITTEN, KNOWN, Moment.DOUBTFUL),
        (DONE, WRITTEN, replace(KNOWN, answered=True), Moment.FINISHED),
    ],
)
def test_the_moment_is_read_from_journal_records_and_transcript(
    turn: Turn | None, written: frozenset[str], known: Conversation, expected: Moment
) -> None:
    state = MessageState.STARTED if written else MessageState.DELIVERING
    message = Message(**{**{f: getattr(MESSAGE, f) for f in MESSAGE.__struct_fields__}, "state": state})
    assert moment_of(message, turn, written, known) is expected


@pytest.mark.req("INV-1")
def test_a_result_that_was_printed_and_not_stored_forbids_the_re_run() -> None:
    moment = Moment.TOOLS_DONE
    stored = replace(KNOWN, results=frozenset({CALL.tool_use_id}))
    assert stored_of(moment, MESSAGE, DONE, stored) is Stored.YES
    assert stored_of(moment, MESSAGE, DONE, KNOWN) is Stored.NO
    assert stored_of(moment, MESSAGE, DONE, replace(KNOWN, whole=False)) is Stored.UNSURE
    assert way_of(moment, Stored.NO, again=False, asks=False) is Way.TELL
    assert way_of(moment, Stored.UNSURE, again=False, asks=False) is Way.TELL


@pytest.mark.req("PS-5")
def test_a_user_who_wants_to_be_asked_is_asked_about_each_unknown_outcome_and_about_nothing_else() -> None:
    changed = {
        (moment, stored)
        for moment in Moment
        for stored in Stored
        if way_of(moment, stored, again=False, asks=True) != way_of(moment, stored, again=False, asks=False)
    }
    assert changed == {(Moment.TOOL_RUNNING, stored) for stored in Stored}


@pytest.mark.req("INV-1")
def test_claude_is_told_each_open_call_and_what_it_may_not_know_and_the_message_if_it_may_lack_it() -> None:
    text = told(MESSAGE, Moment.TOOL_RUNNING, called(), KNOWN, "It ended")
    assert "make install" in text
    assert "outcome is unknown" in text
    assert MESSAGE.text not in text
    assert "was not run" in told(MESSAGE, Moment.QUESTION, called(Fate.ASKED), KNOWN, "It ended")
    assert "had ended" in told(MESSAGE, Moment.TOOLS_DONE, DONE, KNOWN, "It ended")
    assert MESSAGE.text in told(MESSAGE, Moment.ANSWERING, None, NOTHING_STORED, "It ended")


def test_a_turn_is_stored_whole_and_more_open_calls_than_are_kept_are_a_doubt() -> None:
    turn = Turn(MESSAGE.id)
    for number in range(limits.OPEN_CALLS_MAX + 1):
        assert not turn.doubt
        turn = with_call(turn, ToolCall("", "msg", f"toolu_{number}", "Bash", {"command": "x" * 10_000}))
    assert turn.doubt
    assert len(turn.calls) == limits.OPEN_CALLS_MAX
    assert all(len(call.brief) <= limits.CALL_BRIEF_CHARS + 3 for call in turn.calls)
    assert from_stored(to_stored(turn)) == turn
    for call in turn.calls:
        turn = with_result(turn, call.id)
    assert (len(turn.done), turn.calls) == (limits.DONE_CALLS_KEPT, ())
    assert turn.unstored(frozenset({turn.done[0].id})) == turn.done[1:]
    assert isinstance(turn.done[0], Call)


def test_a_turn_stored_by_an_earlier_version_is_doubtful_if_it_had_called_tools() -> None:
    assert from_stored(["m", True, 2, ""]).doubt
    assert not from_stored(["m", True, 0, ""]).doubt


@pytest.mark.req("PS-5")
def test_claude_hears_of_the_background_tasks_that_ended_with_its_process() -> None:
    text = told(MESSAGE, Moment.ANSWERING, Turn(MESSAGE.id), KNOWN, "It ended", ("the long tests",))
    assert "the long tests" in text
