"""A way to a Unix socket that breaks after a given number of bytes, once or each time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path


class CuttingProxy:
    """Passes bytes on in both directions until it cuts. Use `cutting_proxy`."""

    def __init__(self, path: Path, target: Path) -> None:
        """Listens on `path`; `target` is the real socket."""
        self.path = path
        self.cuts = 0
        """Connections that were cut."""
        self._target = target
        self._left: dict[str, int] = {}
        self._again: dict[str, int] = {}
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def cut(self, direction: str, after: int, *, for_ever: bool = False) -> None:
        """From now on: cut when so many more bytes went `up` (to the target) or `down`.

        `for_ever`: each later connection too, when as many went over it.
        """
        self._left = {direction: after}
        self._again = {direction: after} if for_ever else {}

    def heal(self) -> None:
        """Cut no more."""
        self._left, self._again = {}, {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            upstream, up = await asyncio.open_unix_connection(str(self._target))
        except OSError:
            writer.transport.abort()
            return
        both = (writer, up)
        self._writers.update(both)
        if self._again:
            self._left = dict(self._again)
        up_task = asyncio.create_task(self._pass("up", reader, up, both))
        down_task = asyncio.create_task(self._pass("down", upstream, writer, both))
        self._tasks |= {up_task, down_task}
        await asyncio.wait({up_task, down_task})
        self._tasks -= {up_task, down_task}
        self._writers.difference_update(both)

    async def _pass(
        self,
        direction: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        both: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                left = self._left.get(direction)
                if left is not None and len(data) >= left:
                    writer.write(data[:left])
                    await writer.drain()
                    self.cuts += 1
                    self._left = {}
                    break
                if left is not None:
                    self._left[direction] = left - len(data)
                writer.write(data)
                await writer.drain()
        for end in both:
            end.close()

    async def close(self) -> None:
        """End all connections."""
        for writer in self._writers:
            writer.transport.abort()
        if self._tasks:
            await asyncio.wait(self._tasks)


@contextlib.asynccontextmanager
async def cutting_proxy(path: Path, target: Path) -> AsyncIterator[CuttingProxy]:
    """Listen on `path`."""
    proxy = CuttingProxy(path, target)
    server = await asyncio.start_unix_server(proxy.serve, str(path))
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
