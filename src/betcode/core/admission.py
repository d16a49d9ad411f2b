"""Who is let in when there is much to do, and who is told to come again later (INV-4, INV-8). Pure.

Rules, in this order:
  1. Answers to questions, and what stops or cancels work, are never refused for load: they make it less. So is reading.
  2. A client, a subscription or a message is refused by the bound that it would pass: of its session first, so that
     one session's flood is told to that session, then of the daemon.
  3. Messages of background sessions may take `background_share` of a total only: they are refused before a person's.
  4. Where there are rates (a client that is not on the local socket), a new session or message takes a token. One that
     is refused for another reason takes none.
Previews go before all of this: `core.preview_room`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from betcode.core.token_bucket import TokenBucket
from betcode.model import admission_limits as bounds
from betcode.model import frames, limits
from betcode.model.errors import BetcodeError, Refusal
from betcode.model.frames import AnyRequest


class Kind(StrEnum):
    """What somebody asks for."""

    CONNECTION = "connection"
    SESSION = "session"
    """A new one."""
    MESSAGE = "message"
    SUBSCRIPTION = "subscription"
    """To be shown a session."""
    ANSWER = "answer"
    """To a permission question."""
    CONTROL = "control"
    """Interrupt, cancel, release, close: what ends work or says how it goes on."""
    READ = "read"


NEVER_REFUSED = frozenset({Kind.ANSWER, Kind.CONTROL, Kind.READ})
"""Whatever the load is."""


def kind_of(request: AnyRequest) -> Kind:
    """What a request asks for."""
    match request:
        case frames.Create():
            return Kind.SESSION
        case frames.Send():
            return Kind.MESSAGE
        case frames.Attach() | frames.Tap() | frames.Watch():
            return Kind.SUBSCRIPTION
        case frames.Answer():
            return Kind.ANSWER
        case (
            frames.Interrupt() | frames.Release() | frames.Clear() | frames.Retry() | frames.Close() | frames.Delete()
            | frames.Rename() | frames.Stop() | frames.Repair()
        ):  # fmt: skip
            return Kind.CONTROL
        case _:
            return Kind.READ


class Scope(StrEnum):
    """Whose bound it is."""

    SESSION = "session"
    CLIENT = "client"
    DAEMON = "daemon"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """The bounds."""

    clients: int = limits.CONNECTIONS_MAX
    session_clients: int = limits.CLIENTS_PER_SESSION_MAX
    session_messages: int = limits.MESSAGES_WAITING_MAX
    session_bytes: int = bounds.SESSION_MESSAGE_BYTES_MAX
    messages: int = bounds.MESSAGES_IN_FLIGHT_MAX
    bytes: int = bounds.MESSAGE_BYTES_MAX
    background_share: float = bounds.BACKGROUND_SHARE


DELIVERED = Ceilings()
"""As delivered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is there already, without what is asked for. `session_*` is about the session that it concerns."""

    clients: int = 0
    session_clients: int = 0
    session_messages: int = 0
    session_bytes: int = 0
    messages: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Rates:
    """One client's token buckets; None: as often as it likes."""

    sessions: TokenBucket | None = None
    messages: TokenBucket | None = None


LOCAL = Rates()
"""A client on the local socket: it is a program of this daemon's own user, who may as well start claude by hand."""


def remote(now_s: float) -> Rates:
    """A client from elsewhere that has asked for nothing yet."""
    return Rates(
        TokenBucket.full(bounds.SESSIONS_BURST, bounds.SESSIONS_PER_S, now_s),
        TokenBucket.full(bounds.MESSAGES_BURST, bounds.MESSAGES_PER_S, now_s),
    )


@dataclass(frozen=True, slots=True)
class Admitted:
    """It may. `rates` are the client's from here on."""

    rates: Rates = LOCAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """It may not, now. `code` is one of `model.errors`."""

    code: str
    limit: str
    scope: Scope
    retry_after_ms: int
    text: str
    hint: str

    def error(self) -> BetcodeError:
        """As its client is told."""
        refusal = Refusal(self.limit, self.scope.value, self.retry_after_ms)
        return BetcodeError(self.code, self.text, hint=self.hint, refusal=refusal)


def admit(
    kind: Kind,
    load: Load,
    ceilings: Ceilings,
    now_s: float,
    *,
    rates: Rates = LOCAL,
    size: int = 0,
    background: bool = False,
) -> Admitted | Refused:
    """Decide on one request.

    Args:
        kind: what is asked for.
        load: what there is already.
        ceilings: the bounds.
        now_s: the steady clock, for the rates.
        rates: those of the client.
        size: bytes that a message takes.
        background: it is for a session that a program made and no person looks at.
    """
    match kind:
        case Kind.CONNECTION:
            return _connection(load, ceilings) or Admitted(rates)
        case Kind.SUBSCRIPTION:
            return _subscription(load, ceilings) or Admitted(rates)
        case Kind.SESSION:
            return _at_rate(kind, rates, now_s)
        case Kind.MESSAGE:
            refused = _of_session(load, ceilings, size) or _of_all(load, ceilings, size, background=background)
            return refused or _at_rate(kind, rates, now_s)
        case _:  # NEVER_REFUSED
            return Admitted(rates)


