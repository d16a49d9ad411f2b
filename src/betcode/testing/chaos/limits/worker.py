"""`python -m betcode.testing.chaos.limits.worker SOCKET SESSION`: a person at work, with a stopwatch.

One short turn after the other in a session that exists, until standard input ends. For each a line of JSON on standard
output. It is a process of its own, so that nothing that happens in the one that measures delays its clock.

How late a word is, is reckoned within its turn: the model sends one each `WORD_MS`, so word n is due n times this after
the first; the promptest word of the turn counts as being in time.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from pathlib import Path
from random import Random
from typing import Final

from betcode.client.client import Client
from betcode.client.session_view import Durable, Increment
from betcode.model.frames import Send
from betcode.testing.chaos.talk import FINAL
from betcode.testing.installation import scripted

WORDS: Final = 16
WORD_MS: Final = 40
PREFIX: Final = "w"
TITLE: Final = "short"
SCRIPT: Final = scripted(TITLE, {"words": WORDS, "prefix": PREFIX, "delta_ms": WORD_MS})


class Turn:
    """What came of one message and when, on the monotonic clock, which all processes of the machine share."""

    def __init__(self) -> None:
        self.key = str(uuid.uuid4())
        self.sent_s = time.monotonic()
        self.words_s: list[float] = []
        self.text = ""

    def hear(self, text: str, offset: int = 0) -> None:
        """More of the answer, or all of it. A word counts when it has begun."""
        self.text = self.text[:offset] + text
        self.words_s += [time.monotonic()] * (self.text.count(PREFIX) - len(self.words_s))

    def told(self, state: str) -> dict[str, object]:
        """What the parent is told."""
        due = [moment - n * WORD_MS / 1000 for n, moment in enumerate(self.words_s)]
        return {
            "key": self.key,
            "state": state,
            "sent_s": self.sent_s,
            "ended_s": time.monotonic(),
            "first_s": self.words_s[0] - self.sent_s if self.words_s else None,
            "late": [[moment, late - min(due)] for moment, late in zip(self.words_s, due, strict=True)],
        }


class Worker:
    """Sends, listens, tells; with `over` set, until the end of the turn."""

    def __init__(self, client: Client, session: str) -> None:
        self._client = client
        self._session = session
        self._turn = Turn()
        self.over = False

    async def work(self) -> None:
        """Return after the last turn."""
        await self._send()
        async for news in self._client.stream(self._session):
            if isinstance(news, Increment):
                self._turn.hear(news.text, news.offset)
            elif isinstance(news, Durable):
                event = news.event
                if event["kind"] == "assistant" and event["part"] == "text":
                    self._turn.hear(event["text"])
                elif event.get("message_id") == self._turn.key and event.get("state") in FINAL:
                    print(json.dumps(self._turn.told(event["state"])), flush=True)
                    if self.over:
                        return
                    self._turn = Turn()
                    await self._send()

    async def _send(self) -> None:
        await self._client.request(Send(session=self._session, key=self._turn.key, text=SCRIPT))


async def until_told(socket: Path, session: str) -> None:
    """Work until standard input ends."""
    async with Client(socket, start_daemon=None, rng=Random(1)) as client:
        worker = Worker(client, session)
        working = asyncio.create_task(worker.work())
        ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        await asyncio.wait((working, ended), return_when=asyncio.FIRST_COMPLETED)
        worker.over = True
        await working


if __name__ == "__main__":
    asyncio.run(until_told(Path(sys.argv[1]), sys.argv[2]))
