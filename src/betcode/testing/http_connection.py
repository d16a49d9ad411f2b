"""One HTTP/1.1 connection of the model server: keep-alive requests in; heads, chunks, resets and silence out.

Written by hand on asyncio because a library would finish or repair exactly the answers that have to be broken: a reset
inside a stream, a stream that ends too early, silence of a given length. Only HTTP/1.1, only what API clients send.
"""

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

from betcode.testing.limits import BODY_BYTES_MAX, HEAD_BYTES_MAX, RESET_SETTLE_S

_SHORT_PAUSE_S = (
    0.25  # a shorter pause is a plain sleep: cheaper, and a client that left meanwhile is seen right after it
)


class ClientGone(Exception):
    """The other end closed the connection; nothing more can be read or sent."""


class BadRequest(Exception):
    """The request cannot be understood; `status` is what HTTP says to that. The connection ends after the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """One request; header names are in lower case, `path` is without the query."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Connection(asyncio.Protocol):
    """The bytes of one client. `serve` runs as a task from the connection's start to its end."""

    def __init__(self, serve: "Callable[[Connection], Awaitable[None]]") -> None:
        self._serve = serve
        self._inbox = bytearray()
        self._more = asyncio.Event()
        self._gone = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._transport: asyncio.Transport
        self._task: asyncio.Task[None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start serving."""
        self._transport = cast(asyncio.Transport, transport)  # a TCP server is never given another kind
        self._transport.set_write_buffer_limits(high=0)  # then "written" means that the kernel has it
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            with contextlib.suppress(ClientGone):  # whoever was answering has recorded it
                await self._serve(self)
        finally:
            self._transport.close()  # also after a defect: nobody shall wait for an answer that does not come

    def data_received(self, data: bytes) -> None:
        """Keep what came; a client that sends more than one largest request ahead is cut off."""
        self._inbox += data
        self._more.set()
        if len(self._inbox) > BODY_BYTES_MAX + 2 * HEAD_BYTES_MAX:
            self._transport.abort()

    def eof_received(self) -> None:
        """No API client closes its half and waits, so this is the end."""
        self._hang_up()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever waits."""
        del exc
        self._hang_up()

    def _hang_up(self) -> None:
        self._gone.set()
        self._more.set()
        self._writable.set()

    def pause_writing(self) -> None:
        """The kernel takes no more for now."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The kernel has taken everything."""
        self._writable.set()

    async def read_request(self) -> Request:
        """The next request. Raises ClientGone between or inside requests, BadRequest for what is not HTTP/1.1."""
        head = await self._until(b"\r\n\r\n", HEAD_BYTES_MAX)
        first, *lines = head.decode("latin-1").split("\r\n")
        parts = first.split(" ")
        if len(parts) != 3 or parts[2] != "HTTP/1.1":
            raise BadRequest(505, f"not an HTTP/1.1 request line: {first[:100]!r}")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = await self._chunks()
        else:
            body = await self._exactly(_length(headers.get("content-length", "0"), 10))
        return Request(method=parts[0], path=parts[1].partition("?")[0], headers=headers, body=body)

    async def send_head(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the status line and the headers."""
        phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Scripted"
        lines = (f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers.items()))
        await self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")

    async def send_chunk(self, payload: bytes) -> None:
        """Send one chunk of a chunked body; the empty one ends the body."""
        await self.send(b"%x\r\n%b\r\n" % (len(payload), payload))

    async def send(self, payload: bytes) -> None:
        """Hand bytes to the kernel. Raises ClientGone if the client is not there any more."""
        if not self._gone.is_set():
            self._transport.write(payload)
            await self._writable.wait()
        if self._gone.is_set():
            raise ClientGone

    async def pause(self, seconds: float) -> None:
        """Stay silent. Raises ClientGone as soon as the client leaves (at the latest after a short pause)."""
        if seconds < _SHORT_PAUSE_S:
            await asyncio.sleep(seconds)
        else:
            try:
                async with asyncio.timeout(seconds):
                    await self._gone.wait()
            except TimeoutError:
                return  # the silence is over, the client is still there
        if self._gone.is_set():
            raise ClientGone

    async def reset(self) -> None:
        """Reset the connection (RST instead of FIN), after the client had time to read what it was sent."""
        await self.pause(RESET_SETTLE_S)
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def close(self) -> None:
        """End the connection in order, after what was written."""
        self._transport.close()

    async def _until(self, mark: bytes, size_max: int) -> bytes:
        """The bytes before `mark`, which is taken away, too."""
        looked = 0
        while (end := self._inbox.find(mark, looked)) < 0:
            if len(self._inbox) > size_max:
                raise BadRequest(431, f"no end of the head or chunk size within {size_max} bytes")
            looked = max(0, len(self._inbox) - len(mark))
            await self._wait_for_more()
        return self._take(end, len(mark))

    async def _exactly(self, size: int) -> bytes:
        while len(self._inbox) < size:
            await self._wait_for_more()
        return self._take(size, 0)

    async def _chunks(self) -> bytes:
        body = bytearray()
        while size := _length(
            (await self._until(b"\r\n", HEAD_BYTES_MAX)).decode("latin-1").partition(";")[0].strip(), 16
        ):
            body += await self._exactly(size)
            if await self._exactly(2) != b"\r\n" or len(body) > BODY_BYTES_MAX:
                raise BadRequest(413, f"a chunk without its end, or a body over {BODY_BYTES_MAX} bytes")
        while await self._until(b"\r\n", HEAD_BYTES_MAX):
            pass  # trailers
        return bytes(body)

    def _take(self, size: int, dropped: int) -> bytes:
        taken = bytes(self._inbox[:size])
        del self._inbox[: size + dropped]
        return taken

    async def _wait_for_more(self) -> None:
        if self._gone.is_set():
            raise ClientGone
        self._more.clear()
        await self._more.wait()


def _length(digits: str, base: int) -> int:
    if not re.fullmatch(r"[0-9A-Fa-f]{1,12}", digits) or (base == 10 and not digits.isdigit()):
        raise BadRequest(400, f"not a length: {digits[:40]!r}")
    if (length := int(digits, base)) > BODY_BYTES_MAX:
        raise BadRequest(413, f"a body of {length} bytes; at most {BODY_BYTES_MAX}")
    return length
