"""Slots: how many turns run at the same time, and which sessions wait for one (PS-8).

A session holds a slot from the start of its process for a message, or the delivery of the message, until it is idle,
waits for a person or waits to be started again. One that got its answer goes on at once, even beyond the limit: its
turn is half done. All calls come from one event loop, and nothing is awaited between the question and the answer.
"""

from __future__ import annotations

from collections.abc import Callable

from betcode.model import limits


class Slots:
    """Who holds a slot and who waits, oldest first."""

    def __init__(self, count: int = limits.SLOTS, queue: int = limits.SLOTS_QUEUE) -> None:
        """`count` turns at the same time, at most `queue` sessions that wait."""
        self.count = count
        self.queue = queue
        self._held: set[str] = set()
        self._waiting: dict[str, Callable[[], None]] = {}
        self._woken: set[str] = set()

    @property
    def free(self) -> int:
        """Slots that nobody holds."""
        return max(0, self.count - len(self._held))

    def may_begin(self, session: str) -> bool:
        """Whether this session may begin a turn now: it holds a slot, or one is free and nobody waits before it."""
        if session in self._held:
            return True
        before = list(self._waiting).index(session) if session in self._waiting else len(self._waiting)
        return before < self.free

    def refuses(self, session: str) -> bool:
        """Whether a message to this session would have to wait in a queue that is full."""
        known = session in self._held or session in self._waiting
        return not known and not self.may_begin(session) and len(self._waiting) >= self.queue

    def settle(self, session: str, *, needs: bool, wants: bool, wake: Callable[[], None]) -> None:
        """Note where the session stands after a decision, and tell those that may begin because of it.

        Args:
            session: its id.
            needs: it works.
            wants: it would work if it had a slot.
            wake: called once when a slot is free for it; it then decides again.
        """
        self._woken.discard(session)
        if needs:
            self._held.add(session)
        else:
            self._held.discard(session)
        if wants and not needs:
            self._waiting.setdefault(session, wake)
        else:
            self._waiting.pop(session, None)
        self.wake()

    def wake(self) -> None:
        """Tell the first of the queue, as many as there are free slots."""
        for session in list(self._waiting)[: self.free]:
            if session not in self._woken:
                self._woken.add(session)
                self._waiting[session]()
