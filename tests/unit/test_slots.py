"""Slots: in order, never more than there are, and none is lost."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from betcode.core.effects import StartProcess
from betcode.core.inputs import Tick
from betcode.core.life import waits_for_slot
from betcode.core.session import step
from betcode.engine.slots import Slots
from betcode.testing.builders import at, new_session, submit


@pytest.mark.req("PS-8")
def test_slots_go_to_those_that_wait_in_the_order_they_came() -> None:
    slots = Slots(count=2, queue=10)
    woken: list[str] = []

    def settle(name: str, *, needs: bool = False, wants: bool = False) -> None:
        slots.settle(name, needs=needs, wants=wants, wake=lambda: woken.append(name))

    for name in "ab":
        assert slots.may_begin(name)
        settle(name, needs=True)
    for name in "cde":
        assert not slots.may_begin(name)
        settle(name, wants=True)
    assert woken == []
    settle("a")
    assert woken == ["c"]
    assert slots.may_begin("c")
    assert not slots.may_begin("d")
    assert not slots.may_begin("f")
    settle("c", needs=True)
    settle("d")  # it was cancelled: the next one takes its place
    settle("b")
    assert woken == ["c", "e"]
    slots.count = 3
    slots.wake()
    assert slots.free == 2


@pytest.mark.req("PS-8")
@pytest.mark.req("INV-8")
def test_a_message_is_refused_when_the_queue_for_slots_is_full() -> None:
    slots = Slots(count=1, queue=1)
    slots.settle("a", needs=True, wants=False, wake=lambda: None)
    assert not slots.refuses("b")
    slots.settle("b", needs=False, wants=True, wake=lambda: None)
    assert slots.refuses("c")
    assert not slots.refuses("a")
    assert not slots.refuses("b")


@pytest.mark.req("PS-8")
def test_no_slot_is_lost_or_given_twice_in_any_order_of_events() -> None:
    for seed in range(200):
        rng = Random(seed)
        slots = Slots(count=rng.randint(1, 4), queue=50)
        work = {f"s{n}": 0 for n in range(8)}
        woken: set[str] = set()
        holding: set[str] = set()

        def decide(name: str) -> None:
            begins = name not in holding and work[name] > 0 and slots.may_begin(name)  # noqa: B023
            if begins:
                work[name] -= 1  # noqa: B023
                holding.add(name)  # noqa: B023
            wants = name not in holding and work[name] > 0  # noqa: B023
            slots.settle(name, needs=name in holding, wants=wants, wake=lambda: woken.add(name))  # noqa: B023

        for _ in range(200):
            name = rng.choice([*work])
            choice = rng.random()
            if choice < 0.4:
                work[name] += 1
            elif choice < 0.7:
                holding.discard(name)
            decide(name)
            while woken:
                decide(woken.pop())
            assert len(holding) <= slots.count
            assert len(holding) == slots.count or not any(n for k, n in work.items() if k not in holding)


@pytest.mark.req("PS-8")
def test_a_session_without_a_slot_keeps_its_message_and_says_why() -> None:
    waiting = step(replace(new_session(), gated=True), submit(1), at(1.0), Random(1)).session
    assert waits_for_slot(waiting)
    assert waiting.waiting[0].reason == "other sessions have all slots; it goes on by itself"
    assert waiting.run == 0
    begun = step(replace(waiting, gated=False), Tick(), at(2.0), Random(1))
    assert begun.effects == (StartProcess(1),)
