"""A damaged database file and its write-ahead log as pages: read in blocks, never mapped, since a disk may fail."""

from __future__ import annotations

import errno
import os
from bisect import bisect_left
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final

from betcode.wire.sqlite_pages.cells import PAGE_SIZES, page_size
from betcode.wire.sqlite_pages.overflow import ReadPage
from betcode.wire.sqlite_pages.wal import FRAME_HEADER_BYTES, Frame, frame, frame_count, frame_offset, wal_header

_BLOCK: Final = 1024 * 1024
"""Read at once: a multiple of every page size."""
_SECTOR: Final = 4096
"""Where a block cannot be read, it is tried in pieces of this size."""


class RawFile:
    """A file of which anything may be missing: what is beyond its end or cannot be read is zeros."""

    def __init__(self, path: Path) -> None:
        """Open it; a file that does not exist is empty. Raises OSError."""
        self.unreadable = 0
        """Bytes that the disk did not give."""
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self._fd = -1
        self.size = os.fstat(self._fd).st_size if self._fd >= 0 else 0

    def close(self) -> None:
        """Close it, once."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def read(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes."""
        if self._fd < 0:
            return bytes(size)
        try:
            data = os.pread(self._fd, size, offset)
        except OSError as error:
            if error.errno not in (errno.EIO, errno.EINVAL, errno.ENXIO):
                raise
            data = self._read_sectors(offset, size)
        return data if len(data) == size else data + bytes(size - len(data))

    def _read_sectors(self, offset: int, size: int) -> bytes:
        pieces = []
        for at in range(offset, offset + size, _SECTOR):
            want = min(_SECTOR, offset + size - at)
            try:
                piece = os.pread(self._fd, want, at)
            except OSError:
                piece = b""
                self.unreadable += want
            pieces.append(piece + bytes(want - len(piece)))
        return b"".join(pieces)


class DamagedDatabase:
    """The two files, once the size of their pages is known."""

    def __init__(self, source: Path) -> None:
        """Open them. Raises OSError."""
        self.file = RawFile(source)
        self.wal = RawFile(source.with_name(source.name + "-wal"))
        self.page_size = 0
        """Bytes; `use` sets it."""
        self._newest: dict[int, int] = {}
        """The last frame with a page, by its number."""
        self._before: dict[int, int] = {}
        """The frame before with the same page, by frame."""
        self._commits: list[int] = []
        """Frames that end a transaction, rising."""

    def __enter__(self) -> DamagedDatabase:
        """Closed at the end of the block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close both."""
        self.file.close()
        self.wal.close()

    def likely_page_sizes(self) -> list[int]:
        """All page sizes, those first that a header names; then the usual one."""
        header = wal_header(self.wal.read(0, 32)) if self.wal.size else None
        named = [page_size(self.file.read(0, 100)), header.page_size if header else None, 4096]
        return list(dict.fromkeys([size for size in named if size] + list(PAGE_SIZES)))

    def use(self, size: int) -> None:
        """Take this page size, and find out which page is where in the log."""
        self.page_size = size
        self._newest, self._before, self._commits = {}, {}, []
        if not self.wal.size:
            return
        last_salts = b""
        for index in range(frame_count(self.wal.size, size)):
            number, commit, salts = frame(self.wal.read(frame_offset(index, size), FRAME_HEADER_BYTES))
            if commit and salts == last_salts:  # otherwise noise: what ends a transaction is rarely all of it
                self._commits.append(index)
            last_salts = salts
            if number in self._newest:
                self._before[index] = self._newest[number]
            self._newest[number] = index

    @property
    def page_count(self) -> int:
        """Pages of the database file; the last one may be cut off."""
        return -(-self.file.size // self.page_size)

    @property
    def frame_count(self) -> int:
        """Frames of the log."""
        return frame_count(self.wal.size, self.page_size)

    def pages(self, first: int = 1, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Number and bytes of the pages of the database file, in order."""
        size, last = self.page_size, self.page_count if last is None else last
        at_once = _BLOCK // size
        for start in range(first, last + 1, at_once):
            count = min(at_once, last + 1 - start)
            block = self.file.read((start - 1) * size, count * size)
            for index in range(count):
                yield start + index, block[index * size : (index + 1) * size]

    def frames(self, last: int | None = None) -> Iterator[tuple[int, Frame, bytes]]:
        """Index, header and page of the frames, the newest first: those that were written over last time, last.

        Args:
            last: begin with this one; without it, at the end of the log.
        """
        step = self.page_size + FRAME_HEADER_BYTES
        at_once = max(1, _BLOCK // step)
        end = self.frame_count if last is None else last + 1
        while end > 0:
            start = max(0, end - at_once)
            block = self.wal.read(frame_offset(start, self.page_size), (end - start) * step)
            for index in range(end - start - 1, -1, -1):
                at = index * step
                yield start + index, frame(block, at), block[at + FRAME_HEADER_BYTES : at + step]
            end = start

    def current_frames(self) -> int:
        """Frames from the beginning of the log that belong to its header; the ones behind them are older."""
        header = wal_header(self.wal.read(0, 32)) if self.wal.size else None
        if header is None:
            return self.frame_count
        for index in range(self.frame_count):
            if frame(self.wal.read(frame_offset(index, self.page_size), FRAME_HEADER_BYTES)).salts != header.salts:
                return index
        return self.frame_count

    def views(self, index: int | None) -> Iterator[ReadPage]:
        """Ways to read overflow pages, the likeliest first: a checksum must say which is right.

        Args:
            index: the frame whose record goes on there; None for one of the database file.
        """
        if index is None:
            yield self._in_file
            yield self._in_log
            return
        first = bisect_left(self._commits, index)
        ends = self._commits[first : first + 3] or [self.frame_count]  # damage may look like the end of a transaction
        for end in ends:
            yield partial(self._as_of, index=end)
        yield partial(self._nearest, index=index, end=ends[0])
        yield self._in_file
        yield self._in_log

    def _in_file(self, number: int) -> bytes | None:
        if not 0 < number <= self.page_count:
            return None
        return self.file.read((number - 1) * self.page_size, self.page_size)

    def _in_log(self, number: int) -> bytes | None:
        index = self._newest.get(number)
        return self._in_file(number) if index is None else self._frame_page(index)

    def _as_of(self, number: int, index: int) -> bytes | None:
        """The page as it was when frame `index` was the end of the log."""
        found = self._newest.get(number)
        while found is not None and found > index:
            found = self._before.get(found)
        return self._in_file(number) if found is None else self._frame_page(found)

    def _nearest(self, number: int, index: int, end: int) -> bytes | None:
        """The same where the frame is damaged that ended the transaction: the first version after `index`, if any."""
        found, after = self._newest.get(number), None
        while found is not None and found > index:
            after = found if found <= end else None
            found = self._before.get(found)
        return self._as_of(number, index) if after is None else self._frame_page(after)

    def _frame_page(self, index: int) -> bytes:
        return self.wal.read(frame_offset(index, self.page_size) + FRAME_HEADER_BYTES, self.page_size)
