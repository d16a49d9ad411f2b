"""A turn that was ended for the memory that it used: what becomes of its message, and what people are told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from betcode.core.inputs import Ended, Tell, Tick
from betcode.core.life import state_of
from betcode.core.process import keeper_notice
from betcode.core.recovery import Moment, Way, after_stop
from betcode.model.conversation import Conversation
from betcode.model.events import Notice
from betcode.model.facts import Fact, RunState, TaskList
from betcode.model.memory import MemoryTotal, MemoryUse
from betcode.model.news import MemoryHigh
from betcode.model.policy import DEFAULT
from betcode.model.states import MessageState
from betcode.testing.builders import Script, ask, call, result, submit, uuid

MIB = 1024 * 1024
USE = MemoryUse(700 * MIB, 690 * MIB, 178 * MIB, ((47, "python3", 500 * MIB), (46, "claude", 200 * MIB)), high=True)


def ended(script: Script, *, answered: bool = False) -> Ended:
    """The keeper has killed all of it."""
    known = Conversation(found=True, messages=frozenset({uuid(1)}), answered=answered)
    written = frozenset({"init", str(uuid(1))})
    return Ended(script.session.run, None, 9, "memory", (), written, known=known, memory=USE)


def notices(script: Script) -> list[Notice]:
    return [event for event in script.last.events if isinstance(event, Notice)]


@pytest.mark.req("PS-9", "PS-5", "INV-1")
@pytest.mark.parametrize(
    "seen, state",
    [
        ((), MessageState.FAILED),
        ((call(), ask()), MessageState.FAILED),
        ((call(),), MessageState.UNKNOWN),
    ],
    ids=["answering", "asking", "in a tool"],
)
def test_a_turn_that_used_too_much_ends_and_nothing_of_it_is_started_again(
    seen: tuple[Fact, ...], state: MessageState
) -> None:
    script = Script().working()
    script.feed(*seen)
    script.feed(ended(script))
    assert script.state(1) is state
    assert (state_of(script.session), script.session.restart_s) == ("IDLE", None)
    script.wait(DEFAULT.backoff_max_s * 10)
    script.feed(Tick())
    assert (state_of(script.session), script.last.effects) == ("IDLE", ())
    script.feed(submit(2))
    assert state_of(script.session) == "SPAWNING"


@pytest.mark.req("PS-9", "INV-8")
def test_people_are_told_which_process_used_how_much_of_what_limit_and_which_setting_changes_it() -> None:
    script = Script().working()
    script.feed(call())
    script.feed(ended(script))
    told = notices(script)[-1]
    assert (told.code, told.severity) == ("limit.memory", "warning")
    for text in (
        "python3 (pid 47) 500 MiB",
        "700 MiB",
        "690 MiB",
        "178 MiB for claude itself",
        'Bash {"command":"make"}',
    ):
        assert text in told.message
    assert "agent.memory_bytes_max" in told.hint
    script.feed(Tell(keeper_notice(MemoryHigh(USE))))
    [near] = notices(script)
    assert (near.code, near.severity) == ("limit.memory_near", "warning")
    assert "python3 (pid 47) 500 MiB" in near.message
    assert "agent.memory_bytes_max" in near.hint


@pytest.mark.req("PS-9", "INV-5")
def test_a_session_that_cannot_even_start_in_its_memory_is_given_up_after_the_usual_number_of_crashes() -> None:
    script = Script()
    script.feed(submit(1))
    for attempt in range(1, DEFAULT.crashes_max + 1):
        end = replace(ended(script), written=frozenset({"init"}), known=Conversation(found=True))
        script.feed(end)
        last = attempt == DEFAULT.crashes_max
        assert script.state(1) is MessageState.QUEUED
        assert state_of(script.session) == ("CRASHED" if last else "BACKING_OFF")
        [told] = notices(script)
        assert told.code == ("agent.crashed" if last else "limit.memory")
        assert "agent.memory_bytes_max" in told.hint
        script.wait(DEFAULT.backoff_max_s)
        script.feed(Tick())


@pytest.mark.req("PS-9")
def test_a_finished_answer_stays_finished_and_a_background_task_is_not_started_again() -> None:
    script = Script().working()
    script.feed(ended(script, answered=True))
    assert script.state(1) is MessageState.COMPLETED
    script = Script().working()
    script.feed(result(1), TaskList(("t1",), ("the long tests",)), RunState("idle"))
    script.feed(ended(script))
    assert [n.code for n in notices(script)] == ["agent.unknown_outcome", "limit.memory"]
    assert not script.session.messages
    assert state_of(script.session) == "IDLE"


@pytest.mark.req("PS-9", "INV-1")
def test_no_way_after_such_an_end_goes_on_with_what_claude_had_begun() -> None:
    for moment in Moment:
        for way in Way:
            after = after_stop(moment, way)
            assert after in (Way.SEND, Way.FINISH, Way.FAIL, Way.ASK)
            assert after is not Way.SEND or way is Way.SEND
    assert after_stop(Moment.TOOL_RUNNING, Way.TELL) is Way.ASK, "a tool may have had its effect"


@pytest.mark.req("PS-9")
def test_the_total_is_full_at_its_limit() -> None:
    assert not MemoryTotal(99, 100).is_full
    assert MemoryTotal(100, 100).is_full


@pytest.mark.req("PS-9", "PS-8")
@pytest.mark.parametrize(
    "used, limit, processes, room",
    [
        (0, 1_000, 0, None),
        (200, 1_000, 1, 5),
        (600, 1_000, 3, 5),
        (1_000, 1_000, 5, 5),
        (1_001, 1_000, 5, 4),
        (1_400, 1_000, 7, 5),
        (5_000, 1_000, 2, 1),
    ],
)
def test_there_is_room_for_as_many_processes_as_those_that_live_leave_memory_for_and_always_for_one(
    used: int, limit: int, processes: int, room: int | None
) -> None:
    assert MemoryTotal(used, limit, processes).room == room
