"""What can go wrong, by class: how it is dealt with, and what people are told (CB-3)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FailureClass(StrEnum):
    """What a failure says about the next try."""

    TRANSIENT = "transient"
    """It passes by itself: wait, then try again."""
    PERSISTENT = "persistent"
    """It stays until somebody changes something: never tried again by itself."""
    CORRUPTION = "corruption"
    """Something stored is damaged: stop using it, repair it from what else is kept."""
    CASCADING = "cascading"
    """Something else failed first, or too much is asked at once: take load away before anything else."""


class Strategy(StrEnum):
    """What the program does by itself."""

    RETRY = "retry"
    """Try again, later each time."""
    WAIT = "wait"
    """Try again at the time that is known or counted, one first."""
    PAUSE = "pause"
    """Leave it until somebody changes its cause; tell people once."""
    STOP = "stop"
    """Give up this one thing, and tell who asked for it."""
    REPAIR = "repair"
    """Rebuild it from what else is kept."""
    SHED = "shed"
    """Refuse or let go of what matters least."""


RETRYING = frozenset({Strategy.RETRY, Strategy.WAIT})
"""Strategies that try again without a person."""


class ApiKind(StrEnum):
    """What the model API's refusal is about."""

    RATE_LIMIT = "rate_limit"
    USAGE_WINDOW = "usage_window"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server_error"
    NETWORK = "network"
    STALL = "stall"
    CREDENTIALS = "credentials"
    BILLING = "billing"
    REQUEST = "request"
    """This one request cannot be answered; another one can."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Failure:
    """One row of the table."""

    failure_class: FailureClass
    strategy: Strategy
    what: str
    """For people."""
    hint: str
    """What to do about it."""


@dataclass(frozen=True, slots=True)
class ApiFailure:
    """A turn that the API did not let end well."""

    kind: ApiKind
    failure: Failure
    code: str
    """Of the notice, in docs/errors.md."""
    detail: str = ""
    """What the API said."""
