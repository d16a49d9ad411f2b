"""Records that are longer than a page allows: the rest is in a chain of pages."""

from __future__ import annotations

from collections.abc import Callable

from betcode.wire.sqlite_pages.cells import Cell

ReadPage = Callable[[int], bytes | None]
"""Gives a page by its number, from 1; None if it is lost."""


def whole(page: bytes, cell: Cell, read: ReadPage) -> bytes | None:
    """The record of a cell with all that is in overflow pages; None if a page is lost, or the chain bites its tail."""
    end = cell.start + cell.local
    if cell.local == cell.size:
        return page[cell.start : end]
    pieces = [page[cell.start : end]]
    missing = cell.size - cell.local
    number = int.from_bytes(page[end : end + 4], "big")
    seen: set[int] = set()
    while missing > 0:
        if number == 0 or number in seen:
            return None
        seen.add(number)
        more = read(number)
        if more is None:
            return None
        number = int.from_bytes(more[:4], "big")
        piece = more[4 : 4 + missing]
        if not piece:
            return None
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)
