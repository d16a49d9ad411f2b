"""B-tree pages: where the records in them begin, and how much of each is on the page itself."""

from __future__ import annotations

from struct import unpack_from
from typing import Final, NamedTuple

from betcode.wire.sqlite_pages.records import varint

FILE_HEADER_BYTES: Final = 100
"""The first page begins with the header of the file."""
PAGE_SIZES: Final = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
"""All that there are."""
MAGIC: Final = b"SQLite format 3\0"

TABLE_LEAF: Final = 0x0D
"""Rows of ordinary tables, with their rowids."""
INDEX_LEAF: Final = 0x0A
"""Entries of indexes, and rows of tables WITHOUT ROWID."""
INDEX_INTERIOR: Final = 0x02
"""The same one level up: in such a tree rows are in all levels."""


class Cell(NamedTuple):
    """A record in a page."""

    rowid: int | None
    """None in an index tree."""
    size: int
    """Bytes of the whole record."""
    start: int
    """Where in the page it begins."""
    local: int
    """How many of its bytes are in the page; the number of the page with the others follows them."""


def page_size(header: bytes) -> int | None:
    """What the header of the file says, if that is a page size."""
    if len(header) < FILE_HEADER_BYTES or not header.startswith(MAGIC):
        return None
    size = int.from_bytes(header[16:18], "big")
    size = 65536 if size == 1 else size
    return size if size in PAGE_SIZES else None


def local_size(size: int, usable: int, *, index: bool) -> int:
    """How many bytes of a record of `size` are kept in a page of `usable` bytes."""
    most = (usable - 12) * 64 // 255 - 23 if index else usable - 35
    if size <= most:
        return size
    least = (usable - 12) * 32 // 255 - 23
    fitting = least + (size - least) % (usable - 4)
    return fitting if fitting <= most else least


def cells(page: bytes, at: int = 0) -> tuple[list[Cell], int] | None:
    """The cells of a page and how many more it claims to have; None if it is no page that can hold rows.

    Args:
        page: all its bytes.
        at: where its own header is: 0, in the first page of a file `FILE_HEADER_BYTES`.
    """
    kind, usable = page[at], len(page)
    if kind not in (TABLE_LEAF, INDEX_LEAF, INDEX_INTERIOR):
        return None
    table, skip = kind == TABLE_LEAF, 4 if kind == INDEX_INTERIOR else 0
    first = at + 8 + skip
    count = page[at + 3] << 8 | page[at + 4]
    if first + 2 * count > usable:
        return None
    first += 2 * count
    most = usable - 35 if table else (usable - 12) * 64 // 255 - 23
    found: list[Cell] = []
    rowid: int | None = None
    for place in unpack_from(f">{count}H", page, first - 2 * count):
        if not first <= place <= usable - 4 - skip:
            continue
        start = place + skip + 1
        size = page[start - 1]
        if size > 0x7F:
            if (low := page[start]) < 0x80:
                size, start = (size & 0x7F) << 7 | low, start + 1
            else:
                size, start = varint(page, start - 1)
        if table:
            rowid, start = varint(page, start)
        local = size if size <= most else local_size(size, usable, index=not table)
        if size > 0 and start + local + (4 if local < size else 0) <= usable:
            found.append(Cell(rowid, size, start, local))
    return found, count - len(found)
