"""The news of one session as an async iterator that outlives its connections.

The reader pulls: a stream attaches when it is read, on whatever connection there is then, and again after each loss,
hole or overflow, from its view's cursor. A reader that lags costs no more memory than `FRAMES_AHEAD` frames.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

from betcode.client.connection import Connection, ConnectionLost
from betcode.client.session_view import Hole, News, SessionView
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.frames import Attach, Detach, SessionFrame

FRAMES_AHEAD = limits.FRAME_EVENTS_MAX
"""Frames that wait for a slow reader; then they are dropped and asked for again. The daemon merges what is newer."""
SAME_HOLE_MAX = 3
"""The same hole after this many attachments is in the daemon's data, and attaching again will not close it."""


class Connections(Protocol):
    """What a stream needs of its client."""

    @property
    def present(self) -> Connection | None:
        """The connection of this moment, if there is one."""
        ...

    async def connected(self, *, instead_of: Connection | None = None) -> Connection:
        """Wait for a connection other than `instead_of`. Raises BetcodeError when there will be none."""
        ...

    def forget(self, session: str) -> None:
        """The stream of this session has ended."""
        ...


@dataclass(frozen=True, slots=True)
class Attached:
    """The session as it stands, and the last event it has; `again` after a loss. Missing events come next."""

    session: dict[str, Any]
    epoch: int
    seq: int
    again: bool


class Stream:
    """Iterate over it for `Attached` and the news of `SessionView`; close it with `aclose`.

    Iterating raises BetcodeError when the session is unknown or the client has given up.
    """

    def __init__(self, client: Connections, session: str, *, epoch: int, seq: int, from_end: bool) -> None:
        self.view = SessionView(epoch, seq)
        self._client = client
        self._session = session
        self._from_end = from_end
        self._connection: Connection | None = None
        self._frames: deque[SessionFrame] = deque()
        self._behind = False
        self._news: deque[News | Attached] = deque()
        self._wake = asyncio.Event()
        self._ever = False
        self._holes: tuple[int, int] = (0, 0)
        """(seq that was expected, how many times in a row it was missing)"""

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> News | Attached:
        while not self._news:
            connection = await self._client.connected()
            if connection is not self._connection:
                await self._attach(connection)
            elif self._frames:
                self._take(self._frames.popleft())
            elif self._behind or self.view.broken:
                await self._attach_again(connection)
            else:
                self._wake.clear()
                await self._wake.wait()
        return self._news.popleft()

    async def aclose(self) -> None:
        """Stop the daemon from sending more."""
        self._client.forget(self._session)
        if self._connection is not None and self._connection is self._client.present:
            try:
                await self._connection.request(Detach(session=self._session), timeout_s=limits.CLOSE_WAIT_S)
            except (ConnectionLost, BetcodeError):
                return  # then it sends nothing more either, or it is ignored

    def put(self, frame: SessionFrame) -> None:
        """Take a frame from the connection."""
        if self._behind:
            return
        if len(self._frames) >= FRAMES_AHEAD:
            self._behind = True
        else:
            self._frames.append(frame)
        self.wake()

    def wake(self) -> None:
        """Have the reader look at the connection again."""
        self._wake.set()

    def _take(self, frame: SessionFrame) -> None:
        for item in self.view.apply(frame):
            if isinstance(item, Hole):
                self._count_hole(item)
            else:
                self._news.append(item)

    def _count_hole(self, hole: Hole) -> None:
        before, times = self._holes
        self._holes = (hole.expected, times + 1 if before == hole.expected else 1)
        if self._holes[1] >= SAME_HOLE_MAX:
            raise BetcodeError(
                "internal",
                f"event {hole.expected} of session {self._session} is missing in what the daemon sends",
                hint="This is a defect. Read the session with `betcode sessions show`, and report it with its output.",
            )

    async def _attach_again(self, connection: Connection) -> None:
        """On the same connection: first make sure that nothing of the old attachment is still on its way."""
        try:
            await connection.request(Detach(session=self._session))
        except ConnectionLost:
            await self._client.connected(instead_of=connection)
            return
        await self._attach(connection)

    async def _attach(self, connection: Connection) -> None:
        self._frames.clear()
        self._behind = False
        self.view.attached()
        self._connection = connection
        view = self.view
        from_end = self._from_end and view.epoch == 0
        attach = Attach(session=self._session, epoch=view.epoch, seq=view.seq, from_end=from_end)
        try:
            body = await connection.request(attach)
        except ConnectionLost:
            self._connection = None
            await self._client.connected(instead_of=connection)
            return
        epoch, seq = int(body["epoch"]), int(body["seq"])
        if from_end:
            view.anchor(epoch, seq)
        self._news.append(Attached(body["session"], epoch, seq, self._ever))
        self._ever = True