def _connection(load: Load, ceilings: Ceilings) -> Refused | None:
    if load.clients < ceilings.clients:
        return None
    return Refused(
        code="limit.connections",
        limit="connections_max",
        scope=Scope.DAEMON,
        retry_after_ms=bounds.RETRY_CLIENTS_MS,
        text="the daemon has as many clients as it admits",
        hint="Close some, such as terminals that watch a session, and try again.",
    )


def not_urgent(request: AnyRequest) -> Refused:
    """A client that was let in to answer questions and stop turns wants something else."""
    return Refused(
        code="limit.connections",
        limit="connections_max",
        scope=Scope.DAEMON,
        retry_after_ms=bounds.RETRY_CLIENTS_MS,
        text=f"{type(request).__name__} is nothing urgent, and this connection is for what is",
        hint="Use another connection.",
    )


def _subscription(load: Load, ceilings: Ceilings) -> Refused | None:
    if load.session_clients < ceilings.session_clients:
        return None
    return Refused(
        code="limit.connections",
        limit="clients_per_session_max",
        scope=Scope.SESSION,
        retry_after_ms=bounds.RETRY_CLIENTS_MS,
        text=f"{load.session_clients} clients are attached to this session",
        hint="Close one of them.",
    )


def _of_session(load: Load, ceilings: Ceilings, size: int) -> Refused | None:
    if load.session_messages >= ceilings.session_messages:
        return queue_full(load.session_messages)
    if load.session_messages and load.session_bytes + size > ceilings.session_bytes:
        return Refused(
            code="session.queue_full",
            limit="session_message_bytes_max",
            scope=Scope.SESSION,
            retry_after_ms=bounds.RETRY_MESSAGES_MS,
            text=f"the messages that wait in this session take {load.session_bytes} bytes already",
            hint="Wait until some of them are done, or cancel them; put a long text into a file that claude reads.",
        )
    return None


def queue_full(waiting: int) -> Refused:
    """As many messages wait in one session as may."""
    return Refused(
        code="session.queue_full",
        limit="messages_waiting_max",
        scope=Scope.SESSION,
        retry_after_ms=bounds.RETRY_MESSAGES_MS,
        text=f"{waiting} messages already wait in this session",
        hint="Wait until some of them are done, or cancel them.",
    )


def slots_full() -> Refused:
    """As many sessions wait for a slot as may."""
    return Refused(
        code="session.queue_full",
        limit="queue",
        scope=Scope.DAEMON,
        retry_after_ms=bounds.RETRY_MESSAGES_MS,
        text="other sessions have all slots, and as many as may wait for one already",
        hint="Send it again later, or raise `daemon.slots` or `daemon.queue` in the settings.",
    )


def _of_all(load: Load, ceilings: Ceilings, size: int, *, background: bool) -> Refused | None:
    share = ceilings.background_share if background else 1.0
    of_whom = "of background sessions " if background else ""
    for name, there, more, most, unit in (
        ("messages_in_flight_max", load.messages, 1, ceilings.messages, "messages"),
        ("message_bytes_max", load.bytes, size, ceilings.bytes, "bytes of messages"),
    ):
        if there + more > most * share:
            return Refused(
                code="limit.messages",
                limit=f"background_{name}" if background else name,
                scope=Scope.DAEMON,
                retry_after_ms=bounds.RETRY_MESSAGES_MS,
                text=f"{there} {unit} run or wait in all sessions, and no more {of_whom}are taken",
                hint="Wait until some are done, or cancel what waits: betcode sessions clear ID",
            )
    return None


def _at_rate(kind: Kind, rates: Rates, now_s: float) -> Admitted | Refused:
    bucket = rates.sessions if kind is Kind.SESSION else rates.messages
    if bucket is None:
        return Admitted(rates)
    taken = bucket.take(now_s)
    if isinstance(taken, TokenBucket):
        return Admitted(replace(rates, sessions=taken) if kind is Kind.SESSION else replace(rates, messages=taken))
    what = "sessions" if kind is Kind.SESSION else "messages"
    return Refused(
        code="limit.rate",
        limit=f"{what}_per_s",
        scope=Scope.CLIENT,
        retry_after_ms=math.ceil(taken * 1000),
        text=f"this client makes {what} faster than it may",
        hint="Wait a little between them.",
    )
