"""The text of all blocks that are being written, and who shows none of it when it is too much (`core.preview_room`)."""

from __future__ import annotations

from typing import Protocol

from betcode.core.preview_room import to_shed
from betcode.model import admission_limits


class Shown(Protocol):
    """What shows the previews of one session."""

    def shed(self) -> None:
        """Let go of the text of its open blocks, and say so to whoever looks."""
        ...


class Previews:
    """One for all sessions of a daemon."""

    def __init__(self, most: int = admission_limits.PREVIEW_CHARS_TOTAL_MAX) -> None:
        """`most`: characters of all together."""
        self.most = most
        self.total = 0
        self._used: dict[str, int] = {}
        self._shown: dict[str, Shown] = {}

    def note(self, session: str, shown: Shown, chars: int) -> None:
        """A session holds so many characters now; those with most let go of theirs if it is too much in all."""
        self.total += chars - self._used.get(session, 0)
        if not chars:
            self._used.pop(session, None)
            self._shown.pop(session, None)
            return
        self._used[session] = chars
        self._shown[session] = shown
        if self.total <= self.most:
            return
        for name in to_shed(self._used, self.most):
            self.total -= self._used.pop(name)
            self._shown.pop(name).shed()
