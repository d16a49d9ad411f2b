"""The mark of a session: how far its events and its journal are committed, kept outside the database.

A database that ends before the mark has lost something, which SQLite's own checks cannot see (SQ-3). The mark may lag
behind by a second and is not synced: it can prove a loss, never the absence of one.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from betcode.model.errors import BetcodeError

_NAME: Final = "mark"
_BYTES_MAX: Final = 200
"""Four numbers of 20 digits and a checksum are 100."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The newest committed event, and the position in claude's output up to which it has become events."""

    epoch: int
    seq: int
    run: int
    offset: int


def write_mark(directory: Path, *, epoch: int, seq: int, run: int, offset: int) -> None:
    """Replace the mark in one step. Raises BetcodeError `store.failed`; the old mark then stands."""
    numbers = " ".join(str(number) for number in (epoch, seq, run, offset))
    new = directory / f"{_NAME}.new"
    try:
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(f"{numbers} {zlib.crc32(numbers.encode()):08x}\n".encode())
        new.replace(directory / _NAME)
    except OSError as error:
        raise BetcodeError(
            "store.failed",
            f"the mark of a session could not be written: {error.strerror}",
            hint="Make room on the disk of the data directory and let its user write there. Nothing is lost.",
        ) from error


def read_mark(directory: Path) -> Mark | None:
    """The mark; None when there is none or when it is damaged, since it is only a second opinion."""
    try:
        with (directory / _NAME).open("rb") as file:
            content = file.read(_BYTES_MAX)
    except OSError:
        return None
    numbers, _, crc = content.decode("ascii", "replace").rstrip("\n").rpartition(" ")
    fields = numbers.split(" ")
    if len(fields) != len(Mark.__slots__) or crc != f"{zlib.crc32(numbers.encode()):08x}":
        return None
    if not all(field.isdecimal() for field in fields):
        return None
    return Mark(*(int(field) for field in fields))
