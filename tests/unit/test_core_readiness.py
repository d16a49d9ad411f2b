"""What a claude that was just started gets, and what is done without where it lacks something (PS-12)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace as change

from betcode.core.effects import AskVersion, EndProcess, Initialize, Say, StartProcess, StopTurn, Withdraw, Write
from betcode.core.inputs import Ended, Interrupt, Started, Tick
from betcode.core.life import Process, from_rows, to_row
from betcode.model.capabilities import LIFECYCLE, OLDEST, Capabilities, dotted
from betcode.model.conversation import Conversation
from betcode.model.events import Notice
from betcode.model.facts import ControlAnswer, ToolResult, TurnStarted
from betcode.model.states import MessageState
from betcode.testing.builders import Script, aborted, began, call, life, ready, result, submit, uuid

GOOD = dotted(OLDEST)
STORED = Conversation(found=True, messages=frozenset({uuid(1)}), results=frozenset({"toolu_1"}))
"""Message 1 and the result of its call."""


def answer(line: str, version: str = "", *, ok: bool = True) -> ControlAnswer:
    return ControlAnswer(line, ok, offer=Capabilities(version=version))


def started(number: int = 1) -> Script:
    """A process that was started for message `number`, and has said nothing."""
    script = Script()
    script.feed(submit(number), Started(1))
    return script


def given(script: Script) -> list[object]:
    """Commands of the last step for claude."""
    return [effect.command for effect in script.last.effects if isinstance(effect, Write)]


def notices(script: Script) -> list[tuple[str, str]]:
    return [(event.code, event.message) for event in script.last.events if isinstance(event, Notice)]


@pytest.mark.req("PS-12")
def test_a_claude_that_names_a_version_that_is_driven_gets_the_message_at_once() -> None:
    script = started()
    assert given(script) == [Initialize()]
    script.feed(answer("init", GOOD))
    assert given(script) == [Say(uuid(1), "do 1")]
    assert (script.session.claude.version, notices(script)) == (GOOD, [])


@pytest.mark.req("PS-12")
@pytest.mark.parametrize("ok", [True, False], ids=["no version", "an error"])
def test_one_that_names_none_is_asked_and_gets_nothing_before_it_has_said_it(ok: bool) -> None:
    script = started()
    script.feed(answer("init", ok=ok))
    assert given(script) == [AskVersion()]
    script.feed(submit(2))
    assert given(script) == []
    script.feed(answer("version", GOOD))
    assert given(script) == [Say(uuid(1), "do 1")]


@pytest.mark.req("PS-12")
@pytest.mark.parametrize(
    "answers, code",
    [
        ([answer("init", "2.1.221")], "claude.too_old"),
        ([answer("init"), answer("version", "2.1.81")], "claude.too_old"),
        ([answer("init"), answer("version", ok=False)], "claude.version_unknown"),
        ([answer("init", "of today"), answer("version", "")], "claude.version_unknown"),
    ],
)
def test_a_process_that_turns_out_unsafe_or_unknown_gets_nothing_and_is_ended(
    answers: list[ControlAnswer], code: str
) -> None:
    script = started()
    script.feed(submit(2))
    for one in answers:
        script.feed(one)
        assert not any(isinstance(command, Say) for command in given(script))
        if script.session.process is Process.STOPPING:
            break
    assert [state for state in (script.state(1), script.state(2))] == [MessageState.FAILED] * 2
    assert [noticed for noticed, _ in notices(script)] == [code]
    assert any(isinstance(effect, EndProcess) for effect in script.last.effects)
    script.feed(Ended(1, 143, None, "term"))
    assert not any(isinstance(effect, StartProcess) for effect in script.last.effects), "nothing waits for a process"
    assert not script.session.crashes_s


@pytest.mark.req("PS-12")
def test_a_daemon_that_takes_over_a_process_that_was_being_asked_asks_it_again() -> None:
    script = started()
    script.feed(answer("init"))
    stored = from_rows(to_row(script.session), script.session.messages, ())
    next_daemon = Script(stored)
    next_daemon.feed(Started(1, adopted=True))
    assert given(next_daemon) == [Initialize(), AskVersion()]
    next_daemon.feed(answer("version", GOOD))
    assert next_daemon.session.process is Process.READY


@pytest.mark.req("PS-12", "INV-1")
def test_a_turn_that_such_a_process_was_to_go_on_with_fails_too_and_is_not_sent_again() -> None:
    script = Script().working()
    script.feed(call(), ToolResult("", "toolu_1", "made", is_error=False), Ended(1, None, 9, "killed", known=STORED))
    script.wait(60)
    script.feed(Tick())
    for run in (2, 3):
        script.feed(Started(run), answer("init", "2.1.139"))
        assert not any(isinstance(command, Say) for command in given(script))
        script.feed(Ended(run, 143, None, "term", known=STORED))
    assert script.state(1) is MessageState.FAILED
    assert not any(isinstance(effect, StartProcess) for effect in script.last.effects)


@pytest.mark.req("PS-12")
def test_another_version_than_that_of_the_last_process_is_told_once() -> None:
    script = started()
    script.feed(answer("init", "2.1.330"), life(1, "started"), began(), result(1))
    told = []
    for run in (2, 3):
        script.feed(Ended(run - 1, 0, None, "close_stdin"), submit(run), Started(run), answer("init", "2.1.332"))
        told += notices(script)
        script.feed(life(run, "started"), began(), result(run))
    assert [code for code, _ in told] == ["claude.changed"]
    assert told[0][1].startswith("claude is 2.1.332 now")
    assert "2.1.330" in told[0][1]


# --- what it lacks ------------------------------------------------------------------------------------------------


@pytest.mark.req("PS-12")
def test_without_reports_on_messages_the_one_that_it_has_begins_with_its_turn_and_that_is_told_once() -> None:
    script = started()
    script.feed(ready(), began())
    assert script.state(1) is MessageState.STARTED
    assert [code for code, _ in notices(script)] == ["claude.limited"]
    script.feed(result(1), submit(2), began())
    assert (script.state(2), notices(script)) == (MessageState.STARTED, [])


@pytest.mark.req("PS-12")
def test_one_that_lists_the_reports_decides_itself_which_message_has_begun() -> None:
    script = started()
    script.feed(ready(), change(TurnStarted("opus", ""), capabilities=(LIFECYCLE,)))
    assert (script.state(1), notices(script)) == (MessageState.DELIVERING, [])


@pytest.mark.req("PS-12")
def test_one_that_takes_nothing_back_is_not_asked_to_again() -> None:
    script = Script().working()
    script.feed(submit(2, steer=True), Interrupt(9, "ann"))
    assert given(script) == [Withdraw(uuid(2)), StopTurn()]
    script.feed(ControlAnswer(f"withdraw:{uuid(2)}", ok=False, error="unsupported_request"))
    assert [code for code, _ in notices(script)] == ["claude.limited"]
    script.feed(aborted(1), life(2, "started"), began(), submit(3, steer=True), Interrupt(10, "ann"))
    assert given(script) == [StopTurn()]


@pytest.mark.req("PS-12", "PS-5")
def test_one_that_does_not_go_on_by_itself_is_told_to_at_the_next_death() -> None:
    script = Script().working()
    script.feed(call(), ToolResult("", "toolu_1", "made", is_error=False), Ended(1, None, 9, "killed", known=STORED))
    script.wait(60)
    script.feed(Tick())
    assert [effect.rerun for effect in script.last.effects if isinstance(effect, StartProcess)] == [True]
    script.feed(Started(2), ready())
    script.wait(60)
    script.feed(Tick())
    assert "claude.limited" in [code for code, _ in notices(script)]
    assert not script.session.claude.reruns
