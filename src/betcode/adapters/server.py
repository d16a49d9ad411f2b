"""The local server: WebSocket frames, /healthz and /metrics on one Unix socket that only its owner can use (SE-1)."""

from __future__ import annotations

import asyncio
import http
import json
import math
import os
import socket
import stat
import struct
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, unix_serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from betcode.core.admission import Admitted, Ceilings, Kind, Load, admit
from betcode.core.backoff import delay_s
from betcode.model import admission_limits, limits
from betcode.model.errors import BetcodeError
from betcode.model.frames import URGENT_PATH
from betcode.wire.client_api import encode_frame, failed

_UCRED = struct.Struct("3i")
_OVER = 64 * 1024
"""How much larger than allowed a frame may be and still be read, so that its sender is told its size."""

Retrying = Callable[[BetcodeError, float], None]
"""Told that an attempt to make the socket failed, and after how many seconds the next one follows."""
Page = Callable[[], Awaitable[tuple[int, str, bytes]]]
"""Makes one page: status, content type, body."""


class Framing:
    """The newest frame as it goes over the wire. A server's frames are not masked, so all clients share the bytes."""

    def __init__(self) -> None:
        """Nothing was sent yet."""
        self._frame = b""
        self._on_wire = b""

    def on_wire(self, frame: bytes) -> bytes:
        """The frame with its WebSocket header; the very same object as the last time costs nothing."""
        if frame is self._frame:
            return self._on_wire
        on_wire = Frame(Opcode.TEXT, frame).serialize(mask=False)
        if len(frame) <= limits.FRAME_BYTES_SOFT:  # nearly all; a large one is not to be kept in memory
            self._frame, self._on_wire = frame, on_wire
        return on_wire


class SocketChannel:
    """One WebSocket connection (`engine.ports.Channel`)."""

    def __init__(self, connection: ServerConnection, client: str, framing: Framing, *, urgent: bool = False) -> None:
        """`client`: what is known of the other side before it says hello. `urgent`: it came by `URGENT_PATH`."""
        self.client = client
        self.urgent = urgent
        self._connection = connection
        self._transport = connection.transport
        self._protocol = connection.protocol
        self._framing = framing

    @property
    def ready(self) -> bool:
        """Whether a frame can be sent at once: the connection is open, and the system has taken all before it."""
        return self._protocol.state is State.OPEN and self._transport.get_write_buffer_size() == 0

    def put(self, frame: bytes) -> None:
        """Send one text frame past the library's queue, which is empty: a fifth of the work of its `send`."""
        self._transport.write(self._framing.on_wire(frame))

    async def send(self, frame: bytes) -> None:
        """Send one text frame; returns when the transport can take more."""
        if self.ready:
            self.put(frame)
            return
        connection = self._connection
        try:
            await connection.send(frame, text=True)
        except ConnectionClosed as error:
            raise ConnectionError("the client is gone") from error

    async def receive(self) -> bytes | None:
        """The next frame, or None at the end. Raises BetcodeError `frame.too_large`."""
        try:
            data = await self._connection.recv(decode=False)
        except ConnectionClosed:
            return None
        if len(data) > limits.FRAME_BYTES_MAX:
            raise _too_large(f"a frame of {len(data)} bytes")
        return data


class _TellingConnection(ServerConnection):
    """Sends our own error before the connection ends for a frame that is too large to be read at all."""

    def __init__(self, protocol: ServerProtocol, server: Server, **options: Any) -> None:
        super().__init__(protocol, server, **options)
        fail = protocol.fail

        def tell_and_fail(code: CloseCode | int, reason: str = "") -> None:
            if code == CloseCode.MESSAGE_TOO_BIG and protocol.state is State.OPEN:
                error = _too_large(reason)
                protocol.send_text(encode_frame(failed(0, error)))
            fail(code, reason)

        protocol.fail = tell_and_fail  # type: ignore[method-assign]


def _too_large(what: str) -> BetcodeError:
    return BetcodeError(
        "frame.too_large",
        what,
        hint=f"At most {limits.FRAME_BYTES_MAX} bytes; send a large text as a file that claude reads.",
    )


