"""Numbers of variable length, and records: the values of one row."""

from __future__ import annotations

from struct import unpack_from
from typing import Final

Value = None | int | float | str | bytes
"""What SQLite keeps in a column."""

COLUMNS_MAX: Final = 64
"""A record with more is not looked at: no table of ours has half as many."""
_SIZES: Final = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0)
"""Bytes of a value by its serial type; 10 and 11 are never stored."""


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at` and where it ends; (-1, at) if the data end before it."""
    value = 0
    for end, byte in enumerate(data[at : at + 8], at + 1):
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, end
    if len(data) < at + 9:
        return -1, at
    value = value << 8 | data[at + 8]  # the ninth byte has eight bits
    return value - (1 << 64 if value >> 63 else 0), at + 9


def serial_types(record: bytes) -> tuple[list[int], int] | None:
    """The type of each value and where the first value is; None if this cannot be the beginning of a record."""
    if not record:
        return None
    end, at = record[0], 1
    if end > 0x7F:
        end, at = varint(record, 0)
    if not at < end <= len(record):
        return None
    types: list[int] = []
    while at < end:
        kind = record[at]
        at += 1
        if kind > 0x7F:
            if at < end and record[at] < 0x80:  # two bytes: nearly always, and this is the busiest place of all
                kind = (kind & 0x7F) << 7 | record[at]
                at += 1
            else:
                kind, at = varint(record, at - 1)
        if kind == 10 or kind == 11 or kind < 0:  # noqa: PLR1714 - a set costs more
            return None
        types.append(kind)
    if at != end or len(types) > COLUMNS_MAX:
        return None
    return types, end


def record_size(types: list[int], start: int) -> int:
    """Bytes of a whole record with these types whose first value is at `start`."""
    return start + sum(_SIZES[kind] if kind < 12 else kind - 12 >> 1 for kind in types)


def decode(record: bytes) -> list[Value] | None:
    """The values of a record; None if it is none.

    Of a record that is cut off the last values are shorter or missing, as far as types go: NULL for numbers. Bytes that
    are no UTF-8 become U+FFFD. Its checksum is wrong then.
    """
    found = serial_types(record)
    if found is None:
        return None
    types, at = found
    values: list[Value] = []
    add = values.append
    for kind in types:
        if kind > 11:
            end = at + (kind - 12 >> 1)
            add(str(record[at:end], "utf-8", "replace") if kind & 1 else record[at:end])
            at = end
        elif kind == 0:
            add(None)
        elif kind > 7:
            add(kind - 8)
        else:
            end = at + _SIZES[kind]
            if end > len(record):
                add(None)
            elif kind == 7:
                add(float(unpack_from(">d", record, at)[0]))
            else:
                add(int.from_bytes(record[at:end], "big", signed=True))
            at = end
    return values
