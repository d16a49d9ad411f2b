"""One client's connection to a daemon, in memory: whole frames both ways, bounded, until one side is gone."""

from __future__ import annotations

import asyncio
from collections import deque

FRAMES_MAX = 4
"""Frames on their way: the sender of another one waits."""


class Way:
    """One direction."""

    def __init__(self) -> None:
        """Open and empty."""
        self.closed = False
        self._frames: deque[bytes] = deque()
        self._changed = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether `put` would not wait."""
        return len(self._frames) < FRAMES_MAX and not self.closed

    def put_now(self, frame: bytes) -> None:
        """Send, while `ready`."""
        self._frames.append(frame)
        self._changed.set()

    async def put(self, frame: bytes) -> None:
        """Send; waits while too much is on its way. Raises ConnectionError."""
        while len(self._frames) >= FRAMES_MAX and not self.closed:
            self._changed.clear()
            await self._changed.wait()
        if self.closed:
            raise ConnectionResetError("the other side is gone")
        self.put_now(frame)

    async def get(self) -> bytes | None:
        """The next frame; None at the end."""
        while not self._frames and not self.closed:
            self._changed.clear()
            await self._changed.wait()
        if not self._frames:
            return None
        frame = self._frames.popleft()
        self._changed.set()
        return frame

    def close(self, *, keep: bool) -> None:
        """End it; `keep` leaves what is on its way to the reader."""
        self.closed = True
        if not keep:
            self._frames.clear()
        self._changed.set()


class ModelChannel:
    """The daemon's end (`engine.ports.Channel`), and the methods of the client's end."""

    def __init__(self, client: str) -> None:
        """Connected."""
        self.client = client
        self.to_daemon = Way()
        self.to_client = Way()

    @property
    def ready(self) -> bool:
        """Whether the daemon can send at once."""
        return self.to_client.ready

    def put(self, frame: bytes) -> None:
        """The daemon sends at once."""
        self.to_client.put_now(frame)

    async def send(self, frame: bytes) -> None:
        """The daemon sends."""
        await self.to_client.put(frame)

    async def receive(self) -> bytes | None:
        """The daemon receives."""
        return await self.to_daemon.get()

    def cut(self, *, keep: bool) -> None:
        """End both ways."""
        self.to_daemon.close(keep=False)
        self.to_client.close(keep=keep)
