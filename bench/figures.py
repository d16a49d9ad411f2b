"""Figures of one row, and the arithmetic for them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value beside its target and its anchor.

    `ratio` is value by anchor where both are of one kind, else None. `low` and `high` are the quartiles of `value` over
    the repetitions. A target is missed only when it lies outside them. `remark` is shown when the target is missed:
    what was measured apart. `note` is always shown: what the figure does not say.
    """

    name: str
    value: float
    unit: str
    target: str
    missed: bool
    anchor: str = ""
    anchor_value: float | None = None
    low: float | None = None
    high: float | None = None
    ratio: float | None = None
    remark: str = ""
    note: str = ""
    samples: int = 1
    beyond: bool = False
    """Whether the median is beyond the target."""

    @property
    def verdict(self) -> str:
        """`MISSED`, `border` when the target lies within the quartiles, `ok`, or empty without a target."""
        if self.target == "-":
            return ""
        return "MISSED" if self.missed else "border" if self.beyond else "ok"


@dataclass(slots=True)
class Samples:
    """Values of one thing over the repetitions."""

    values: list[float] = field(default_factory=list)

    def add(self, value: float) -> None:
        """One more."""
        self.values.append(value)

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The first and the third; both the value itself when there is one only."""
        if len(self.values) < 2:
            return self.values[0], self.values[0]
        first, _, third = statistics.quantiles(self.values, n=4, method="inclusive")
        return first, third


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def figure(
    name: str,
    unit: str,
    measured: Samples,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    **more: object,
) -> Figure:
    """A figure with its verdict; `more` are further fields of `Figure`."""
    low, high = measured.quartiles
    missed = (at_most is not None and low > at_most) or (at_least is not None and high < at_least)
    middle = measured.median
    beyond = (at_most is not None and middle > at_most) or (at_least is not None and middle < at_least)
    target = f"<= {at_most:g}" if at_most is not None else f">= {at_least:g}" if at_least is not None else "-"
    return Figure(
        name,
        middle,
        unit,
        target,
        missed,
        low=low,
        high=high,
        samples=len(measured.values),
        beyond=beyond,
        **more,  # type: ignore[arg-type]
    )
