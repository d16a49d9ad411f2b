"""One question to a daemon that is there or not, asked without the libraries: for `betcode status` and for start-up.

Importing websockets and msgspec takes longer than everything else that `betcode status` does. This speaks just enough
of RFC 6455 with the standard library: one text frame after the other, no extensions, as the daemon sends them.
"""

from __future__ import annotations

import base64
import json
import os
import socket
from pathlib import Path
from typing import Any, BinaryIO

from betcode.model import limits
from betcode.model.errors import BetcodeError, error_of

PROTOCOL = 1
"""The same as `model.frames.PROTOCOL`; a test compares them."""
_TEXT, _CLOSE, _PING, _CONTINUED = 0x1, 0x8, 0x9, 0x0
_HEAD_BYTES_MAX = 16 * 1024
"""An HTTP response head; the daemon's has some 150 bytes."""


def answers(socket_path: Path, *, timeout_s: float = limits.HELLO_WAIT_S) -> bool:
    """Whether a daemon answers there: `GET /healthz` gives any HTTP status."""
    try:
        with _connect(socket_path, timeout_s) as link:
            link.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return link.recv(9).startswith(b"HTTP/1.")
    except OSError:
        return False


def ask(socket_path: Path, op: str, *, timeout_s: float = limits.REQUEST_WAIT_S, **fields: Any) -> dict[str, Any]:
    """Send one request, such as `status`, on a connection of its own and return the body of its reply.

    Raises:
        BetcodeError: `daemon.unreachable` when nobody answers; otherwise what the daemon says.
    """
    try:
        with _connect(socket_path, timeout_s) as link, link.makefile("rb") as stream:
            reader = _Frames(link, stream)
            reader.handshake()
            reader.send({"op": "hello", "protocol": [PROTOCOL], "client": "betcode"})
            reader.reply("welcome")
            reader.send({"op": op, "id": 1, **fields})
            body: dict[str, Any] = reader.reply("reply")["body"]
            return body
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise _unreachable("no daemon is running") from error
    except TimeoutError as error:
        raise _unreachable(f"the daemon did not answer within {timeout_s:.0f} s") from error
    except (OSError, ValueError, KeyError) as error:
        raise _unreachable(f"the daemon cannot be reached: {error}") from error


def _connect(socket_path: Path, timeout_s: float) -> socket.socket:
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        link.settimeout(timeout_s)
        link.connect(str(socket_path))
    except BaseException:
        link.close()
        raise
    return link


def _unreachable(message: str) -> BetcodeError:
    return BetcodeError(
        "daemon.unreachable", message, hint="Start it with `betcode daemon start`, or see `betcode daemon logs`."
    )


class _Frames:
    """Text frames over a connected socket."""

    def __init__(self, link: socket.socket, stream: BinaryIO) -> None:
        self._link = link
        self._stream = stream

    def handshake(self) -> None:
        """Upgrade the connection. Raises ConnectionError for any answer but 101."""
        key = base64.b64encode(os.urandom(16)).decode()
        self._link.sendall(
            b"GET /v1 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key.encode() + b"\r\n\r\n"
        )
        status = self._stream.readline(_HEAD_BYTES_MAX)
        if status.split(b" ")[1:2] == [b"503"]:
            raise self._turned_away()
        if status.split(b" ")[1:2] != [b"101"]:
            raise ConnectionError(f"unexpected answer {status[:100]!r}")
        while self._stream.readline(_HEAD_BYTES_MAX) not in (b"\r\n", b""):
            pass

    def _turned_away(self) -> BetcodeError:
        """The error of a daemon that admits no more clients; the body of an older one is a sentence."""
        length = 0
        while (line := self._stream.readline(_HEAD_BYTES_MAX)) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = min(int(value), _HEAD_BYTES_MAX)
        try:
            return error_of(json.loads(self._stream.read(length)))
        except (ValueError, KeyError, TypeError):
            return BetcodeError(
                "limit.connections", "as many clients as the daemon admits are connected", hint="Close one of them."
            )

    def send(self, frame: dict[str, Any]) -> None:
        """Send a JSON object as one masked text frame."""
        data = json.dumps(frame).encode()
        if len(data) >= 126:
            raise ValueError("only short requests are asked this way")
        # The mask guards proxies against crafted requests; on a file socket zeros do.
        self._link.sendall(bytes((0x80 | _TEXT, 0x80 | len(data))) + b"\0\0\0\0" + data)

    def reply(self, kind: str) -> dict[str, Any]:
        """The next frame of this type. Raises BetcodeError for an error frame."""
        while True:
            frame = json.loads(self._message())
            if frame["type"] == kind:
                found: dict[str, Any] = frame
                return found
            if frame["type"] == "error":
                raise error_of(frame)
            if frame["type"] == "goodbye":
                raise ConnectionError(frame["reason"])

    def _message(self) -> bytes:
        """One whole text message; pings in between are not answered, since the connection ends before that matters."""
        parts: list[bytes] = []
        while True:
            first, second = self._exactly(2)
            length = second & 0x7F
            if length >= 126:
                length = int.from_bytes(self._exactly(2 if length == 126 else 8), "big")
            if length > limits.FRAME_BYTES_MAX:
                raise ConnectionError(f"the daemon sent a frame of {length} bytes")
            data = self._exactly(length)
            if first & 0x0F == _CLOSE:
                raise ConnectionError(f"the daemon closed the connection: {data[2:].decode('utf-8', 'replace')}")
            if first & 0x0F in (_TEXT, _CONTINUED):
                parts.append(data)
                if first & 0x80:
                    return b"".join(parts)

    def _exactly(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) != size:
            raise ConnectionError("the daemon closed the connection")
        return data
