"""Which descriptor is ready, and whom to call. `select.poll` directly: `selectors` costs 5 ms at start."""

from __future__ import annotations

import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

READ = select.POLLIN
WRITE = select.POLLOUT


class Poller:
    """Calls the handler of each ready descriptor with the events; hang-ups and errors come without being asked for.

    A handler must do nonblocking calls only and take their word over the events: a descriptor closed and opened
    again within one round may get the events of its predecessor.
    """

    def __init__(self) -> None:
        self._poll = select.poll()
        self._watched: dict[int, tuple[int, Callable[[int], None]]] = {}

    def watch(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        """Call `handler` when `fd` is ready; replaces what was asked before."""
        known = self._watched.get(fd)
        if known is None or known[0] != events:
            self._poll.register(fd, events)
        self._watched[fd] = (events, handler)

    def forget(self, fd: int) -> None:
        """Stop watching; harmless if it was not watched. Must come before `fd` is closed."""
        if self._watched.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def wait(self, timeout_s: float | None) -> None:
        """Wait until something is ready or the time is over (None: no limit), and call the handlers."""
        timeout_ms = None if timeout_s is None else max(0, int(timeout_s * 1000) + 1)
        for fd, events in self._poll.poll(timeout_ms):
            watched = self._watched.get(fd)
            if watched is not None:
                watched[1](events)
