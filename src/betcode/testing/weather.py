"""What the model server does to all requests for a while, whatever their scripts say: an outage, a limit, a slow day.

Posted as JSON to /_weather, it counts from that moment:

    {"periods": [PERIOD, ...], "repeat": true if they go round and round}

A period: {"for_s": 60, "step": {"status": 429, "headers": {...}}, "share": 0.5, "model": "opus"}
  step    as in a script (script.py); without it the scripts decide
  share   of the requests that meet it, 1 unless given; which ones follows from their number alone
  model   only requests whose model has this word in its name
  session only requests of this conversation of claude's
  headers added to the answers that the scripts give
The last period is followed by ordinary weather. This module is pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from betcode.testing.script import ScriptError, Step, parse_step

KEYS = frozenset({"for_s", "step", "share", "model", "session", "headers"})
_SPREAD = 0.6180339887498949
"""Multiples of the golden ratio spread evenly over any stretch of numbers."""


@dataclass(frozen=True, slots=True)
class Period:
    """One stretch of weather."""

    for_s: float
    step: Step | None = None
    share: float = 1.0
    model: str = ""
    session: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def meets(self, number: int, model: str, session: str) -> bool:
        """Whether a request is met by it."""
        return (number * _SPREAD) % 1.0 < self.share and self.model in model and self.session in ("", session)


@dataclass(frozen=True, slots=True)
class Weather:
    """All that is to come, from the moment it was posted."""

    periods: tuple[Period, ...] = ()
    repeat: bool = False

    def at(self, passed_s: float) -> Period | None:
        """The weather so many seconds after its beginning; None for ordinary weather."""
        whole = sum(period.for_s for period in self.periods)
        if self.repeat and whole > 0:
            passed_s %= whole
        for period in self.periods:
            if passed_s < period.for_s:
                return period
            passed_s -= period.for_s
        return None

    def step(self, passed_s: float, own: Step, *, number: int, model: str, session: str) -> Step:
        """What a request gets that its script would answer with `own`."""
        period = self.at(passed_s)
        if period is None or not period.meets(number, model, session):
            return own
        if period.step is not None:
            return period.step
        return replace(own, headers={**own.headers, **period.headers})


def parse_weather(obj: object) -> Weather:
    """Check and read it. Raises ScriptError."""
    if not isinstance(obj, dict) or not isinstance(obj.get("periods"), list):
        raise ScriptError('"periods" must be a list', hint='For example {"periods": [{"for_s": 60}]}.')
    return Weather(tuple(_period(one) for one in obj["periods"]), bool(obj.get("repeat", False)))


def _period(obj: Any) -> Period:
    hint = "See betcode/testing/weather.py."
    if not isinstance(obj, dict) or obj.keys() - KEYS:
        raise ScriptError(f"a period is an object with {', '.join(sorted(KEYS))}", hint=hint)
    for_s, share = obj.get("for_s"), obj.get("share", 1.0)
    if not isinstance(for_s, int | float) or not for_s > 0 or not isinstance(share, int | float):
        raise ScriptError('"for_s" must be above 0, and "share" a number', hint=hint)
    step = parse_step(obj["step"], "the step of a period") if "step" in obj else None
    headers = {str(name): str(value) for name, value in dict(obj.get("headers", {})).items()}
    return Period(float(for_s), step, float(share), str(obj.get("model", "")), str(obj.get("session", "")), headers)
