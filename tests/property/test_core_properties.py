"""Whatever happens in whatever order, the core keeps its promises (see `betcode.testing.core_checks`)."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from betcode.testing.core_world import CoreWorld

COMMON = ("flow", "flow", "flow", "work", "read", "submit", "submit", "write", "confirm", "listen", "launch", "answer")
RARE = (
    *("person", "person", "wait", "wait", "die", "gone", "gone", "restart", "hold", "flush", "spoil"),
    *("crowd", "crowd", "babble", "swell", "swell"),
)
actions = st.lists(st.tuples(st.sampled_from(COMMON + RARE), st.integers(0, 119)), min_size=5, max_size=70)


@pytest.mark.req("INV-1", "INV-3", "INV-5", "ND-6", "PS-1", "PS-3", "PS-5", "PS-9", "PM-2", "PM-4")
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(actions, st.booleans(), st.booleans())
def test_the_core_keeps_its_promises_whatever_happens(
    script: list[tuple[str, int]], names_messages: bool, closed: bool
) -> None:
    world = CoreWorld(names_messages=names_messages)
    for name, choice in script:
        getattr(world, name)(choice)
    if closed:
        world.close()
    world.settle()
    assert all(m.state in {"completed", "failed", "cancelled", "unknown"} for m in world.store.messages.values())
    assert world.session.closed is closed
