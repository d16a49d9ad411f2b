"""What memory means, whatever is measured: never ended below the limit, always at it, and warned of before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from betcode.keeper.limits import BASE_BYTES_MAX, MEMORY_AGAIN_S, MEMORY_CALM, MEMORY_HIGH, MEMORY_NAMED_MAX, MIB
from betcode.keeper.memory import HIGH, OVER, MemoryWatch, Used

SIZES = st.lists(st.integers(0, 400 * MIB), max_size=8)
SAMPLES = st.lists(st.tuples(SIZES, st.floats(0.05, 900.0)), max_size=40)


def used(sizes: list[int]) -> list[Used]:
    return [Used(100 + n, f"tool{n}", size) for n, size in enumerate(sizes)]


@pytest.mark.req("PS-9")
@given(st.integers(32 * MIB, 1024 * MIB), st.none() | st.integers(0, 4096 * MIB), SAMPLES)
def test_a_run_is_ended_exactly_at_the_limit_and_warned_of_at_most_once_in_ten_minutes(
    above: int, base: int | None, samples: list[tuple[list[int], float]]
) -> None:
    watch = MemoryWatch(above)
    if base is not None:
        watch.measure_base(base)
        watch.measure_base(10 * base + 1)
        assert watch.base_bytes == min(base, BASE_BYTES_MAX)
    assert above <= watch.limit_bytes <= above + BASE_BYTES_MAX
    now, told_at, is_high = 0.0, -MEMORY_AGAIN_S, False
    for sizes, passed in samples:
        now += passed
        total = sum(sizes)
        verdict = watch.judge(used(sizes), now)
        assert (verdict == OVER) == (total >= watch.limit_bytes)
        if verdict == HIGH:
            assert total >= MEMORY_HIGH * watch.limit_bytes
            assert now - told_at >= MEMORY_AGAIN_S
            told_at = now
        is_high = bool(watch.fields()["high"])
        if MEMORY_HIGH * watch.limit_bytes <= total < watch.limit_bytes:
            assert is_high, "told now, or not long ago"
        assert watch.is_worth_a_close_look(used(sizes)) == (total >= MEMORY_HIGH * watch.limit_bytes)
        assert watch.is_fast() == (base is None or total >= MEMORY_CALM * watch.limit_bytes)


@pytest.mark.req("PS-9")
@given(SIZES)
def test_the_largest_processes_are_named_the_largest_first(sizes: list[int]) -> None:
    watch = MemoryWatch(512 * MIB)
    watch.judge(used(sizes), 0.0)
    assert [process.size for process in watch.most] == sorted(sizes, reverse=True)[:MEMORY_NAMED_MAX]
    assert watch.fields()["used"] == sum(sizes)


@pytest.mark.req("PS-9")
def test_what_was_calm_for_a_while_is_told_again() -> None:
    watch = MemoryWatch(100 * MIB)
    watch.measure_base(0)
    verdicts = [watch.judge(used([size * MIB]), at) for size, at in ((85, 0), (10, 1), (85, 2), (10, 601), (85, 602))]
    assert verdicts == [HIGH, "", "", "", HIGH]
