"""The pool: slots in order, none lost and none beyond the limit but one; processes that rest make room."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from betcode.core import pool as core
from betcode.core.pool import Claim, Gate, Life, MakeRoom, Pool, Stance, Wake
from betcode.model import limits


@dataclass
class World:
    """A pool, its time, and what it had told whom."""

    pool: Pool
    now_s: float = 0.0
    told: list[core.Effect] = field(default_factory=list)

    def settle(
        self, session: str, claim: Claim = Claim.NONE, life: Life = Life.RESTS, *, background: bool = False
    ) -> None:
        self.pool, effects = core.settle(self.pool, session, Stance(claim, life, background), self.now_s)
        self.told += effects

    def work(self, *sessions: str) -> None:
        for session in sessions:
            self.settle(session, Claim.WORKS, Life.KEPT)

    def wait(self, *sessions: str, background: bool = False) -> None:
        for session in sessions:
            self.settle(session, Claim.BEGIN, Life.NONE, background=background)
            self.now_s += 1

    def gate(self, session: str, *, background: bool = False) -> Gate:
        return core.gate(self.pool, session, self.now_s, background=background)

    def take(self) -> list[core.Effect]:
        told, self.told = self.told, []
        return told


def world(slots: int = 2, *, waiting_max: int = 50, processes: int = 100) -> World:
    return World(Pool(slots, waiting_max, processes))


@pytest.mark.req("PS-8")
def test_slots_go_to_those_that_wait_in_the_order_they_came() -> None:
    made = world(2)
    made.work("a", "b")
    made.wait("c", "d", "e")
    assert made.take() == []
    made.settle("a")
    assert made.take() == [Wake("c")]
    assert made.gate("c").begins
    assert not made.gate("d").begins
    assert not made.gate("f").begins
    made.work("c")
    made.settle("d", Claim.NONE, Life.NONE)  # it was cancelled: the next one takes its place
    made.settle("b")
    assert made.take() == [Wake("e")]
    assert [core.place(made.pool, name) for name in "cde"] == [0, 0, 1]


@pytest.mark.req("PS-8")
def test_a_slot_is_for_one_turn_when_others_wait() -> None:
    made = world(1)
    made.work("a")
    assert made.gate("a").begins, "nobody waits: its next message follows at once"
    made.wait("b")
    assert not made.gate("a").begins
    made.settle("a", Claim.BEGIN)
    assert made.take() == [Wake("b")]
    assert made.pool.queue == ("b", "a")


@pytest.mark.req("PS-8")
def test_a_claude_that_is_started_for_a_message_gets_it_though_others_wait() -> None:
    made = world(1)
    made.settle("a", Claim.STARTS, Life.KEPT)
    made.wait("b")
    assert made.gate("a") == core.OPEN


@pytest.mark.req("PS-8")
def test_a_person_goes_before_programs_and_programs_go_before_persons_who_come_long_after() -> None:
    made = world(1)
    made.work("a")
    made.wait("program", background=True)
    made.now_s += limits.BACKGROUND_LATER_S / 2
    made.wait("early")
    made.now_s += limits.BACKGROUND_LATER_S
    made.wait("late")
    assert made.pool.queue == ("early", "program", "late")
    made.settle("program", Claim.BEGIN, Life.NONE)  # a person looks on now
    assert made.pool.queue == ("program", "early", "late")


@pytest.mark.req("PS-8")
def test_a_message_of_a_person_takes_a_free_slot_before_programs_that_were_woken_for_it() -> None:
    made = world(1)
    made.work("a")
    made.wait("program", background=True)
    made.settle("a")
    assert made.take() == [Wake("program")]
    assert made.gate("person").begins
    assert not made.gate("other program", background=True).begins
    made.work("person")
    assert not made.gate("program", background=True).begins
    made.settle("program", Claim.BEGIN, Life.NONE, background=True)
    made.settle("person")
    assert made.take() == [Wake("program")], "it is woken again"


@pytest.mark.req("PS-8")
def test_answered_sessions_go_first_and_one_of_them_goes_beyond_the_limit() -> None:
    made = world(2)
    made.work("a", "b")
    for name in ("one", "two", "three"):
        made.settle(name, Claim.NONE, Life.KEPT)
    made.wait("c")
    assert made.gate("one").goes_on
    made.work("one")
    for name in ("two", "three"):
        assert not made.gate(name).goes_on
        made.settle(name, Claim.GO_ON, Life.KEPT)
    assert made.pool.queue == ("two", "three", "c")
    made.settle("a")
    assert made.take() == [Wake("two")]
    assert made.gate("two") == core.OPEN
    assert not made.gate("four").goes_on, "another answer does not overtake those that wait"
    made.work("two")
    made.settle("b")
    assert made.take() == [Wake("three")]
    made.work("three")
    made.settle("one")
    assert made.take() == [], "two slots, both taken"
    made.settle("two")
    assert made.take() == [Wake("c")]


@pytest.mark.req("PS-8", "INV-8")
def test_a_message_is_refused_when_the_queue_is_full_unless_its_session_is_known() -> None:
    made = world(1, waiting_max=1)
    made.work("a")
    assert not made.gate("b").full
    made.wait("b")
    assert made.gate("c").full
    assert not made.gate("a").full
    assert not made.gate("b").full
    made.settle("a", Claim.BEGIN)
    assert made.pool.queue == ("b", "a"), "a session whose turn has ended is not refused"
    assert not made.gate("a").full


@pytest.mark.req("PS-8")
def test_one_that_waits_long_is_told_so() -> None:
    made = world(1)
    made.work("a")
    made.settle("b", Claim.BEGIN, Life.NONE)
    assert made.gate("b").why == core.WAITS
    assert core.late_s(made.pool, "b") == limits.SLOT_LATE_S
    made.now_s = limits.SLOT_LATE_S
    assert made.gate("b").why == f"{core.LATE}{core.WAITS}"
    assert core.late_s(made.pool, "a") is None


@pytest.mark.req("PS-8")
def test_the_process_that_rests_longest_makes_room_for_a_new_one() -> None:
    made = world(2, processes=3)
    made.settle("busy", Claim.NONE, Life.KEPT)
    for name in ("older", "newer"):
        made.settle(name)
        made.now_s += 1
    made.wait("x")
    assert made.take() == [MakeRoom("older")]
    assert made.gate("x").why == core.NO_PLACE
    made.settle("older", Claim.NONE, Life.ENDS)
    assert made.take() == []
    made.settle("older", Claim.NONE, Life.NONE)
    assert made.take() == [Wake("x")]
    assert made.gate("x").begins


@pytest.mark.req("PS-8", "INV-8")
def test_processes_that_wait_for_persons_cost_others_nothing_up_to_as_many_as_may_live() -> None:
    made = world(2, processes=2)
    for name in ("one", "two"):
        made.settle(name, Claim.NONE, Life.WAITS)
    assert made.gate("a").begins
    made.work("a", "b")
    made.settle("three", Claim.NONE, Life.WAITS)
    made.settle("b", Claim.NONE, Life.NONE)
    assert made.gate("c").why == core.NO_PLACE
    made.settle("three", Claim.NONE, Life.NONE)
    assert made.gate("c").begins
    made.pool, _ = core.measured(made.pool, 3)
    assert made.gate("c").why == core.NO_PLACE, "there is memory for three"


@pytest.mark.req("PS-8")
def test_who_lacks_only_a_process_is_not_overtaken_and_gets_the_place_of_the_last() -> None:
    made = world(1, processes=2)
    made.work("a")
    made.settle("asks", Claim.NONE, Life.KEPT)
    made.wait("x")
    made.settle("a", Claim.BEGIN, Life.RESTS)
    assert made.take() == [MakeRoom("a")], "the slot is kept for the other"
    assert not made.gate("a").begins
    made.settle("a", Claim.BEGIN, Life.ENDS)
    assert made.take() == []
    made.settle("a", Claim.BEGIN, Life.NONE)
    assert made.take() == [Wake("x")]


@pytest.mark.req("PS-8")
def test_nobody_who_waits_with_a_process_keeps_another_from_getting_one_for_ever() -> None:
    made = world(1, processes=2)
    made.work("a")
    made.settle("b", Claim.BEGIN)
    made.wait("x")
    made.settle("a", Claim.BEGIN)
    assert made.take() == [Wake("b")]
    made.work("b")
    made.settle("b", Claim.BEGIN)
    assert made.pool.queue == ("x", "a", "b")
    assert made.take() == [MakeRoom("b")]


@pytest.mark.req("PS-8", "PS-9")
def test_a_smaller_number_of_processes_ends_those_that_rest_and_no_other() -> None:
    made = world(2, processes=4)
    made.work("a")
    made.settle("asks", Claim.NONE, Life.KEPT)
    made.settle("b")
    made.now_s += 1
    made.settle("c")
    made.pool, effects = core.resize(made.pool, slots=2, waiting_max=50, processes=2)
    assert effects == (MakeRoom("b"), MakeRoom("c"))
    for name in "bc":
        made.settle(name, Claim.NONE, Life.NONE)
    made.settle("asks", Claim.NONE, Life.NONE)
    made.settle("a")
    made.pool, effects = core.measured(made.pool, 0)
    assert (made.pool.places, effects) == (0, ()), "one may always live"


@pytest.mark.req("PS-8")
def test_forty_sessions_on_four_slots_take_turns_and_none_waits_longer_than_the_others_take() -> None:
    made = world(4, processes=12)
    left = {f"s{number}": 10 for number in range(40)}
    lives: dict[str, Life] = dict.fromkeys(left, Life.NONE)
    waited = dict.fromkeys(left, 0)
    working: list[str] = []
    longest = 0
    for name in left:
        made.settle(name, Claim.BEGIN, Life.NONE)
    while any(left.values()) or working:
        for effect in made.take():
            if isinstance(effect, MakeRoom):
                lives[effect.session] = Life.NONE
                made.settle(effect.session, Claim.BEGIN if left[effect.session] else Claim.NONE, Life.NONE)
            elif made.gate(effect.session).begins:
                assert len(working) < 4
                longest = max(longest, waited[effect.session])
                lives[effect.session] = Life.KEPT
                left[effect.session] -= 1
                working.append(effect.session)
                made.work(effect.session)
        if not made.told:
            done = working.pop(0)
            lives[done] = Life.RESTS
            waited = {name: waited[name] + 1 for name in waited} | {done: 0}
            made.now_s += 1
            made.settle(done, Claim.BEGIN if left[done] else Claim.NONE, Life.RESTS)
        assert sum(life is not Life.NONE for life in lives.values()) <= 12
    assert 36 <= longest <= 40, "turns of others between two of its own"
