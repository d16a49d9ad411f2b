"""What the model server saw, against what the daemon says of its breaker (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from betcode.core.instant import unix_s_of

UNDER_WAY_S: Final = 3.0
"""A turn that was given to claude before the breaker opened sends its request within so long after it."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One model request of a session."""

    at_s: float
    session: str
    model: str
    refused: bool


@dataclass(frozen=True, slots=True)
class Pause:
    """From the opening of a breaker to the moment at which it lets a probe through; both Unix seconds."""

    opened_s: float
    over_s: float


def sent(stats: dict[str, Any]) -> list[Sent]:
    """The requests of the sessions in order, without claude's own."""
    return [
        Sent(one["time_unix_s"], one["session"], one["model"], one["status"] != 200)
        for one in stats["requests"]
        if not one["background"]
    ]


def pauses(log: Sequence[dict[str, Any]]) -> list[Pause]:
    """The pauses of the breakers, from the daemon's log."""
    found: list[Pause] = []
    opened_s: float | None = None
    for line in log:
        match line.get("after"):
            case "open":
                opened_s = opened_s if line.get("before") == "open" and opened_s else unix_s_of(line["timestamp"])
            case "half_open" | "closed" if opened_s is not None:
                found.append(Pause(opened_s, unix_s_of(line["timestamp"])))
                opened_s = None
            case _:
                pass
    return found


def sent_in(pause: Pause, requests: Sequence[Sent]) -> list[Sent]:
    """What was sent in a pause, beside the turns that were under way when it began."""
    late_s = pause.opened_s + UNDER_WAY_S
    late = [one for one in requests if late_s <= one.at_s < pause.over_s]
    early = [one for one in requests if pause.opened_s <= one.at_s < late_s]
    again = [one for number, one in enumerate(early) if one.session in {e.session for e in early[:number]}]
    return again + late


def refused_beyond(requests: Sequence[Sent], pauses_: Sequence[Pause]) -> int:
    """How many more refusals there were than RL-5 allows: those under way at the first opening, and one each pause."""
    refused = [one for one in requests if one.refused]
    if not pauses_:
        return max(0, len(refused) - 3)
    first = pauses_[0]
    allowed = sum(one.at_s < first.opened_s + UNDER_WAY_S for one in refused) + len(pauses_)
    return max(0, len(refused) - allowed)


def begun_after(pause: Pause, requests: Sequence[Sent]) -> list[float]:
    """When each session sent its first request after a pause, in order; seconds after its end."""
    first: dict[str, float] = {}
    for one in requests:
        if one.at_s >= pause.over_s:
            first.setdefault(one.session, one.at_s - pause.over_s)
    return sorted(first.values())


def too_fast(pause: Pause, requests: Sequence[Sent]) -> str:
    """Whether the slow start (1, 2, 4, ...) was kept: before the n-th session begins, enough others were answered."""
    after = [one for one in requests if one.at_s >= pause.over_s]
    begun: set[str] = set()
    answered: set[str] = set()
    width = 1
    credit = 0
    for one in after:
        if one.session not in begun:
            begun.add(one.session)
            if len(begun) - len(answered) > width:
                return f"{len(begun) - len(answered)} began where {width} might, {one.at_s - pause.over_s:.1f} s after"
        if not one.refused and one.session not in answered:
            answered.add(one.session)
            credit += 1
            if credit >= width:
                width, credit = 2 * width, 0
    return ""
