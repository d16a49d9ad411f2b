"""Cost limits that a user sets: told of before they are reached; at a limit no new turn begins. None is stopped.

What waits stays queued with the reason. It goes on when the limit is raised, and at a day's limit the next day.
"""

from __future__ import annotations

from dataclasses import replace

from betcode.core.draft import Draft
from betcode.core.spent import RAISE, dollars
from betcode.core.usage import cost_usd
from betcode.model.facts import TurnResult

NEAR = 0.8
"""From this share of a limit on people are told."""


def on_result(draft: Draft, fact: TurnResult) -> None:
    """Count what the turn has cost, and tell people when that comes near a limit or reaches it: once for each."""
    before = draft.session.spent
    cost = cost_usd(fact.models, fact.cost_usd, before.total_usd)
    spent = replace(
        before,
        session_usd=before.session_usd + cost,
        day_usd=before.day_usd + cost,
        total_usd=fact.cost_usd,
    )
    draft.set(spent=spent)
    _tell(draft, before.session_usd, spent.session_usd, spent.session_max_usd, "this session", "cost_per_session_usd")
    _tell(draft, before.day_usd, spent.day_usd, spent.day_max_usd, "all sessions together today", "cost_per_day_usd")


def _tell(draft: Draft, before: float, after: float, most: float, who: str, setting: str) -> None:
    if most <= 0:
        return
    have = "has" if who == "this session" else "have"
    costs = f"{who} {have} cost {dollars(after)} of the {dollars(most)} that `limits.{setting}` allows"
    if before < most <= after:
        draft.notice("warning", "limit.cost_reached", f"{costs}; no new turn begins", _capital(RAISE))
    elif before < NEAR * most <= after:
        draft.notice("warning", "limit.cost_near", costs, f"At the limit no new turn begins. {_capital(RAISE)}")


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
