"""What a session's claude says about the API, from the facts of its output (RL-1)."""

from __future__ import annotations

from dataclasses import dataclass

from betcode.core.failures.api import api_failure, failure_of, of_api
from betcode.model import upstream_limits as limits
from betcode.model.facts import AnswerStarted, ApiRetry, Fact, RateLimit, TextBlock, ToolCall, TurnResult
from betcode.model.failures import ApiFailure, ApiKind


@dataclass(frozen=True, slots=True)
class Answered:
    """The API has taken a request and answers it."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A turn ended because of the API."""

    failure: ApiFailure
    fingerprint: str = ""
    """Of the credentials in use."""
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class WindowTold:
    """The API told how much of a usage window is used."""

    name: str
    status: str
    resets_at_unix_s: float
    utilization: float


News = Answered | Refused | WindowTold


def news_of(fact: Fact, *, stalled: bool = False, fingerprint: str = "") -> News | None:
    """What follows from one fact for the upstream; None for nothing.

    Args:
        fact: anything that claude printed.
        stalled: the turn was interrupted because the API was silent.
        fingerprint: of the credentials in use.
    """
    match fact:
        case AnswerStarted() | ToolCall():
            return Answered()
        case TextBlock() if not fact.api_error and not fact.aborted:
            return Answered()
        case ApiRetry():  # of a claude that was started to retry by itself
            named_s = fact.delay_ms / 1000
            after_s = named_s if named_s >= limits.RETRY_AFTER_LEAST_S else None
            return Refused(failure_of(of_api(fact.status, fact.error)), fingerprint, after_s)
        case RateLimit() if fact.window:
            return WindowTold(fact.window, fact.status, float(fact.resets_at_unix_s), fact.utilization)
        case TurnResult() if stalled and fact.terminal_reason.startswith("aborted"):
            return Refused(failure_of(ApiKind.STALL), fingerprint)
        case TurnResult():
            failure = api_failure(fact)
            return Refused(failure, fingerprint) if failure is not None else None
        case _:
            return None
