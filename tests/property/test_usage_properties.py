"""Sums of what turns have used, for any turns and any totals that claude may tell."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from betcode.core import usage
from betcode.model.ids import SessionId
from betcode.model.usage import BY, NOTHING, TurnRow, Use

COUNTS = st.integers(-5, 10_000)
DOLLARS = st.floats(-1, 100, allow_nan=False)
USES = st.builds(
    Use,
    input_tokens=COUNTS,
    output_tokens=COUNTS,
    cache_read_tokens=COUNTS,
    cache_write_tokens=COUNTS,
    cost_usd=DOLLARS,
)
MODELS = st.none() | st.dictionaries(st.sampled_from(["opus", "haiku"]), USES, max_size=2)
TOLD = st.fixed_dictionaries({}, optional={"input_tokens": COUNTS, "output_tokens": COUNTS | st.text() | st.none()})


@st.composite
def stored(draw: st.DrawFn) -> list[TurnRow]:
    rows = []
    for session in draw(st.lists(st.sampled_from("abc"), unique=True)):
        for seq in range(draw(st.integers(0, 6))):
            rows.append(
                TurnRow(
                    session=SessionId(session),
                    epoch=1,
                    seq=seq,
                    time=f"2026-11-{draw(st.integers(1, 4)):02}T10:00:00.000Z",
                    cost_usd=draw(DOLLARS),
                    usage=draw(TOLD),
                    models=draw(MODELS),
                )
            )
    return rows


def day(time: str) -> str:
    return time[:10]


@given(stored())
def test_days_sessions_and_models_have_the_same_sum_and_nothing_is_negative(rows: list[TurnRow]) -> None:
    found = usage.turns(rows, day)
    assert len(found) == len(rows)
    whole = usage.total(found).use
    for by in BY:
        parts = usage.totals(found, by)
        together = sum((part.use for part in parts), NOTHING)
        assert together.input_tokens == whole.input_tokens
        assert together.output_tokens == whole.output_tokens
        assert together.cache_read_tokens == whole.cache_read_tokens
        assert math.isclose(together.cost_usd, whole.cost_usd, abs_tol=1e-9)
        assert by == "model" or sum(part.turns for part in parts) == len(rows)
        for part in parts:
            amounts = (part.use.input_tokens, part.use.output_tokens, part.use.cache_write_tokens, part.use.cost_usd)
            assert min(amounts) >= 0


@pytest.mark.parametrize("dies", [False, True])
@given(st.lists(st.floats(0, 10, allow_nan=False), max_size=8))
def test_a_growing_total_is_counted_once_also_when_it_begins_anew(dies: bool, costs: list[float]) -> None:
    rows, running = [], 0.0
    for seq, cost in enumerate(costs):
        running = cost if dies and cost < running else running + cost
        rows.append(TurnRow(session=SessionId("a"), epoch=1, seq=seq, time="2026-11-01", cost_usd=running))
    assert math.isclose(usage.total(usage.turns(rows, day)).use.cost_usd, sum(costs), abs_tol=1e-9)
