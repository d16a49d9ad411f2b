"""Cuts a byte stream into lines: any chunking gives the same lines, and memory stays bounded.

A line longer than the limit keeps only its first `line_bytes_max` bytes; the rest is counted and dropped as it comes
(ND-7). Each byte is looked at once, so a line that arrives in many small pieces costs no more than one in a piece.
"""

from __future__ import annotations

from msgspec import Struct

from betcode.model import limits


class Line(Struct, frozen=True, gc=False):
    """One line of a run's journal, or its last piece (`LineSplitter.take_tail`).

    `start` and `end` are offsets in the journal; `end` is behind the newline. `data` is the line without its newline.
    `original_size` is the line's length in bytes, without the newline, when `data` is only its beginning; else None.
    """

    start: int
    end: int
    data: bytes
    original_size: int | None = None


class LineSplitter:
    """Holds the unfinished last line of what it was fed, at most `line_bytes_max` bytes of it."""

    __slots__ = ("_kept", "_line_bytes_max", "_position", "_size")

    def __init__(self, start_offset: int = 0, line_bytes_max: int = limits.LINE_BYTES_MAX) -> None:
        """Begin at `start_offset`, which must be the start of a line. Raises ValueError for impossible arguments."""
        if start_offset < 0 or line_bytes_max < 1:
            raise ValueError(f"start_offset {start_offset} must be >= 0 and line_bytes_max {line_bytes_max} >= 1")
        self._position = start_offset
        self._line_bytes_max = line_bytes_max
        self._kept = bytearray()
        self._size = 0

    @property
    def position(self) -> int:
        """Offset behind the last line that was given out: reading may begin again here."""
        return self._position

    @property
    def tail(self) -> int:
        """Bytes after `position` that were fed and still wait for their newline."""
        return self._size

    def feed(self, chunk: bytes) -> list[Line]:
        """Take the next bytes of the stream, as many as there are; return the lines that they complete."""
        first, *others = chunk.split(b"\n")
        if not others:
            self._keep(first)
            return []
        rest = others.pop()
        lines = [self._finish(first)]
        add, most, start = lines.append, self._line_bytes_max, self._position
        for data in others:
            size = len(data)
            end = start + size + 1
            add(Line(start, end, data) if size <= most else Line(start, end, data[:most], size))
            start = end
        self._position = start
        self._keep(rest)
        return lines

    def take_tail(self) -> Line | None:
        """At the end of the stream: what stands behind the last newline, or None. It then counts as given out."""
        if not self._size:
            return None
        line = self._finish(b"")
        self._position -= 1  # there was no newline
        return Line(line.start, self._position, line.data, line.original_size)

    def _keep(self, piece: bytes) -> None:
        room = self._line_bytes_max - len(self._kept)
        self._kept += piece if len(piece) <= room else piece[:room]
        self._size += len(piece)

    def _finish(self, piece: bytes) -> Line:
        """End the pending line with `piece` and a newline."""
        self._keep(piece)
        start, size = self._position, self._size
        data = bytes(self._kept)
        self._kept = bytearray()
        self._size = 0
        self._position = start + size + 1
        return Line(start, self._position, data, size if size > len(data) else None)
