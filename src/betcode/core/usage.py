"""What turns have used, summed by day, session, model or upstream.

A newer claude tells in each result what was used since the one before, by model, with its subagents: that is taken as
it is. An older one tells the tokens of the turn and a *running total* of the cost. That total is kept when a process
that ended well is resumed, and begins anew after one that was killed: so the cost of a turn is the difference to the
total before it in the same session, and where the total has become smaller, the whole of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from betcode.model.ids import SessionId
from betcode.model.usage import NOTHING, TurnRow, Use

UNKNOWN_MODEL = "unknown"
"""The model of a turn whose result named none."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn used."""

    session: SessionId
    day: str
    models: Mapping[str, Use]
    upstream: str = ""

    @property
    def use(self) -> Use:
        """All models together."""
        return sum(self.models.values(), NOTHING)


@dataclass(frozen=True, slots=True)
class Total:
    """What the turns of one day, session or model used together."""

    key: str
    turns: int
    use: Use


def turn_models(
    models: Mapping[str, Use] | None, usage: Mapping[str, Any], total_usd: float, before_usd: float
) -> Mapping[str, Use]:
    """What one turn used, by model. `before_usd`: the running total at the end of the turn before it."""
    if models is not None:
        return {name: _positive(use) for name, use in models.items()}
    total, before = _amount(total_usd), _amount(before_usd)
    cost = total - before if total >= before else total
    use = Use(
        input_tokens=_count(usage.get("input_tokens")),
        output_tokens=_count(usage.get("output_tokens")),
        cache_read_tokens=_count(usage.get("cache_read_input_tokens")),
        cache_write_tokens=_count(usage.get("cache_creation_input_tokens")),
        cost_usd=cost,
    )
    return {} if use == NOTHING else {UNKNOWN_MODEL: use}


def cost_usd(models: Mapping[str, Use] | None, total_usd: float, before_usd: float) -> float:
    """What one turn has cost; see `turn_models`."""
    return sum(use.cost_usd for use in turn_models(models, {}, total_usd, before_usd).values())


def turns(rows: Iterable[TurnRow], day_of: Callable[[str], str]) -> list[Turn]:
    """Each turn once, with what it used.

    Args:
        rows: by session, and inside it in the order of their positions.
        day_of: the local day (`2026-11-27`) of a stored time.

    A session whose numbering began anew may hold a turn twice, since its output was read again: it counts once.
    """
    found: list[Turn] = []
    session, before_usd = "", 0.0
    seen: dict[tuple[Any, ...], int] = {}
    for row in rows:
        if row.session != session:
            session, before_usd = row.session, 0.0
            seen.clear()
        key = (row.message_ids, row.duration_ms, row.num_turns, row.cost_usd)
        again = bool(row.message_ids) and seen.setdefault(key, row.epoch) < row.epoch
        if not again:
            used = turn_models(row.models, row.usage, row.cost_usd, before_usd)
            found.append(Turn(row.session, day_of(row.time), used, row.upstream))
        before_usd = row.cost_usd
    return found


def totals(found: Iterable[Turn], by: str) -> list[Total]:
    """Summed by `day`, `session`, `model` or `upstream`. Days in order, the rest dearest first.

    By model a turn counts for each model that it used, and for `unknown` if it used none.
    """
    sums: dict[str, tuple[int, Use]] = {}
    for turn in found:
        if by == "model":
            parts = list(turn.models.items()) or [(UNKNOWN_MODEL, NOTHING)]
        else:
            keys: dict[str, str] = {
                "day": turn.day,
                "session": turn.session,
                "upstream": turn.upstream or UNKNOWN_MODEL,
            }
            parts = [(keys[by], turn.use)]
        for key, use in parts:
            count, sum_ = sums.get(key, (0, NOTHING))
            sums[key] = (count + 1, sum_ + use)
    together = [Total(key, count, use) for key, (count, use) in sums.items()]
    return sorted(together, key=lambda t: t.key if by == "day" else (-t.use.cost_usd, t.key))


def total(found: Iterable[Turn]) -> Total:
    """All of them together."""
    uses = [turn.use for turn in found]
    return Total("", len(uses), sum(uses, NOTHING))


def first_day(today: str, days: int) -> str:
    """The first of so many days that end with `today`; empty, which is before all days, for 0 days or too many."""
    try:
        return (date.fromisoformat(today) - timedelta(days=days - 1)).isoformat() if days > 0 else ""
    except OverflowError:
        return ""


def read_from(day: str) -> str:
    """A stored time that is before the beginning of this local day, wherever that is; empty for no day."""
    return (date.fromisoformat(day) - timedelta(days=1)).isoformat() if day else ""


def _positive(use: Use) -> Use:
    return Use(
        input_tokens=_count(use.input_tokens),
        output_tokens=_count(use.output_tokens),
        cache_read_tokens=_count(use.cache_read_tokens),
        cache_write_tokens=_count(use.cache_write_tokens),
        cost_usd=_amount(use.cost_usd),
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _amount(value: float) -> float:
    return value if math.isfinite(value) and value > 0 else 0.0
