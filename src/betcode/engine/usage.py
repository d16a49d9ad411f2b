"""Answers what turns have used, from what is stored."""

from __future__ import annotations

from typing import Any

import msgspec

from betcode.core import usage
from betcode.core.instant import unix_s_of
from betcode.engine.registry import Registry
from betcode.model import limits
from betcode.model.frames import GetUsage


async def show_usage(registry: Registry, request: GetUsage) -> dict[str, Any]:
    """The body of the reply. Raises BetcodeError `session.not_found`, `store.failed`."""
    world = registry.world
    session = registry.find(request.session) if request.session else None
    first = usage.first_day(world.day_of(world.clock.now().unix_s), request.days)
    rows = await world.store.turns(usage.read_from(first), session)
    found = [turn for turn in usage.turns(rows, lambda time: world.day_of(unix_s_of(time))) if turn.day >= first]
    sums = usage.totals(found, request.by)
    shown = sums[-limits.LIST_MAX :] if request.by == "day" else sums[: limits.LIST_MAX]
    return {
        "by": request.by,
        "days": request.days,
        "session": session or "",
        "rows": [{"key": one.key} | _view(one) for one in shown],
        "left_off": len(sums) - len(shown),
        "total": _view(usage.total(found)),
        "windows": world.upstreams.windows(world.clock.now()),
    }


def _view(total: usage.Total) -> dict[str, Any]:
    use: dict[str, Any] = msgspec.to_builtins(total.use)
    return {"turns": total.turns} | use
