"""From claude's stdout to the journal, and only then to whoever listens."""

from __future__ import annotations

import os

from betcode.keeper.daemons import Daemons
from betcode.keeper.journal import Journal
from betcode.keeper.limits import DRAIN_READS_MAX, READ_BYTES, RETRY_S, SYNC_S
from betcode.keeper.poller import READ, Poller
from betcode.keeper.reserve import DISK_FULL, Reserve
from betcode.keeper.spec import Spec
from betcode.keeper.timers import Timers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class StdoutPipe:
    """Owns claude's stdout. While the journal takes nothing, nothing is read and claude waits in its pipe.

    The attached daemon gets what has just been written to the journal, and a beat when writing begins to fail and
    when it works again. `last_output` is the time of the last byte. `flood` says why nothing more is read of a claude
    that prints without an end: `endless_line` or `endless_output`; else it is empty.
    """

    def __init__(
        self,
        fd: int,
        *,
        spec: Spec,
        poller: Poller,
        timers: Timers,
        journal: Journal,
        reserve: Reserve,
        daemons: Daemons,
        clock: Callable[[], float],
    ) -> None:
        self._fd = fd
        self._spec = spec
        self._poller = poller
        self._timers = timers
        self._journal = journal
        self._reserve = reserve
        self._clock = clock
        self._daemons = daemons
        self._closed = False
        self._line_start = 0
        self._asked_at = 0
        self.flood = ""
        self.last_output = clock()
        poller.watch(fd, READ, self._on_readable)

    @property
    def closed(self) -> bool:
        """All writers have closed the pipe, or `drain` has."""
        return self._closed

    def asked(self) -> None:
        """A line goes to stdin: what is printed from here on is an answer to it."""
        self._asked_at = self._journal.end

    @property
    def at_end(self) -> bool:
        """All writers have closed the pipe (or `drain` has), and every byte is in the journal."""
        return self._closed and not self._journal.unwritten

    def _on_readable(self, _events: int) -> None:
        if self._journal.unwritten:
            return  # an event of the round in which the journal got blocked
        try:
            stdout = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return
        if not stdout:
            self._close()
            return
        self.last_output = self._clock()
        start = self._journal.end
        self._journal.append(stdout)
        self._timers.set_once("sync", self.last_output + SYNC_S)
        self._daemons.forward(start, stdout[: self._journal.end - start])
        self._look_for_flood(start, stdout)
        if self._journal.blocked:
            self._on_blocked()

    def _look_for_flood(self, start: int, stdout: bytes) -> None:
        self._line_start = max(self._line_start, start + stdout.rfind(b"\n") + 1 if b"\n" in stdout else 0)
        end = start + len(stdout)
        if end - self._line_start > self._spec.line_out_bytes_max:
            self.flood = "endless_line"
        elif end - self._asked_at > self._spec.stretch_bytes_max:
            self.flood = "endless_output"
        else:
            return
        self._poller.forget(self._fd)

    def _on_blocked(self) -> None:
        if self._journal.blocked in DISK_FULL and self._reserve.give_up():
            self._journal.flush()
            self._daemons.flush_attached()
        if self._journal.blocked:
            self._poller.forget(self._fd)
            self._timers.set("retry", self._clock() + RETRY_S)
            self._daemons.beat()

    def retry(self) -> None:
        """Try again to write what waits; called by the timer `retry`."""
        if not self._journal.unwritten:
            return
        self._journal.flush()
        self._timers.set_once("sync", self._clock() + SYNC_S)
        self._daemons.flush_attached()
        if self._journal.blocked:
            self._timers.set("retry", self._clock() + RETRY_S)
            return
        if not self._closed and not self.flood:
            self._poller.watch(self._fd, READ, self._on_readable)
        self._daemons.beat()

    def drain(self) -> bool:
        """Take what lies in the pipe and close it, whoever else may hold it. False while the journal takes nothing."""
        for _ in range(DRAIN_READS_MAX):
            if self._closed or self._journal.unwritten:
                break
            before = self._journal.end
            self._on_readable(READ)
            if self._journal.end == before:
                break
        if self._journal.unwritten:
            return False
        self._close()
        return True

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self._poller.forget(self._fd)
            os.close(self._fd)
