"""Writes of a database that fails: after three failures they are turned away for ten seconds, then one tries."""

from __future__ import annotations

from random import Random

import pytest

from betcode.adapters.sqlite.errors import StoreError
from betcode.daemon.store_gate import StoreGate

FULL = StoreError("the disk is full", hint="Make room.", error_type="full")


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def failing(times: int, error: StoreError = FULL) -> tuple[StoreGate, Clock]:
    clock = Clock()
    gate = StoreGate(clock, Random(0))
    for _ in range(times):
        gate.failed(gate.enter(), error)
        clock.now_s += 1
    return gate, clock


@pytest.mark.req("CB-2", "INV-5")
def test_the_fourth_write_is_turned_away_at_once_with_the_cause_and_the_time() -> None:
    gate, clock = failing(3)
    with pytest.raises(StoreError, match=r"the disk is full; it is tried again in (9|10) s") as refused:
        gate.enter()
    assert (refused.value.error_type, refused.value.hint) == ("full", "Make room.")
    clock.now_s += 11
    probe = gate.enter()
    with pytest.raises(StoreError):
        gate.enter()
    gate.passed(probe)
    gate.passed(gate.enter())


@pytest.mark.req("CB-2")
def test_a_failed_probe_closes_it_for_ten_seconds_more() -> None:
    gate, clock = failing(3)
    for _ in range(5):
        clock.now_s += 11.1
        gate.failed(gate.enter(), FULL)
        with pytest.raises(StoreError):
            gate.enter()


@pytest.mark.req("CB-2")
@pytest.mark.parametrize("error_type", ["defect", "constraint", "corrupt", "toobig"])
def test_what_one_transaction_is_to_blame_for_turns_nobody_else_away(error_type: str) -> None:
    gate, _ = failing(10, StoreError("x", hint="y", error_type=error_type))
    gate.passed(gate.enter())


@pytest.mark.req("CB-2")
def test_a_group_of_transactions_that_fails_together_counts_once() -> None:
    gate, clock = failing(0)
    for _ in range(2):
        tickets = [gate.enter() for _ in range(10)]
        for ticket in tickets:
            gate.failed(ticket, FULL)
        clock.now_s += 1
    gate.passed(gate.enter())
