"""Starts of claude that fail in several sessions: all wait, then one tries."""

from __future__ import annotations

from random import Random

import pytest

from betcode.core.breaker import State
from betcode.core.spawns import Spawns
from betcode.model.breaker_limits import SPAWN


def made() -> Spawns:
    def broke(error: Exception) -> None:
        raise AssertionError(error)

    return Spawns(Random(0), broke)


def failed(*sessions: str) -> Spawns:
    spawns = made()
    for number, session in enumerate(sessions):
        spawns.failed(session, "exit code 1", 1_000.0 + number)
    return spawns


@pytest.mark.req("CB-2", "INV-4")
def test_one_or_two_sessions_that_cannot_start_keep_nobody_else_waiting() -> None:
    spawns = failed(*("a", "b") * 10)
    assert spawns.breaker.state(1_020.0) is State.CLOSED
    assert spawns.passage("c", 1_020.0).begins


@pytest.mark.req("CB-2", "INV-5")
def test_five_failures_in_three_sessions_stop_all_starts_and_then_one_tries() -> None:
    spawns = failed("a", "b", "c", "a", "b")
    shut = spawns.passage("d", 1_005.0)
    assert (shut.begins, shut.code, "exit code 1" in shut.why) == (False, "agent.spawn_failed", True)
    again_s = shut.until_unix_s
    assert again_s == 1_004.0 + SPAWN.open_s
    assert spawns.due_s(1_005.0) == again_s
    assert spawns.passage("d", again_s).begins
    assert spawns.passage("d", again_s).begins, "the same one asks again before it begins"
    assert not spawns.passage("a", again_s).begins
    assert spawns.succeeded("d", again_s + 2)
    assert spawns.passage("a", again_s + 2).begins


@pytest.mark.req("CB-2")
def test_a_probe_that_fails_or_hangs_keeps_the_others_waiting_but_not_for_ever() -> None:
    spawns = failed("a", "b", "c", "a", "b")
    at_s = 1_004.0 + SPAWN.open_s
    assert spawns.passage("d", at_s).begins
    spawns.failed("d", "exit code 2", at_s + 1)
    assert not spawns.passage("a", at_s + 2).begins
    later_s = spawns.due_s(at_s + 2)
    assert later_s is not None
    assert spawns.passage("a", later_s).begins
    assert not spawns.passage("b", later_s).begins
    assert spawns.passage("b", later_s + SPAWN.probe_wait_s).begins, "the probe hangs"
