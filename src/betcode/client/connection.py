"""One WebSocket to a daemon: hello, requests matched with their replies, and the frames of attached sessions.

It does not come back when it breaks; `client.Client` opens the next one. One task reads. What is waiting when the
connection ends gets `ConnectionLost`: whether the daemon did it is then unknown.
"""

from __future__ import annotations

import asyncio
import http
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from msgspec import to_builtins
from msgspec.structs import replace as change
from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from betcode.model import limits
from betcode.model.errors import BetcodeError, error_of
from betcode.model.frames import (
    PROTOCOL,
    URGENT_PATH,
    Failed,
    Frame,
    Goodbye,
    Hello,
    RawFrame,
    Reply,
    Request,
    SessionFrame,
    SessionsFrame,
    Welcome,
)
from betcode.wire.client_api import check, decode_frame, encode_request

URI = "ws://localhost/v1"
"""The host part is only for the HTTP header; the socket is a file."""
URGENT_URI = f"ws://localhost{URGENT_PATH}"
"""For a client that only answers questions and stops work."""

R = TypeVar("R", bound=Request)


class ConnectionLost(Exception):
    """The connection ended. `goodbye` is the daemon's last word, if it said one."""

    def __init__(self, why: str, goodbye: Goodbye | None = None) -> None:
        super().__init__(why)
        self.goodbye = goodbye


