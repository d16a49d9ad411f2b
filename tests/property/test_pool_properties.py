"""Whatever sessions do, in whatever order they hear of it: no slot is lost, and nobody waits for ever."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from betcode.testing.pool_world import PoolWorld

COMMON = ("submit", "submit", "submit", "ready", "ready", "finish", "finish", "hear", "hear", "hear", "ask", "answer")
RARE = ("withdraw", "own_turn", "die", "die", "retry", "cancel", "look", "resize", "measure", "wait")
actions = st.lists(st.tuples(st.sampled_from(COMMON + RARE), st.integers(0, 400)), min_size=5, max_size=120)


@pytest.mark.req("PS-8", "INV-8")
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 3), st.integers(0, 6), st.integers(1, 8), actions)
def test_no_slot_is_lost_none_is_given_twice_and_nobody_waits_for_ever(
    slots: int, waiting_max: int, processes: int, script: list[tuple[str, int]]
) -> None:
    world = PoolWorld(slots, waiting_max, processes)
    for name, choice in script:
        getattr(world, name)(choice)
    world.calm()
