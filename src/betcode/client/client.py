"""A client that stays: it comes back by itself after each loss of its daemon, and starts the daemon when none is there.

Requests that do no harm when repeated are sent again after a loss; for the others the caller hears that the outcome
is unknown. Streams of events (`client.stream`) go on from their cursors. One task keeps the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any

from betcode.client.connection import Connection, ConnectionLost, prepared
from betcode.client.patience import Patience
from betcode.client.stream import Stream
from betcode.client.tap import Tap
from betcode.model import limits
from betcode.model.errors import BetcodeError, Exit, error_of
from betcode.model.frames import (
    PROTOCOL,
    Clear,
    Create,
    Frame,
    Hello,
    Interrupt,
    RawFrame,
    Request,
    SessionFrame,
    Stop,
    Welcome,
)

NOBODY_THERE = (FileNotFoundError, ConnectionRefusedError)
"""What connecting to a socket without a daemon raises."""
UNREPEATABLE = (Interrupt, Stop)
"""A second interrupt could hit the next turn, a second stop the next daemon."""


class Client:
    """Use as `async with Client(...) as client`; the first connection is made there and its errors are raised there."""

    def __init__(
        self,
        socket_path: Path,
        *,
        start_daemon: Callable[[], Awaitable[None]] | None,
        rng: Random,
        hello: Hello | None = None,
        longest_pause_s: float = limits.RECONNECT_MAX_S,
        urgent: bool = False,
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            socket_path: the daemon's socket.
            start_daemon: starts a daemon and returns when it answers, or raises BetcodeError. None: never start one.
            rng: jitter of the delays between attempts.
            hello: who this client is.
            urgent: it only answers questions and stops work, and so is let in where there are too many others.
            longest_pause_s: between two attempts; for whoever knows that the daemon is back at once.
        """
        self._path = socket_path
        self._urgent = urgent
        self._start_daemon = start_daemon
        self._patience = Patience(rng, longest_pause_s)
        self._hello = hello or Hello(protocol=[PROTOCOL])
        self._connection: Connection | None = None
        self._failure: dict[str, object] | None = None
        self._changed = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._streams: dict[str, Stream] = {}
        self._taps: dict[str, Tap] = {}
        self._ever = False
        self._stopped = False
        """The daemon said goodbye: somebody stopped it, so somebody else has to start it again."""

    async def __aenter__(self) -> Client:
        self._keeper = asyncio.create_task(self._keep(), name="client connection")
        try:
            await self.connected()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connection; the daemon forgets this client."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None

    async def connected(self, *, instead_of: Connection | None = None) -> Connection:
        """Wait for a connection other than `instead_of`. Raises BetcodeError when the client has given up."""
        while self._connection is None or self._connection is instead_of:
            if self._failure is not None:
                raise error_of(self._failure)
            await self._changed.wait()
        return self._connection

    @property
    def present(self) -> Connection | None:
        """The connection of this moment, if there is one."""
        return self._connection

    async def welcome(self) -> Welcome:
        """What the daemon said of itself when the present connection was made."""
        return (await self.connected()).welcome

    async def request(self, request: Request, *, timeout_s: float = limits.REQUEST_WAIT_S) -> dict[str, Any]:
        """Have one request done, over as many connections as it takes.

        If cancelled, it may still be carried out.

        Raises:
            BetcodeError: refused; or the client gave up; or, for a request that must not be sent twice, the
                connection ended before the reply.
        """
        prepared(request)  # a request outside its limits must not wait for a connection first
        connection: Connection | None = None
        while True:
            connection = await self.connected(instead_of=connection)
            try:
                return await connection.request(request, timeout_s=timeout_s)
            except ConnectionLost as lost:
                if not repeatable(request):
                    raise BetcodeError(
                        "daemon.unreachable",
                        f"the connection ended before the reply ({lost}); whether it was done is unknown",
                        hint="Look with `betcode status` before you repeat it.",
                    ) from lost

    def stream(self, session: str, *, epoch: int = 0, seq: int = 0, from_end: bool = False) -> Stream:
        """News of a session after (epoch, seq), for ever; see `Stream`. At most one stream a session and client."""
        if session in self._streams:
            raise ValueError(f"session {session} is already streamed by this client")
        stream = Stream(self, session, epoch=epoch, seq=seq, from_end=from_end)
        self._streams[session] = stream
        return stream

    def tap(self, session: str) -> Tap:
        """What claude itself prints in this session from now on, line by line; see `Tap`. At most one a session."""
        if session in self._taps:
            raise ValueError(f"session {session} is already tapped by this client")
        tap = Tap(self, session)
        self._taps[session] = tap
        return tap

    def forget(self, session: str) -> None:
        """No stream of this session is read any more."""
        self._streams.pop(session, None)

    # --- the connection ------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        """Open one connection after the other until it makes no sense any more; then set `_failure`."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                lost: BaseException
                try:
                    self._connection = await self._open()
                    self._ever, self._stopped = True, False
                    self._patience.opened(loop.time())
                    self._announce()
                    lost = await self._held(self._connection)
                except (OSError, ConnectionLost) as error:
                    lost = error
                except BetcodeError as error:
                    if not self._ever or not passing(error):
                        raise
                    lost = error
                await asyncio.sleep(self._wait_s(lost, loop.time()))
        except BetcodeError as error:
            self._failure = error.view()
        finally:
            if self._failure is None:
                closed = BetcodeError("daemon.unreachable", "this client was closed", hint="Open another one.")
                self._failure = closed.view()
            self._announce()

    async def _open(self) -> Connection:
        try:
            return await Connection.open(self._path, self._hello, self._deliver, urgent=self._urgent)
        except NOBODY_THERE as error:
            if self._start_daemon is None or self._stopped:
                if not self._ever:
                    raise unreachable(error) from error
                raise
        except OSError as error:
            if not self._ever:
                raise unreachable(error) from error
            raise
        await self._start_daemon()
        return await Connection.open(self._path, self._hello, self._deliver, urgent=self._urgent)

    async def _held(self, connection: Connection) -> ConnectionLost:
        """Wait for the end of a connection and take it back."""
        try:
            return await connection.wait_lost()
        finally:
            self._connection = None
            self._announce()
            await connection.close()

    def _wait_s(self, lost: BaseException, now_s: float) -> float:
        """Seconds until the next attempt. Raises BetcodeError when there is none."""
        wait_s = self._patience.failed(now_s)
        goodbye = lost.goodbye if isinstance(lost, ConnectionLost) else None
        self._stopped = self._stopped or goodbye is not None
        if goodbye is not None and goodbye.retry_after_s is None:
            raise BetcodeError(
                "daemon.stopping",
                f"the daemon closed the connection: {goodbye.reason}",
                hint="Start it again with `betcode daemon start`; sessions go on where they are.",
            )
        if wait_s is None:
            raise unreachable(lost)
        if isinstance(lost, BetcodeError) and lost.refusal is not None:
            return max(wait_s, min(lost.refusal.retry_after_ms / 1000, limits.REQUEST_WAIT_S))
        if goodbye is not None and goodbye.retry_after_s is not None:
            return max(wait_s, min(goodbye.retry_after_s, limits.REQUEST_WAIT_S))
        return wait_s

    def _announce(self) -> None:
        """Wake all that wait for a connection, or for its end."""
        self._changed.set()
        self._changed = asyncio.Event()
        for stream in self._streams.values():
            stream.wake()
        for tap in self._taps.values():
            tap.wake()

    def _deliver(self, frame: Frame) -> None:
        if isinstance(frame, SessionFrame) and (stream := self._streams.get(frame.session)) is not None:
            stream.put(frame)
        elif isinstance(frame, RawFrame) and (tap := self._taps.get(frame.session)) is not None:
            tap.put(frame)


def repeatable(request: Request) -> bool:
    """Whether sending it twice does the same as once."""
    if isinstance(request, Create):
        return bool(request.key)
    if isinstance(request, Clear):
        return bool(request.message_id)  # without one it would cancel what was sent in between
    return not isinstance(request, UNREPEATABLE)


def passing(error: BetcodeError) -> bool:
    """Whether a later attempt may succeed without anybody doing something."""
    return error.code != "protocol.version" and error.exit_status in (Exit.CANNOT_CONNECT, Exit.RATE_LIMITED)


def unreachable(error: BaseException) -> BetcodeError:
    """Nobody answers on the socket."""
    if isinstance(error, BetcodeError):
        return error
    why = "no daemon is running" if isinstance(error, NOBODY_THERE) else f"the daemon cannot be reached: {error}"
    return BetcodeError(
        "daemon.unreachable", why, hint="Start it with `betcode daemon start`, or see `betcode daemon logs`."
    )