class LocalServer:
    """Listens on one socket path. `serve_client` gets each connection that is allowed."""

    def __init__(
        self,
        path: Path,
        serve_client: Callable[[SocketChannel], Awaitable[None]],
        pages: dict[str, Page],
        *,
        clients_max: int = limits.CONNECTIONS_MAX,
    ) -> None:
        """`pages`: HTTP GET paths beside the WebSocket. One client more than `clients_max` gets a 503."""
        self._path = path
        self._serve_client = serve_client
        self._pages = pages
        self._server: Server | None = None
        self._bound = (0, 0)
        self._clients_max = clients_max
        self._framing = Framing()
        self.clients = 0

    async def start(self, *, rng: Random, retrying: Retrying = lambda error, pause_s: None) -> None:
        """Bind and listen. The caller holds the daemon's lock, so a socket file that is there is stale.

        Tries `limits.BIND_TRIES` times, with growing pauses.

        Raises:
            BetcodeError: `daemon.socket`, `config.insecure`.
        """
        for attempt in range(1, limits.BIND_TRIES):
            try:
                listener = self._bind()
                break
            except BetcodeError as error:
                pause_s = delay_s(attempt, first_s=limits.BIND_PAUSE_FIRST_S, max_s=limits.BIND_PAUSE_MAX_S, rng=rng)
                retrying(error, pause_s)
                await asyncio.sleep(pause_s)
        else:
            listener = self._bind()
        found = self._path.stat()
        if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) != 0o600:
            raise BetcodeError(
                "config.insecure",
                f"the socket {str(self._path)!r} is open to other users",
                hint="Use a runtime directory on a file system that keeps permissions.",
            )
        self._bound = (found.st_dev, found.st_ino)
        self._server = await unix_serve(
            self._on_connection,
            sock=listener,
            process_request=self._on_request,
            compression=None,
            max_size=limits.FRAME_BYTES_MAX + _OVER,
            max_queue=2,
            create_connection=_TellingConnection,
            ping_interval=None,  # on a Unix socket the end of the other side is always seen
            close_timeout=limits.CLOSE_WAIT_S,
            server_header=None,
        )

    def _bind(self) -> socket.socket:
        """The socket, in its place and closed to others. Raises BetcodeError `daemon.socket`."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._path.unlink(missing_ok=True)
            old = os.umask(0o177)
            try:
                listener.bind(str(self._path))
            finally:
                os.umask(old)
            os.chmod(self._path, 0o600)
        except OSError as error:
            listener.close()
            raise BetcodeError(
                "daemon.socket",
                f"cannot create the socket {str(self._path)!r}: {error.strerror or error}",
                hint="Look what is in its place, or choose another runtime directory: --runtime-dir or"
                " BETCODE_RUNTIME_DIR.",
            ) from error
        return listener

    async def stop(self) -> None:
        """Close all connections, stop listening and remove the socket file."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        with suppress(FileNotFoundError):
            found = self._path.stat()
            if (found.st_dev, found.st_ino) == self._bound:  # it may be that of a later daemon
                self._path.unlink()

    async def _on_request(self, connection: ServerConnection, request: Request) -> Response | None:
        if not _is_owner(connection):
            return _response(http.HTTPStatus.FORBIDDEN, "text/plain", b"only the owner of this daemon may connect\n")
        page = self._pages.get(request.path.partition("?")[0])
        if page is not None:
            code, content_type, body = await page()
            return _response(http.HTTPStatus(code), content_type, body)
        if "Origin" in request.headers:
            return _response(http.HTTPStatus.FORBIDDEN, "text/plain", b"browsers cannot use this socket\n")
        return self._turned_away(urgent=_is_urgent(request))

    def _turned_away(self, *, urgent: bool) -> Response | None:
        """The answer to one client too many; its body is an error like that of the protocol."""
        most = self._clients_max + (admission_limits.CLIENTS_URGENT_MAX if urgent else 0)
        decision = admit(Kind.CONNECTION, Load(clients=self.clients), Ceilings(clients=most), 0.0)
        if isinstance(decision, Admitted):
            return None
        body = json.dumps(decision.error().view()).encode()
        response = _response(http.HTTPStatus.SERVICE_UNAVAILABLE, "application/json", body)
        response.headers["Retry-After"] = str(math.ceil(decision.retry_after_ms / 1000))
        return response

    async def _on_connection(self, connection: ServerConnection) -> None:
        self.clients += 1
        try:
            urgent = connection.request is not None and _is_urgent(connection.request)
            await self._serve_client(SocketChannel(connection, "client", self._framing, urgent=urgent))
        finally:
            self.clients -= 1


def _is_urgent(request: Request) -> bool:
    return request.path.partition("?")[0] == URGENT_PATH


def _is_owner(connection: ServerConnection) -> bool:
    """Whether the other end runs as our user; where the platform does not tell, the 0700 directory must do."""
    raw = connection.transport.get_extra_info("socket")
    if raw is None or sys.platform != "linux":
        return True
    _, uid, _ = _UCRED.unpack(raw.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return bool(uid == os.getuid())


def _response(status: http.HTTPStatus, content_type: str, body: bytes) -> Response:
    headers = Headers([("Content-Type", content_type), ("Content-Length", str(len(body))), ("Connection", "close")])
    return Response(status.value, status.phrase, headers, body)
