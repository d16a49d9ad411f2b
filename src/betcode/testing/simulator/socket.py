"""The Unix socket between a daemon and a keeper, in memory: ordered bytes that take their time, until it breaks."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, Protocol

from betcode.testing.simulator.stage import Stage


class Far(Protocol):
    """The keeper's side."""

    def received(self, socket: ModelSocket, data: bytes) -> None:
        """Bytes from the daemon."""
        ...

    def closed(self, socket: ModelSocket) -> None:
        """The daemon's side is gone."""
        ...


class ModelSocket(asyncio.Transport):
    """The daemon's side is an asyncio transport; the keeper calls `send` and `shut`."""

    def __init__(self, stage: Stage, far: Far, protocol: asyncio.Protocol, rng: Random) -> None:
        """Connected from here on."""
        super().__init__()
        self.number = 0
        """For the keeper's use: who asked."""
        self.frozen_until_s: Callable[[], float] = lambda: 0.0
        self._stage = stage
        self._far = far
        self._protocol = protocol
        self._rng = rng
        self._under_way: dict[str, deque[Callable[[], None]]] = {"in": deque(), "out": deque()}
        self._next_s = {"in": 0.0, "out": 0.0}
        self._closed = False
        self._broken = False

    def _send(self, way: str, arrival: Callable[[], None]) -> None:
        """Have `arrival` called later, after all that was sent that way before.

        What arrives is the oldest that is under way, whichever of them the timer was set for: two timers of the same
        time may differ in the last bit.
        """
        delay_s = self._rng.uniform(0.0001, 0.002)
        if self._stage.plan.chance(self._rng, "link", 0.1):
            delay_s = self._rng.uniform(0.01, 3.0)
        now_s = self._stage.now_s
        due_s = max(self._next_s[way], now_s + delay_s, self.frozen_until_s())
        self._next_s[way] = due_s
        self._under_way[way].append(arrival)
        self._stage.later(due_s - now_s, self._arrive_next, way)

    def _arrive_next(self, way: str) -> None:
        self._under_way[way].popleft()()

    # --- the keeper's side --------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Bytes for the daemon. Now and then the connection breaks instead, and they are lost."""
        if self._closed or self._broken:
            return
        if self._stage.plan.chance(self._rng, "link", 0.04):
            self.break_off()
            return
        if len(data) > 1 and self._rng.random() < 0.1:
            cut = self._rng.randrange(1, len(data))
            self._send("in", partial(self._deliver, data[:cut]))
            data = data[cut:]
        self._send("in", partial(self._deliver, data))

    def shut(self) -> None:
        """The keeper closes; what it sent before still arrives."""
        if not self._closed and not self._broken:
            self._send("in", partial(self._end, None))

    def break_off(self) -> None:
        """Both sides lose the connection and what is on its way."""
        if self._broken:
            return
        self._broken = True
        self._stage.note("a keeper's connection breaks")
        self._stage.later(0.0, self._far.closed, self)
        if not self._closed:
            self._closed = True
            self._stage.later(0.0, self._protocol.connection_lost, ConnectionResetError("the socket broke"))

    def _deliver(self, data: bytes) -> None:
        if not self._closed:
            self._protocol.data_received(data)

    def _end(self, error: Exception | None) -> None:
        if not self._closed:
            self._closed = True
            self._protocol.connection_lost(error)

    # --- the daemon's side, as asyncio calls it -----------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Bytes for the keeper."""
        if not self._closed:
            self._send("out", partial(self._arrive, bytes(data)))

    def _arrive(self, data: bytes) -> None:
        if not self._broken:
            self._far.received(self, data)

    def close(self) -> None:
        """The daemon closes, or has died: the kernel still delivers what it had written."""
        if not self._closed:
            self._closed = True
            self._stage.later(0.0, self._protocol.connection_lost, None)
            self._send("out", self._closed_arrives)

    def _closed_arrives(self) -> None:
        if not self._broken:
            self._broken = True
            self._far.closed(self)

    def abort(self) -> None:
        """The same as `close`."""
        self.close()

    def is_closing(self) -> bool:
        """Whether the daemon's side is closed."""
        return self._closed

    def get_extra_info(self, _name: str, default: Any = None) -> Any:
        """Nothing is known of the other side."""
        return default
