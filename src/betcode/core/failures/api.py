"""What the model API's refusal of a turn means, from the result that claude prints (RL-1).

The shapes were seen with claude 2.1.330 for each status; older versions name no `terminal_reason` and no `api_error`.
"""

from __future__ import annotations

from typing import Final

from betcode.model.facts import TurnResult
from betcode.model.failures import ApiFailure, ApiKind, Failure, FailureClass, Strategy

PREFIX: Final = "API Error"
"""How claude begins what it says of the API's refusals."""
CREDIT: Final = "Credit balance is too low"
"""What claude says when an account has no money left, whatever the HTTP status (400 was seen)."""
DETAIL_CHARS: Final = 200
"""Of what the API said; the whole is in the event of the turn's end."""

_WAIT = "Nothing is lost and nothing is repeated; it goes on by itself."
TABLE: Final[dict[ApiKind, tuple[str, Failure]]] = {
    ApiKind.RATE_LIMIT: (
        "agent.rate_limited",
        Failure(
            FailureClass.TRANSIENT,
            Strategy.WAIT,
            "The API takes no more requests for now (HTTP 429).",
            _WAIT + " To try at once: betcode sessions retry ID",
        ),
    ),
    ApiKind.USAGE_WINDOW: (
        "agent.rate_limited",
        Failure(
            FailureClass.TRANSIENT,
            Strategy.WAIT,
            "A usage window of the account is used up.",
            _WAIT + " Nothing is sent before the window ends; another model may have a window of its own.",
        ),
    ),
    ApiKind.OVERLOADED: (
        "agent.api_down",
        Failure(
            FailureClass.CASCADING,
            Strategy.WAIT,
            "The API is overloaded (HTTP 529).",
            _WAIT + " To try at once: betcode sessions retry ID",
        ),
    ),
    ApiKind.SERVER_ERROR: (
        "agent.api_down",
        Failure(
            FailureClass.TRANSIENT,
            Strategy.WAIT,
            "The API failed (HTTP 5xx).",
            _WAIT + " If it lasts, look at the API's status page and at a gateway between it and you.",
        ),
    ),
    ApiKind.NETWORK: (
        "agent.api_down",
        Failure(
            FailureClass.TRANSIENT,
            Strategy.WAIT,
            "The API cannot be reached, or the connection to it broke.",
            _WAIT + " If it lasts, look at the network, the proxy and ANTHROPIC_BASE_URL.",
        ),
    ),
    ApiKind.STALL: (
        "agent.api_down",
        Failure(
            FailureClass.TRANSIENT,
            Strategy.WAIT,
            "The API was silent in the middle of an answer.",
            _WAIT,
        ),
    ),
    ApiKind.CREDENTIALS: (
        "agent.credentials",
        Failure(
            FailureClass.PERSISTENT,
            Strategy.PAUSE,
            "The API refuses the credentials (HTTP 401 or 403).",
            "Log in again (claude /login) or correct the key; what waits goes on when the credentials have changed."
            " To try at once: betcode sessions retry ID",
        ),
    ),
    ApiKind.BILLING: (
        "agent.credentials",
        Failure(
            FailureClass.PERSISTENT,
            Strategy.PAUSE,
            "The account has no credit left, or may not be charged.",
            "Add credit or use another account, then: betcode sessions retry ID",
        ),
    ),
    ApiKind.REQUEST: (
        "agent.error",
        Failure(
            FailureClass.PERSISTENT,
            Strategy.STOP,
            "The API cannot answer this request as it is (HTTP 400, 404 or 413, or a prompt that is too long).",
            "Change what is asked: a shorter conversation, fewer attachments, another model.",
        ),
    ),
    ApiKind.UNKNOWN: (
        "agent.api_down",
        Failure(
            FailureClass.TRANSIENT,
            Strategy.WAIT,
            "The API did not answer, in a way that is not known.",
            _WAIT + " If it lasts, see what claude says: betcode attach ID",
        ),
    ),
}
"""Code of the notice, and what is done, for each kind."""


def of_api(status: int | None, error: str = "", text: str = "") -> ApiKind:
    """What a refusal is about.

    Args:
        status: HTTP status of the refused request; None without an answer.
        error: claude's own name for it (`api_error`), such as `connection_failed`; may be empty.
        text: what claude said.
    """
    if error == "usage_limit_reached":
        return ApiKind.USAGE_WINDOW
    if CREDIT in text or error == "billing_error" or status == 402:
        return ApiKind.BILLING
    match status:
        case None:
            return ApiKind.NETWORK if error == "connection_failed" or "timed out" in text else ApiKind.UNKNOWN
        case 401 | 403:
            return ApiKind.CREDENTIALS
        case 429:
            return ApiKind.RATE_LIMIT
        case 529:
            return ApiKind.OVERLOADED
        case 408 | 409 | 425:
            return ApiKind.SERVER_ERROR
        case _ if 400 <= status < 500:
            return ApiKind.REQUEST
        case _ if 500 <= status < 600:
            return ApiKind.SERVER_ERROR
        case _:
            return ApiKind.UNKNOWN


def api_failure(fact: TurnResult) -> ApiFailure | None:
    """What the API refused, if that is why the turn did not end well; None for any other end."""
    if not fact.is_error or fact.terminal_reason.startswith("aborted"):
        return None
    by_api = fact.terminal_reason == "api_error" or fact.text.startswith(PREFIX)
    if not by_api and fact.api_error_status is None and not fact.api_error:
        return None
    kind = of_api(fact.api_error_status, fact.api_error, fact.text)
    if fact.terminal_reason not in ("", "api_error") and kind is not ApiKind.BILLING:
        kind = ApiKind.REQUEST  # prompt_too_long, image_error and the like: claude names the request itself
    return failure_of(kind, fact.text[:DETAIL_CHARS])


def failure_of(kind: ApiKind, detail: str = "") -> ApiFailure:
    """The row of this kind."""
    code, failure = TABLE[kind]
    return ApiFailure(kind, failure, code, detail)
