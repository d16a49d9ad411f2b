"""Unix sockets whose n-th operation fails, once or from then on, under the real asyncio, websockets and server.

The fault model: `connect`, `accept`, `send` and `recv` of both ends of one path, counted together in their real order,
as far as they are in this process. A failing `accept` has lost its connection; a failing `send` has sent half; after a
failing `send` or `recv` the socket is of no use. What was opened before the plan was armed is left alone.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from betcode.testing.faults import FaultPlan


class SocketPlan(FaultPlan):
    """Which socket operation fails (`FaultPlan`; `errno` is what `connect`, `send` and `recv` say)."""

    armed: bool = False
    """Whether sockets that are opened now are watched."""

    def arm(self, fail_at: int, *, then_forever: bool) -> None:
        """From now on count anew."""
        self.fail_at, self.then_forever = fail_at, then_forever
        self.seen.clear()
        self.fired = False
        self.armed = True

    def disarm(self) -> None:
        """Nothing fails any more."""
        self.armed, self.fail_at, self.then_forever = False, 0, False


@contextmanager
def faulty_sockets(plan: SocketPlan, path: Path) -> Iterator[None]:
    """While this lasts every new socket of this process that connects or is bound to `path` follows the plan."""
    real = socket.socket

    class FaultySocket(socket.socket):
        """`socket.socket` that follows the plan once it belongs to the path."""

        _listens = False
        _watched = False

        def connect(self, address: Any, /) -> None:
            """Connect, by plan."""
            if address == str(path) and plan.armed:
                plan.check("connect")
                self._watched = True
            super().connect(address)

        def bind(self, address: Any, /) -> None:
            """Bind; accepting follows the plan."""
            self._listens = address == str(path)
            super().bind(address)

        def accept(self) -> tuple[socket.socket, Any]:
            """Accept, by plan; a failing one has lost its connection."""
            connection, address = super().accept()
            if self._listens and plan.armed:
                if plan.meet("accept"):
                    connection.close()
                    raise ConnectionAbortedError("the test ends it")
                assert isinstance(connection, FaultySocket)
                connection._watched = True
            return connection, address

        def send(self, content: Any, flags: int = 0, /) -> int:
            """Send, by plan; a failing one has sent half."""
            if self._watched and plan.meet("send"):
                super().send(memoryview(content)[: len(content) // 2], flags)
                raise plan.error()
            return super().send(content, flags)

        def sendmsg(self, buffers: Any, /, *more: Any) -> int:
            """Send the first of several pieces."""
            return self.send(next(iter(buffers))) if not more else super().sendmsg(buffers, *more)

        def recv(self, size: int, flags: int = 0, /) -> bytes:
            """Receive, by plan."""
            if self._watched:
                plan.check("recv")
            return super().recv(size, flags)

    socket.socket = FaultySocket  # type: ignore[misc]
    try:
        yield
    finally:
        socket.socket = real  # type: ignore[misc]
