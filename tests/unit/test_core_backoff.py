"""Delays between restarts grow, are bounded, and differ from session to session."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from betcode.core.backoff import delay_s
from betcode.model import limits

FIRST_S, MAX_S = limits.BACKOFF_FIRST_S, limits.BACKOFF_MAX_S


@pytest.mark.req("PS-2", "INV-5")
@given(st.integers(1, 10**6), st.integers())
def test_a_delay_is_between_half_and_all_of_the_doubled_value_and_never_above_the_limit(
    attempt: int, seed: int
) -> None:
    full_s = min(MAX_S, FIRST_S * 2 ** min(attempt - 1, 20))
    assert full_s / 2 <= delay_s(attempt, first_s=FIRST_S, max_s=MAX_S, rng=Random(seed)) <= full_s


@pytest.mark.req("PS-2", "INV-5")
@pytest.mark.parametrize("attempt", [1, 3, 50])
def test_sessions_that_failed_together_do_not_come_back_together(attempt: int) -> None:
    delays = {delay_s(attempt, first_s=FIRST_S, max_s=MAX_S, rng=Random(seed)) for seed in range(20)}
    assert len(delays) == 20
