"""A small daemon that speaks the client protocol, and dies and rises on demand: for tests of the client."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, unix_serve
from websockets.exceptions import ConnectionClosed

from betcode.client.client import Client
from betcode.model.frames import PROTOCOL

SESSION = "abcdefghij"
"""The one session it has."""


class SmallDaemon:
    """Speaks the frames of the client protocol; its events survive its deaths."""

    def __init__(self, path: Path) -> None:
        """Does not listen before `rise`."""
        self.path = path
        self.events: list[dict[str, Any]] = []
        self.sent: list[str] = []
        """Keys of all `send` requests, in order of arrival."""
        self.answers: dict[str, Callable[[dict[str, Any]], Awaitable[dict[str, Any] | None]]] = {}
        """op -> what to answer instead; None: nothing."""
        self.version = PROTOCOL
        self.starts = 0
        self.hellos = 0
        self.pages = 64
        self._server: Server | None = None
        self._attached: dict[ServerConnection, int] = {}
        self._links: set[ServerConnection] = set()

    @property
    def stale(self) -> bool:
        """Whether the socket file is there."""
        return self.path.exists()

    @property
    def listens(self) -> bool:
        """Whether it is alive."""
        return self._server is not None

    async def rise(self) -> None:
        """Listen, over a stale socket file too."""
        self.starts += 1
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        self._server = await unix_serve(self._serve, str(self.path), compression=None, close_timeout=0.1, max_size=None)

    async def die(self) -> None:
        """As after kill -9: all sockets closed without a word, the socket file still there."""
        assert self._server is not None
        server, self._server = self._server, None
        server.close(close_connections=False)
        for link in list(self._links):
            link.transport.abort()
        await server.wait_closed()

    async def add(self, count: int = 1) -> None:
        """Store events and send them to all that are attached."""
        for _ in range(count):
            self.events.append({"kind": "note", "epoch": 1, "seq": len(self.events) + 1, "time": "", "name": "n"})
        for link, seq in list(self._attached.items()):
            with contextlib.suppress(ConnectionClosed):
                await self._send_after(link, seq)

    async def say(self, frame: dict[str, Any]) -> None:
        """Send a frame of any content to all clients."""
        for link in list(self._links):
            await link.send(json.dumps(frame))

    async def _send_after(self, link: ServerConnection, seq: int) -> None:
        while seq < len(self.events):
            page = self.events[seq : seq + self.pages]
            seq = page[-1]["seq"]
            self._attached[link] = seq
            await link.send(json.dumps({"type": "events", "session": SESSION, "epoch": 1, "events": page}))

    async def _serve(self, link: ServerConnection) -> None:
        self._links.add(link)
        try:
            async for data in link:
                await self._answer(link, json.loads(data))
        except ConnectionClosed:
            pass
        finally:
            self._links.discard(link)
            self._attached.pop(link, None)

    async def _answer(self, link: ServerConnection, request: dict[str, Any]) -> None:
        body: dict[str, Any] | None = {}
        match request["op"]:
            case "hello":
                self.hellos += 1
                await link.send(
                    json.dumps(
                        {"type": "welcome", "protocol": self.version, "version": "9", "pid": 1, "capabilities": []}
                    )
                )
                return
            case "send":
                self.sent.append(request["key"])
                body = {
                    "message_id": request["key"],
                    "state": "queued",
                    "duplicate": self.sent.count(request["key"]) > 1,
                }
            case "attach":
                body = {"session": {"id": SESSION, "state": "IDLE"}, "epoch": 1, "seq": len(self.events)}
            case "detach":
                self._attached.pop(link, None)
            case _:
                pass
        if request["op"] in self.answers:
            body = await self.answers[request["op"]](request)
        if body is None:
            return
        if "code" in body:
            await link.send(json.dumps({"type": "error", "re": request["id"], **body}))
            return
        await link.send(json.dumps({"type": "reply", "re": request["id"], "body": body}))
        if request["op"] == "attach":
            self._attached[link] = request.get("seq", 0)
            await self._send_after(link, self._attached[link])


def client_of(daemon: SmallDaemon, *, start: bool = False, seed: int = 1) -> Client:
    """A client of it, which starts it when asked to."""
    return Client(daemon.path, start_daemon=daemon.rise if start else None, rng=Random(seed))


@contextlib.asynccontextmanager
async def running(path: Path, *, start: bool = False) -> AsyncIterator[tuple[SmallDaemon, Client]]:
    """One that listens, and a client."""
    daemon = SmallDaemon(path)
    await daemon.rise()
    try:
        async with client_of(daemon, start=start) as client:
            yield daemon, client
    finally:
        if daemon.listens:
            await daemon.die()
