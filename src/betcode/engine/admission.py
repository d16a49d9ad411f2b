"""Counts what is there, so that `core.admission` can decide who is let in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from betcode.core.admission import LOCAL, Admitted, Ceilings, Kind, Load, Rates, Refused, admit
from betcode.engine.registry import Registry
from betcode.engine.session import SessionRunner
from betcode.model.frames import Send
from betcode.model.rows import Message

_CHAR_BYTES_MAX = 4
"""What each character of a text takes in memory as soon as one of them needs it."""


@dataclass(slots=True)
class Pace:
    """How often one client may still ask for something new; changed by each request."""

    rates: Rates = LOCAL


def text_bytes(text: str) -> int:
    """What a text takes in memory at most; told without looking at each character."""
    return len(text) if text.isascii() else _CHAR_BYTES_MAX * len(text)


class Admission:
    """All messages in flight: those that sessions hold, and those on their way to one."""

    def __init__(self, registry: Registry) -> None:
        """The bounds are those of the registry's world, at the time of each request."""
        self._registry = registry
        self._counted: dict[str, tuple[tuple[Message, ...], int]] = {}
        self._coming: dict[str, tuple[SessionRunner, int]] = {}
        """Bytes of messages that are admitted and not decided on by their session yet, by key."""

    @property
    def ceilings(self) -> Ceilings:
        """The bounds that hold now."""
        world = self._registry.world
        return replace(
            world.ceilings,
            session_clients=world.policy.clients_per_session_max,
            session_messages=world.policy.messages_waiting_max,
        )

    def load(self, runner: SessionRunner | None = None) -> Load:
        """What is there; `session_*` is that of `runner`."""
        running = self._registry.running()
        sizes = {one.id: self._bytes_of(one) for one in running}
        for gone in self._counted.keys() - sizes.keys():
            del self._counted[gone]
        coming = [
            (one, size)
            for key, (one, size) in self._coming.items()
            if not any(message.id == key for message in one.session.messages)
        ]
        mine = [size for one, size in coming if one is runner]
        return Load(
            session_messages=len(runner.session.messages) + len(mine) if runner is not None else 0,
            session_bytes=sizes.get(runner.id, 0) + sum(mine) if runner is not None else 0,
            messages=sum(len(one.session.messages) for one in running) + len(coming),
            bytes=sum(sizes.values()) + sum(size for _, size in coming),
        )

    def _bytes_of(self, runner: SessionRunner) -> int:
        messages = runner.session.messages
        known = self._counted.get(runner.id)
        if known is None or known[0] is not messages:
            known = (messages, sum(text_bytes(message.text) for message in messages))
            self._counted[runner.id] = known
        return known[1]

    def session(self, pace: Pace) -> None:
        """Let a new session in. Raises BetcodeError `limit.rate`."""
        self._let_in(pace, admit(Kind.SESSION, Load(), self.ceilings, self._now_s(), rates=pace.rates))

    @contextmanager
    def message(self, runner: SessionRunner, request: Send, pace: Pace) -> Iterator[None]:
        """Let a message in and count it, until its session has decided on it. One that is known already always is.

        Raises BetcodeError `session.queue_full`, `limit.messages`, `limit.rate`.
        """
        session = runner.session
        if request.key in self._coming or any(m.id == request.key for m in (*session.messages, *session.ended)):
            yield
            return
        size = text_bytes(request.text)
        decision = admit(
            Kind.MESSAGE,
            self.load(runner),
            self.ceilings,
            self._now_s(),
            rates=pace.rates,
            size=size,
            background=runner.seat.is_background,
        )
        self._let_in(pace, decision)
        self._coming[request.key] = (runner, size)
        try:
            yield
        finally:
            del self._coming[request.key]

    def view(self) -> dict[str, int]:
        """What is in flight, against what may be."""
        load, most = self.load(), self.ceilings
        return {
            "messages": load.messages,
            "messages_max": most.messages,
            "message_bytes": load.bytes,
            "message_bytes_max": most.bytes,
        }

    def _now_s(self) -> float:
        return self._registry.world.clock.now().steady_s

    @staticmethod
    def _let_in(pace: Pace, decision: Admitted | Refused) -> None:
        if isinstance(decision, Refused):
            raise decision.error()
        pace.rates = decision.rates