class Connection:
    """An open connection. `welcome` is the daemon's answer to hello."""

    def __init__(self, socket: ClientConnection, welcome: Welcome, deliver: Callable[[Frame], None]) -> None:
        self.welcome = welcome
        self._socket = socket
        self._deliver = deliver
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._goodbye: Goodbye | None = None
        self._lost: ConnectionLost | None = None
        self._reader = asyncio.create_task(self._read(), name="connection reader")

    @classmethod
    async def open(
        cls, socket_path: Path, hello: Hello, deliver: Callable[[Frame], None], *, urgent: bool = False
    ) -> Connection:
        """Connect and agree on a protocol version.

        Args:
            socket_path: the daemon's socket.
            hello: who this client is; its `protocol` is filled in here.
            urgent: only what is never refused will be asked for (`core.admission.NEVER_REFUSED`).
            deliver: called with each SessionFrame, SessionsFrame and RawFrame, in order. It must not block.

        Raises:
            OSError: nobody listens there.
            ConnectionLost: the daemon went away, or is none.
            BetcodeError: the daemon refused, such as `protocol.version` or `limit.connections`.
        """
        try:
            async with asyncio.timeout(limits.HELLO_WAIT_S):
                socket = await unix_connect(
                    str(socket_path),
                    URGENT_URI if urgent else URI,
                    compression=None,
                    proxy=None,
                    max_size=limits.FRAME_BYTES_MAX,
                    open_timeout=None,
                    ping_interval=limits.REQUEST_WAIT_S,
                    ping_timeout=limits.REQUEST_WAIT_S,
                    close_timeout=limits.CLOSE_WAIT_S,
                )
                try:
                    welcome = await cls._greet(socket, hello)
                except BaseException:
                    socket.transport.abort()
                    raise
        except TimeoutError:
            raise ConnectionLost(f"no answer on the socket within {limits.HELLO_WAIT_S:.0f} s") from None
        except InvalidStatus as refused:
            if refused.response.status_code != http.HTTPStatus.SERVICE_UNAVAILABLE:
                raise ConnectionLost(f"the socket is not that of a daemon: {refused}") from refused
            raise turned_away(bytes(refused.response.body or b"")) from refused
        except (WebSocketException, EOFError) as error:
            raise ConnectionLost(f"the connection ended before the daemon's welcome: {error}") from error
        return cls(socket, welcome, deliver)

    @staticmethod
    async def _greet(socket: ClientConnection, hello: Hello) -> Welcome:
        await socket.send(encode_request(change(hello, protocol=[PROTOCOL])), text=True)
        frame = decode_frame(await socket.recv())
        match frame:
            case Welcome() if frame.protocol == PROTOCOL:
                return frame
            case Welcome():
                raise BetcodeError(
                    "protocol.version",
                    f"the daemon (betcode {frame.version}) speaks version {frame.protocol}, this client {PROTOCOL}",
                    hint="Restart the daemon with this version: betcode daemon stop; betcode daemon start",
                )
            case Failed():
                raise error_of(to_builtins(frame))
            case Goodbye():
                raise ConnectionLost(frame.reason, frame)
            case _:
                raise BetcodeError(
                    "frame.unexpected",
                    "the daemon did not answer hello with welcome",
                    hint="Client and daemon may be of different versions: betcode version; betcode daemon status",
                )

    async def request(self, request: R, *, timeout_s: float = limits.REQUEST_WAIT_S) -> dict[str, Any]:
        """Send one request and return the body of its reply.

        If cancelled, the request may still be carried out.

        Raises:
            BetcodeError: the daemon refused it, or a field is outside its limits (then nothing is sent), or no
                reply came in time (`daemon.unreachable`).
            ConnectionLost: the connection ended before the reply.
        """
        number = next(self._ids)
        frame = prepared(change(request, id=number))
        if self._lost is not None:
            raise ConnectionLost(str(self._lost), self._lost.goodbye)
        reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = reply
        try:
            async with asyncio.timeout(timeout_s):
                await self._socket.send(frame, text=True)
                return await reply
        except TimeoutError:
            raise BetcodeError(
                "daemon.unreachable",
                f"the daemon did not reply within {timeout_s:.0f} s",
                hint="It is very busy or was stopped by a signal; see: betcode daemon logs",
            ) from None
        except ConnectionClosed as closed:
            raise self._end(closed) from closed
        finally:
            del self._waiting[number]
            if reply.done() and not reply.cancelled():
                reply.exception()  # looked at, or asyncio complains of a loss that the failed `send` has told already

    async def wait_lost(self) -> ConnectionLost:
        """Return when the connection has ended, with the reason."""
        await asyncio.wait([self._reader])
        if not self._reader.cancelled() and (error := self._reader.exception()) is not None:
            raise error
        return self._lost or ConnectionLost("closed by this client")

    async def close(self) -> None:
        """Say goodbye and stop reading. What is still waiting gets `ConnectionLost`."""
        await self._socket.close()
        await asyncio.wait([self._reader])

    async def _read(self) -> None:
        try:
            while True:
                self._take(decode_frame(await self._socket.recv(decode=False)))
        except ConnectionClosed as closed:
            self._end(closed)
        finally:
            lost = self._lost or ConnectionLost("the daemon sent what this client cannot read")
            self._lost = lost
            for reply in self._waiting.values():
                if not reply.done():
                    reply.set_exception(ConnectionLost(str(lost), lost.goodbye))
            self._socket.transport.abort()

    def _take(self, frame: Frame) -> None:
        match frame:
            case Reply():
                reply = self._waiting.get(frame.re)
                if reply is not None and not reply.done():
                    reply.set_result(frame.body)
            case Failed():
                reply = self._waiting.get(frame.re)
                if reply is not None and not reply.done():
                    reply.set_exception(error_of(to_builtins(frame)))
            case SessionFrame() | SessionsFrame() | RawFrame():
                self._deliver(frame)
            case Goodbye():
                self._goodbye = frame
            case _:
                pass  # a second welcome says nothing new

    def _end(self, closed: ConnectionClosed) -> ConnectionLost:
        if self._lost is None:
            why = self._goodbye.reason if self._goodbye is not None else f"the connection to the daemon ended: {closed}"
            self._lost = ConnectionLost(why, self._goodbye)
        return self._lost


def turned_away(body: bytes) -> BetcodeError:
    """The error of a daemon that admits no more clients; the body of an older one is a sentence."""
    try:
        return error_of(json.loads(body))
    except (ValueError, KeyError, TypeError):
        return BetcodeError(
            "limit.connections",
            "the daemon has as many clients as it admits",
            hint="Close some, such as terminals that watch a session, and try again.",
        )


def prepared(request: Request) -> bytes:
    """The frame of a request that is within its limits. Raises BetcodeError `request.invalid` or `frame.too_large`."""
    try:
        check(request)  # type: ignore[arg-type]
        frame = encode_request(request)
    except UnicodeEncodeError:
        raise BetcodeError(
            "request.invalid",
            "the text holds bytes that are no UTF-8",
            hint="Convert it first, for example: iconv -f LATIN1 -t UTF-8 FILE | betcode run -",
        ) from None
    if len(frame) > limits.FRAME_BYTES_MAX:
        raise BetcodeError(
            "frame.too_large",
            f"the request has {len(frame)} bytes; at most {limits.FRAME_BYTES_MAX} are allowed",
            hint="Put the text into a file and ask claude to read it.",
        )
    return frame
