"""What turns have used: tokens and cost, as claude reports them in its results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from betcode.model.ids import SessionId

BY = ("day", "session", "model", "upstream")
"""What usage can be summed by."""
DAYS_MAX = 1_000_000
"""Days that one request may look back: more than any calendar has, and a number that a date can be reckoned with."""


class Use(Struct, frozen=True, kw_only=True):
    """Tokens and their price. All are amounts of the API's own counting; none is negative."""

    input_tokens: int = 0
    """Without those that came from or went to the cache."""
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_usd: float = 0.0
    """By claude's list of prices: an estimate, which a subscription does not pay."""

    def __add__(self, other: Use) -> Use:
        """Both together."""
        return Use(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            cost_usd=self.cost_usd + other.cost_usd,
        )


NOTHING = Use()


class TurnRow(Struct, frozen=True, kw_only=True):
    """The part of a stored `turn_ended` that tells what the turn has used."""

    session: SessionId
    epoch: int
    seq: int
    time: str
    """When it was stored: ISO 8601, UTC."""
    upstream: str = ""
    """Name of the upstream that was asked; empty in what an older version stored."""
    message_ids: tuple[str, ...] = ()
    duration_ms: int = 0
    num_turns: int = 0
    cost_usd: float = 0.0
    """claude's running total of the conversation, which begins anew when a process was killed before it was saved."""
    usage: Mapping[str, Any] = field(default_factory=dict)
    """As the API gave it, for the turn alone, without its subagents."""
    models: Mapping[str, Use] | None = None
    """What the turn used by model, its subagents included; None: this version of claude, or of BetCode, told only the
    other two."""
