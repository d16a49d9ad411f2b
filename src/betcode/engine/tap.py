"""One client's place in what claude itself prints: the journal, byte by byte, run after run."""

from __future__ import annotations

from dataclasses import dataclass

from betcode.engine.feed import Feed
from betcode.engine.ports import Launcher
from betcode.model import limits
from betcode.model.frames import RawFrame


@dataclass(slots=True)
class Tap:
    """Where the client is: it has every byte of `run` before `offset`."""

    feed: Feed
    run: int
    offset: int
    place: int = 0
    """The client's name for this tap."""

    async def take(self, launcher: Launcher) -> RawFrame | None:
        """The next stretch, or None when the client has everything that was read so far."""
        run, end = self.feed.position
        while self.run <= run:
            known = end if self.run == run else self.offset + limits.JOURNAL_READ_BYTES
            wanted = min(known - self.offset, limits.JOURNAL_READ_BYTES)
            start, data = await launcher.read_raw(self.feed.session, self.run, self.offset, max(0, wanted))
            if data:
                self.offset = start + len(data)
                return RawFrame(session=self.feed.session, run=self.run, offset=start, data=data, place=self.place)
            if start > self.offset:
                self.offset = start
            elif self.run < run:
                self.run, self.offset = self.run + 1, 0
            else:
                return None
        return None
