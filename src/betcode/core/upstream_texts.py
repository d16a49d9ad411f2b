"""What people are told about an upstream that is not asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from betcode.core.instant import iso
from betcode.model import upstream_limits as limits
from betcode.model.errors import BetcodeError, Refusal
from betcode.model.failures import ApiFailure, ApiKind
from betcode.model.upstream import Passage, Pause, Window

_TEMPORARILY: Final = "API temporarily unavailable due to "
TEMPORARILY: Final[Mapping[ApiKind, str]] = {
    ApiKind.RATE_LIMIT: _TEMPORARILY + "rate limits.",
    ApiKind.USAGE_WINDOW: _TEMPORARILY + "a usage limit.",
    ApiKind.OVERLOADED: _TEMPORARILY + "overload.",
    ApiKind.SERVER_ERROR: _TEMPORARILY + "errors of its server.",
    ApiKind.NETWORK: _TEMPORARILY + "the network.",
    ApiKind.STALL: _TEMPORARILY + "silence in the middle of answers.",
    ApiKind.UNKNOWN: _TEMPORARILY + "errors.",
}
"""Why nothing is sent for a while; see `automatic_retry` for the rest of the sentence (RL-3)."""


def window_text(window: Window) -> str:
    """Why nothing is sent before the end of a usage window."""
    name = window.name.replace("_", " ")
    return f"The usage limit of the account ({name}) is reached; it resets at {iso(window.resets_at_unix_s)[:19]}Z."


def pause_of(failure: ApiFailure, fingerprint: str, session: str, now_s: float) -> Pause:
    """What is kept of a refusal that lasts."""
    said = f" It said: {failure.detail}" if failure.detail else ""
    why = failure.failure.what + said
    return Pause(failure.code, why, failure.failure.hint, fingerprint, now_s, session)


def too_early(passage: Passage) -> BetcodeError:
    """Another try was forced a moment ago."""
    every = f"at most one try in {limits.FORCE_EVERY_S:.0f} s can be forced"
    return BetcodeError(
        "limit.rate",
        f"the API was asked a moment ago; {every}. {passage.why}",
        hint="Try again in a few seconds, or wait: it goes on by itself.",
        refusal=Refusal("one forced try", "upstream", round(passage.early_s * 1000)),
    )


def automatic_retry(passage: Passage, now_unix_s: float) -> str:
    """Why a session waits, with the seconds that are left (RL-3); empty if nothing keeps it."""
    if passage.begins:
        return ""
    left = max(0, round(passage.until_unix_s - now_unix_s))
    when = f" Automatic retry in {left} seconds." if left else ""
    place = f" Place {passage.place}." if passage.place > 1 else ""
    return f"{passage.why}{when}{place}"
