"""A token bucket lets through what it says and no more, at any times and in any order of the clock."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from betcode.core.token_bucket import TokenBucket

NUMBER = st.floats(0.1, 1_000, allow_nan=False)
STEPS = st.lists(st.tuples(st.floats(-5, 5), st.floats(0, 3)), max_size=60)
SLACK = 1e-3
"""For rounding, and for the millionth of a token that may be owed."""


def asked(bucket: TokenBucket, steps: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """When how many tokens were taken; the clock goes by the first number of each step, forward or back."""
    now_s, taken = 0.0, []
    for step_s, wanted in steps:
        now_s += step_s
        cost = min(wanted, bucket.capacity)
        after = bucket.take(now_s, cost)
        if isinstance(after, TokenBucket):
            bucket = after
            taken.append((bucket.at_s, cost))
    return taken


@pytest.mark.req("INV-8")
@given(NUMBER, NUMBER, STEPS)
def test_in_no_stretch_of_time_more_is_taken_than_the_capacity_and_what_came_meanwhile(
    capacity: float, per_s: float, steps: list[tuple[float, float]]
) -> None:
    taken = asked(TokenBucket.full(capacity, per_s), steps)
    for first in range(len(taken)):
        total = 0.0
        for at_s, cost in taken[first:]:
            total += cost
            assert total <= capacity + per_s * (at_s - taken[first][0]) + SLACK


@pytest.mark.req("INV-8")
@given(NUMBER, NUMBER, STEPS, st.floats(0, 1))
def test_who_waits_as_long_as_told_is_let_through(
    capacity: float, per_s: float, steps: list[tuple[float, float]], share: float
) -> None:
    bucket, now_s = TokenBucket.full(capacity, per_s), 0.0
    for step_s, _ in steps:
        now_s += step_s
        after = bucket.take(now_s, share * capacity)
        if isinstance(after, TokenBucket):
            bucket = after
            continue
        assert after > 0
        assert isinstance(bucket.take(now_s + after, share * capacity), TokenBucket)


@pytest.mark.req("INV-8")
def test_a_clock_that_goes_back_and_forth_gives_nothing() -> None:
    bucket = TokenBucket.full(3, 1.0, 100.0)
    for _ in range(3):
        after = bucket.take(100.0)
        assert isinstance(after, TokenBucket)
        bucket = after
    for back, there in pairwise([100.0, 0.0, 100.0, 50.0, 100.0]):
        assert not isinstance(bucket.take(back), TokenBucket)
        assert not isinstance(bucket.take(there), TokenBucket)
    assert bucket.take(90.0) == pytest.approx(11.0)


def test_a_bucket_that_lets_nothing_through_and_a_price_nobody_can_pay_are_mistakes() -> None:
    for capacity, per_s in ((0, 1), (1, 0), (-1, 1)):
        with pytest.raises(ValueError, match="lets nothing through"):
            TokenBucket.full(capacity, per_s)
    for cost in (-1, 4):
        with pytest.raises(ValueError, match="tokens of a bucket"):
            TokenBucket.full(3, 1).take(0.0, cost)
