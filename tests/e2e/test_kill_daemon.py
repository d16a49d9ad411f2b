"""kill -9 of the daemon in the middle of an answer: the main promise, with the real claude."""

from __future__ import annotations

import asyncio
import os
import random
import uuid
from functools import partial

import pytest

from betcode.client.session_view import Durable, Increment
from betcode.model.frames import GetStatus, Send
from betcode.testing.installation import Installation, installation, scripted, session_of, until, words

TIMES = int(os.environ.get("BETCODE_KILLS", "30"))
WORDS = 60
CLIENTS = 3
PAUSE_S = 0.2
"""The usual pauses grow with deaths in a row, of which this test makes fifty."""


class Viewer:
    """One client's picture of the turn that answers `message_id`."""

    def __init__(self, made: Installation, session: str, seed: int) -> None:
        self.made = made
        self.session = session
        self.seed = seed
        self.seqs: list[int] = []
        self.texts: dict[str, str] = {}
        self.finals: list[str] = []
        self.ended: set[str] = set()

    def words_of(self, prefix: str) -> int:
        """How many words of this turn were seen, in whatever pieces they came."""
        return sum(text.count(prefix) for text in self.texts.values())

    async def watch(self) -> None:
        async with self.made.client(seed=self.seed, longest_pause_s=PAUSE_S) as client:
            async for news in client.stream(self.session):
                if isinstance(news, Increment):
                    self.texts[news.block] = self.texts.get(news.block, "")[: news.offset] + news.text
                elif isinstance(news, Durable):
                    self._event(news)

    def _event(self, news: Durable) -> None:
        self.seqs.append(news.event["seq"])
        if news.event["kind"] == "assistant":
            self.finals.append(news.event["text"])
            self.texts[news.event["block"]] = news.event["text"]
        elif news.event["kind"] == "turn_ended":
            self.ended.update(news.event["message_ids"])


@pytest.mark.req("PS-6")
@pytest.mark.req("INV-1")
@pytest.mark.req("INV-2")
@pytest.mark.limit(600)
def test_a_daemon_killed_at_any_point_of_an_answer_loses_nothing_and_doubles_nothing() -> None:
    """Goal: each of three clients has the script's text, seq has no hole, one request, the same claude.

    Method: one session, many turns; in each the daemon is killed with -9 after a random share (10 to 90 %) of the
    deltas was seen by the first client. The clients come back by themselves and start the next daemon.
    """
    with installation() as made:
        asyncio.run(_run(made))


async def _run(made: Installation) -> None:
    rng = random.Random(20261124)
    async with made.client(longest_pause_s=PAUSE_S) as client, session_of(made, client) as session:
        viewers = [Viewer(made, session, seed) for seed in range(1, CLIENTS + 1)]
        tasks = [asyncio.create_task(v.watch()) for v in viewers]
        claude: int | None = None
        for number in range(TIMES):
            key = str(uuid.uuid4())
            share = rng.uniform(0.1, 0.9)
            prompt = scripted(f"turn {number}", {"words": WORDS, "prefix": f"t{number}x", "delta_ms": 5})
            await client.request(Send(session=session, key=key, text=prompt))
            seen = partial(viewers[0].words_of, f"t{number}x")
            await until(lambda: seen() >= share * WORDS, within_s=60, what="the share of deltas")  # noqa: B023
            assert made.kill_daemon()
            await until(lambda: all(key in v.ended for v in viewers), within_s=60, what="the end of the turn")  # noqa: B023
            status = await client.request(GetStatus())
            [now] = [s["claude_pid"] for s in status["sessions"] if s["id"] == session]
            assert claude in (None, now), "claude was replaced"
            claude = now
        expected = [words(WORDS).replace("w", f"t{n}x") for n in range(TIMES)]
        for viewer in viewers:
            assert viewer.finals == expected
            assert list(viewer.texts.values()) == expected
            assert viewer.seqs == list(range(1, len(viewer.seqs) + 1))
        assert made.model.stats()["requests_total"] == TIMES
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
