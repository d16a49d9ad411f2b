"""What claude itself prints, line by line, as an async iterator that outlives its connections.

The cursor is (run, offset), the last byte that came. After a loss, or when the reader lags too far behind, the tap is
set again from there, so no byte is missing or doubled.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from betcode.client.connection import Connection, ConnectionLost
from betcode.client.stream import Connections
from betcode.model import limits
from betcode.model.frames import RawFrame
from betcode.model.frames import Tap as TapRequest
from betcode.wire.lines import LineSplitter


@dataclass(frozen=True, slots=True)
class RawLine:
    """One line of claude's process number `run`, without its newline.

    `missing` is the number of bytes before it that are lost: the journal was damaged, or the line was cut because it
    is longer than `limits.RAW_LINE_BYTES_MAX`.
    """

    run: int
    data: bytes
    missing: int = 0


class Tap:
    """Iterate over it for lines, for ever; `begin` first says where they begin."""

    def __init__(self, client: Connections, session: str) -> None:
        self._client = client
        self._session = session
        self._connection: Connection | None = None
        self._frames: deque[RawFrame] = deque()
        self._waiting_bytes = 0
        self._behind = False
        self._place = 0
        self._run = 0
        self._offset = 0
        self._splitter = LineSplitter(0, limits.RAW_LINE_BYTES_MAX)
        self._missing = 0
        self._lines: deque[RawLine] = deque()
        self._wake = asyncio.Event()

    def __aiter__(self) -> Tap:
        return self

    async def begin(self) -> None:
        """Set the tap now: what claude prints from here on will come. Raises BetcodeError as a request does."""
        while self._run == 0:
            await self._set(await self._client.connected())

    async def __anext__(self) -> RawLine:
        while not self._lines:
            connection = await self._client.connected()
            if connection is not self._connection:
                await self._set(connection)
            elif self._frames:
                frame = self._frames.popleft()
                self._waiting_bytes -= len(frame.data)
                self._take(frame)
            elif self._behind:
                await self._set(connection)
            else:
                self._wake.clear()
                await self._wake.wait()
        return self._lines.popleft()

    def put(self, frame: RawFrame) -> None:
        """Take a frame from the connection; those of an earlier tap are dropped."""
        if frame.place != self._place or self._behind:
            return
        if self._waiting_bytes > limits.TAP_BYTES_AHEAD:
            self._behind = True
        else:
            self._frames.append(frame)
            self._waiting_bytes += len(frame.data)
        self.wake()

    def wake(self) -> None:
        """Have the reader look at the connection again."""
        self._wake.set()

    async def _set(self, connection: Connection) -> None:
        self._frames.clear()
        self._waiting_bytes = 0
        self._behind = False
        self._place += 1
        self._connection = connection
        request = TapRequest(session=self._session, run=self._run, offset=self._offset, place=self._place)
        try:
            body = await connection.request(request)
        except ConnectionLost:
            self._connection = None
            await self._client.connected(instead_of=connection)
            return
        if self._run == 0:
            self._run, self._offset = int(body["run"]), int(body["offset"])

    def _take(self, frame: RawFrame) -> None:
        if frame.run != self._run:
            self._finish()
            self._run, self._offset = frame.run, 0
        if frame.offset != self._offset:
            self._missing += frame.offset - self._offset + self._splitter.tail
            self._splitter = LineSplitter(0, limits.RAW_LINE_BYTES_MAX)
        self._offset = frame.offset + len(frame.data)
        for line in self._splitter.feed(frame.data):
            self._add(line.data, line.original_size)

    def _finish(self) -> None:
        """The process has ended: what stands behind its last newline is its last line."""
        last = self._splitter.take_tail()
        if last is not None:
            self._add(last.data, last.original_size)
        self._splitter = LineSplitter(0, limits.RAW_LINE_BYTES_MAX)

    def _add(self, data: bytes, original_size: int | None) -> None:
        cut = 0 if original_size is None else original_size - len(data)
        self._lines.append(RawLine(self._run, data, self._missing + cut))
        self._missing = 0
