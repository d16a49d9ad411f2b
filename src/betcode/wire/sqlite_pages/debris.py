"""What was a row and is no more: cells in the free parts of a page, and in pages that have lost their header."""

from __future__ import annotations

import re
from collections.abc import Iterator

from betcode.wire.sqlite_pages.cells import Cell, local_size
from betcode.wire.sqlite_pages.records import record_size, serial_types

_INTEGER = rb"[\x01-\x06\x08\x09]"
_TEXT = rb"(?:[\x0d-\x7f]|[\x81-\xff][\x00-\x7f])"
_BLOB = rb"(?:[\x0c-\x7f]|[\x81-\xff][\x80-\xff]{0,3}[\x00-\x7f])"


def header_pattern(types: str) -> re.Pattern[bytes]:
    """What the header of a record looks like whose columns are of these types: `i`nteger, `t`ext, `b`lob."""
    parts = {"i": _INTEGER, "t": _TEXT, "b": _BLOB}
    longest = 1 + sum({"i": 1, "t": 2, "b": 5}[kind] for kind in types)
    sizes = b"[" + re.escape(bytes([len(types) + 1])) + b"-" + re.escape(bytes([longest])) + b"]"
    return re.compile(sizes + b"".join(parts[kind] for kind in types), re.DOTALL)


def free_parts(page: bytes, at: int = 0) -> list[tuple[int, int]]:
    """Where a table's page may hold former cells: (start, end) of the gap behind its pointers and of freed blocks."""
    usable = len(page)
    first = at + 8 + 2 * int.from_bytes(page[at + 3 : at + 5], "big")
    content = int.from_bytes(page[at + 5 : at + 7], "big") or 65536
    parts = [(first, content)] if first < content <= usable else []
    block, last = int.from_bytes(page[at + 1 : at + 3], "big"), 0
    while last < block <= usable - 4:  # they are in ascending order
        end = block + int.from_bytes(page[block + 2 : block + 4], "big")
        if end <= usable:
            parts.append((block, end))
        last, block = block, int.from_bytes(page[block : block + 2], "big")
    return parts


def former_cells(page: bytes, start: int, end: int, pattern: re.Pattern[bytes]) -> Iterator[Cell]:
    """What could be records of a table between `start` and `end`; they may overlap. Their rowids are not known."""
    at, usable = start, len(page)
    while (found := pattern.search(page, at, end)) is not None:
        at = found.start() + 1
        types = serial_types(page[found.start() : found.start() + 256])
        if types is None:
            continue
        size = record_size(*types)
        local = local_size(size, usable, index=False)
        if found.start() + local + (4 if local < size else 0) <= usable:
            yield Cell(None, size, found.start(), local)
