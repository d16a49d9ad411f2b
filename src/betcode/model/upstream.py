"""The API as one account of one provider at one address: what sessions share, and what a session may send there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from msgspec import Struct


@dataclass(frozen=True, slots=True)
class UpstreamId:
    """Which upstream a session uses (RL-2)."""

    key: str = "default"
    """The same for all sessions with the same provider, address and account. It reveals nothing of a credential."""
    label: str = "the API"
    """For people, such as `api.anthropic.com`."""
    fingerprint: str = ""
    """Another one when the credentials, or the settings that name them, have changed."""


@dataclass(frozen=True, slots=True)
class Passage:
    """What one session may do about its upstream now."""

    begins: bool = True
    """Begin a turn, or go on with one that has its answer."""
    code: str = ""
    """Why not: a code of `docs/errors.md`."""
    why: str = ""
    """The same for people. It names no time that is left: it is stored."""
    until_unix_s: float = 0.0
    """When it is tried again; 0 when that is not known."""
    place: int = 0
    """In the line of those that wait for this upstream, from 1."""
    teller: bool = False
    """This session is the one that tells people of it."""
    early_s: float = 0.0
    """How many seconds must pass before a try may be forced; 0: none."""
    forced: bool = False
    """A person has it try now."""
    others_answered: bool = False
    """The upstream has answered other sessions since this one's request failed."""


FREE = Passage()
"""Nothing is known against the upstream."""


class ApiWait(Struct, frozen=True, kw_only=True):
    """Why a session waits for the API."""

    code: str
    """`agent.rate_limited`, `agent.api_down` or `agent.credentials`."""
    reason: str
    retry_at: str = ""
    """When it is tried again, ISO 8601; empty when only a change by a person helps."""
    place: int = 0
    """Among the sessions that wait for the same upstream, from 1."""


class Window(Struct, frozen=True):
    """A usage window as the API last told it."""

    name: str
    """`five_hour`, `seven_day`, `seven_day_opus` and the like."""
    status: str
    """`allowed`, `allowed_warning` or `rejected`."""
    resets_at_unix_s: float
    utilization: float
    told_at_unix_s: float


class Pause(Struct, frozen=True):
    """An upstream that is not asked until a person changes something: its credentials or its account are refused."""

    code: str
    why: str
    hint: str
    fingerprint: str
    """Of the credentials that were refused."""
    since_unix_s: float
    teller: str
    """The session that met it."""


class Stored(Struct, frozen=True):
    """What of an upstream survives a restart."""

    key: str
    label: str
    breaker: Any
    """As `core.breaker` stores it."""
    width: int
    pause: Pause | None
    windows: tuple[Window, ...]
    code: str
    why: str
