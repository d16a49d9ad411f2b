"""What one client sees of one session over all its connections, with the moment of each piece of news."""

from __future__ import annotations

import time
from typing import Any, Final

from betcode.client.client import Client
from betcode.client.session_view import Durable, Increment, Reset

WENT_ON: Final = frozenset({"turn_started", "assistant", "tool_result", "permission_asked", "turn_ended"})
"""Events that show that claude works."""


class View:
    """Everything that was shown so far. `watch` runs until it is cancelled; the client comes back by itself."""

    def __init__(self, client: Client, session: str) -> None:
        self._client = client
        self._session = session
        self.events: list[dict[str, Any]] = []
        self.moments_s: list[float] = []
        """When each of `events` came, on the monotonic clock."""
        self.texts: dict[str, str] = {}
        self.last_text_s = 0.0
        self.resets: list[str] = []
        self.faults: list[str] = []

    async def watch(self) -> None:
        """Take the news."""
        async for news in self._client.stream(self._session):
            if isinstance(news, Increment):
                self._text(news)
            elif isinstance(news, Durable):
                self._event(news.event)
            elif isinstance(news, Reset):
                self.resets.append(news.why)

    def _text(self, news: Increment) -> None:
        before = self.texts.get(news.block, "")
        if news.offset > len(before):
            self.faults.append(f"text of {news.block} has a hole: {len(before)} to {news.offset}")
        self.texts[news.block] = before[: news.offset] + news.text
        self.last_text_s = time.monotonic()

    def _event(self, event: dict[str, Any]) -> None:
        last = self.events[-1] if self.events else {"epoch": event["epoch"], "seq": 0}
        follows = event["seq"] == (last["seq"] if event["epoch"] == last["epoch"] else 0) + 1
        if not follows and event["kind"] != "gap":
            self.faults.append(f"event {event['epoch']}:{event['seq']} was shown after {last['epoch']}:{last['seq']}")
        self.events.append(event)
        self.moments_s.append(time.monotonic())

    def of(self, kind: str, **fields: Any) -> list[dict[str, Any]]:
        """Events of this kind with these fields."""
        return [e for e in self.events if e["kind"] == kind and all(e.get(k) == v for k, v in fields.items())]

    def words_of(self, prefix: str) -> int:
        """How many words with this prefix were shown, in whatever pieces they came."""
        return sum(text.count(prefix) for text in self.texts.values())

    def first_s(self, after: int, kinds: frozenset[str]) -> float | None:
        """When the first event of these kinds beyond the first `after` ones came; None while there is none."""
        for event, moment_s in zip(self.events[after:], self.moments_s[after:], strict=True):
            if event["kind"] in kinds:
                return moment_s
        return None

    def went_on_s(self, after: int) -> float | None:
        """When the first event beyond the first `after` ones came that another claude has made, if it came yet.

        What the dead one left is told first, then its end in a notice.
        """
        told = [n for n, e in enumerate(self.events) if n >= after and e["kind"] == "notice"]
        return self.first_s(told[0], WENT_ON) if told else None
