"""A client's side of one connection: requests matched with replies, frames handed on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

from msgspec.structs import replace as change

from betcode.model import limits
from betcode.model.frames import Failed, Goodbye, Hello, Reply, Request, SessionFrame, Welcome
from betcode.testing.simulator.channel import ModelChannel
from betcode.testing.simulator.stage import Stage
from betcode.wire.client_api import decode_frame, encode_request

OnFrame = Callable[["Talk", SessionFrame], None]


class Lost(Exception):
    """The connection is gone: whether the request was done is unknown."""


class Refused(Exception):
    """The daemon did not do it."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(f"{failed.code}: {failed.message}")
        self.code = failed.code


class Talk:
    """One connection that has said hello."""

    def __init__(self, stage: Stage, channel: ModelChannel, on_frame: OnFrame, rng: Random) -> None:
        """`on_frame` is called with each frame of an attached session."""
        self.lost = False
        self._stage = stage
        self._channel = channel
        self._on_frame = on_frame
        self._rng = rng
        self._next_id = 1
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._welcome: asyncio.Future[None] = stage.loop.create_future()
        self._reader = stage.task(self._read(), f"reader of {channel.client}")

    async def hello(self) -> None:
        """Greet. Raises Lost."""
        await self._send(Hello(id=0, protocol=[1], client=self._channel.client))
        try:
            async with asyncio.timeout(limits.HELLO_WAIT_S):
                await self._welcome
        except TimeoutError:
            raise Lost from None

    async def request(self, request: Request) -> dict[str, Any]:
        """Ask, and wait for the answer. Raises Lost, Refused."""
        number = self._next_id
        self._next_id += 1
        answer: asyncio.Future[dict[str, Any]] = self._stage.loop.create_future()
        self._waiting[number] = answer
        try:
            async with asyncio.timeout(limits.REQUEST_WAIT_S):
                await self._send(change(request, id=number))
                return await answer
        except TimeoutError:
            self.leave()
            raise Lost from None
        finally:
            self._waiting.pop(number, None)

    async def _send(self, request: Request) -> None:
        try:
            await self._channel.to_daemon.put(encode_request(request))
        except ConnectionError:
            raise Lost from None

    def leave(self) -> None:
        """Break the connection."""
        self._channel.cut(keep=False)

    async def _read(self) -> None:
        while (data := await self._channel.to_client.get()) is not None:
            if self._stage.plan.chance(self._rng, "client", 0.1):
                await asyncio.sleep(self._rng.uniform(0.01, 2.0))
            frame = decode_frame(data)
            match frame:
                case Welcome() if not self._welcome.done():
                    self._welcome.set_result(None)
                case Reply():
                    self._answered(frame.re, frame.body, None)
                case Failed():
                    self._answered(frame.re, {}, Refused(frame))
                case SessionFrame():
                    self._on_frame(self, frame)
                case Goodbye():
                    break
                case _:
                    pass
        self.lost = True
        self._channel.cut(keep=False)
        waiting: list[asyncio.Future[Any]] = [*self._waiting.values(), self._welcome]
        for future in waiting:
            if not future.done():
                future.set_exception(Lost())
        if not self._welcome.cancelled():
            self._welcome.exception()  # seen

    def _answered(self, number: int, body: dict[str, Any], error: Refused | None) -> None:
        future = self._waiting.get(number)
        if future is None or future.done():
            return
        if error is None:
            future.set_result(body)
        else:
            future.set_exception(error)
