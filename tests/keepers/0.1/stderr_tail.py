"""The end of claude's stderr: for the exit report, bounded in bytes, lines and the length of a line."""

from __future__ import annotations

from betcode.keeper.limits import STDERR_LINE_BYTES_MAX, STDERR_TAIL_BYTES_MAX, STDERR_TAIL_LINES_MAX


class StderrTail:
    """Keeps the last STDERR_TAIL_BYTES_MAX bytes."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def add(self, chunk: bytes) -> None:
        """Take bytes as they come."""
        self._bytes += chunk
        del self._bytes[:-STDERR_TAIL_BYTES_MAX]

    def lines(self) -> list[str]:
        """The last lines, each cut to STDERR_LINE_BYTES_MAX; bytes that are not UTF-8 become U+FFFD."""
        last = self._bytes.splitlines()[-STDERR_TAIL_LINES_MAX:]
        return [line[:STDERR_LINE_BYTES_MAX].decode(errors="replace") for line in last]
