"""The usage windows of one upstream: how much of each is used, and which are used up (RL-2)."""

from __future__ import annotations

from dataclasses import dataclass, field

from betcode.core.upstream_news import WindowTold
from betcode.model import upstream_limits as limits
from betcode.model.upstream import Window

DAY_S = 86_400.0
FAMILIES = ("opus", "sonnet", "haiku", "fable")
"""Words in the name of a window that is for some models only, and in the names of those models."""


@dataclass(slots=True)
class UsageWindows:
    """By name; at most `WINDOWS_KEPT`, the newest."""

    known: dict[str, Window] = field(default_factory=dict)

    @classmethod
    def of(cls, windows: tuple[Window, ...]) -> UsageWindows:
        """Those that were stored."""
        return cls({window.name: window for window in windows[-limits.WINDOWS_KEPT :]})

    def all(self) -> tuple[Window, ...]:
        """All of them, in the order in which they were last told."""
        return tuple(self.known.values())

    def tell(self, news: WindowTold, now_s: float) -> Window | None:
        """The API told about one. Returns it; None when it is over already or is to end impossibly late."""
        if not now_s < news.resets_at_unix_s <= now_s + limits.WINDOW_DAYS_MAX * DAY_S:
            return None
        window = Window(news.name, news.status, news.resets_at_unix_s, news.utilization, now_s)
        self.known.pop(news.name, None)
        self.known[news.name] = window
        while len(self.known) > limits.WINDOWS_KEPT:
            del self.known[next(iter(self.known))]
        return window

    @staticmethod
    def family(name: str) -> str:
        """The family of models that a window of this name is for; empty: for all."""
        return next((family for family in FAMILIES if family in name.lower()), "")

    def any_rejected(self, now_s: float) -> bool:
        """Whether some sessions may have to wait for the end of one."""
        return any(self._stops(window, now_s) for window in self.known.values())

    def until_s(self, model: str, now_s: float) -> float:
        """When a session with this model may send again, as far as windows of families go; 0: now."""
        ends = [
            window.resets_at_unix_s + limits.WINDOW_MARGIN_S
            for window in self.known.values()
            if self._stops(window, now_s) and self.family(window.name) in model.lower()
        ]
        return max(ends, default=0.0)

    def next_s(self, now_s: float) -> float | None:
        """When the next of them ends."""
        ends = [w.resets_at_unix_s + limits.WINDOW_MARGIN_S for w in self.known.values() if self._stops(w, now_s)]
        return min(ends, default=None)

    def passed(self, model: str) -> None:
        """A session with this model was answered all the same: what stopped it is over."""
        for name in [n for n in self.known if self.family(n) and self.family(n) in model.lower()]:
            del self.known[name]

    def _stops(self, window: Window, now_s: float) -> bool:
        over = now_s >= window.resets_at_unix_s + limits.WINDOW_MARGIN_S
        return bool(self.family(window.name)) and window.status == "rejected" and not over
