"""The write-ahead log: a header, and frames that each hold one page."""

from __future__ import annotations

from struct import unpack_from
from typing import Final, NamedTuple

from betcode.wire.sqlite_pages.cells import PAGE_SIZES

HEADER_BYTES: Final = 32
FRAME_HEADER_BYTES: Final = 24
_MAGIC: Final = 0x377F0682
"""The lowest bit says in which byte order the checksums are computed."""


class WalHeader(NamedTuple):
    """The beginning of the log."""

    page_size: int
    salts: bytes
    """Frames with others are left over from before the log was begun anew; their pages are rows all the same."""


class Frame(NamedTuple):
    """What the log says of one page of it."""

    number: int
    """Of the page, from 1."""
    commit: int
    """Pages of the database after this transaction in the last frame of one, otherwise 0."""
    salts: bytes


def wal_header(data: bytes) -> WalHeader | None:
    """None if the log does not begin like one."""
    if len(data) < HEADER_BYTES:
        return None
    magic, _, size = unpack_from(">III", data)
    if magic & ~1 != _MAGIC or size not in PAGE_SIZES:
        return None
    return WalHeader(size, data[16:24])


def frame(data: bytes, at: int = 0) -> Frame:
    """The header of a frame at `at`, with `FRAME_HEADER_BYTES` behind it."""
    number, commit = unpack_from(">II", data, at)
    return Frame(number, commit, data[at + 8 : at + 16])


def frame_offset(index: int, page_size: int) -> int:
    """Where in the file frame `index` begins, from 0."""
    return HEADER_BYTES + index * (FRAME_HEADER_BYTES + page_size)


def frame_count(file_size: int, page_size: int) -> int:
    """How many frames a log of `file_size` bytes has; one that is cut off counts, if only its page is incomplete."""
    step = FRAME_HEADER_BYTES + page_size
    rest = max(0, file_size - HEADER_BYTES)
    return rest // step + (rest % step > FRAME_HEADER_BYTES)
