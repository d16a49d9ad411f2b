"""The mark of a session: how far its events and its journal are committed, kept outside the database.

A database that ends before the mark has lost something, which SQLite's own checks cannot see (SQ-3). The mark may lag
behind by a second and is not synced: it can prove a loss, never the absence of one.
"""

from __future__ import annotations

import errno
import os
import zlib
from pathlib import Path
from typing import Final

from betcode.model.errors import BetcodeError
from betcode.model.ids import SessionId
from betcode.model.rows import Mark

_NAME: Final = "mark"
_BYTES_MAX: Final = 200
"""Four numbers of 20 digits and a checksum are 100."""


class MarkFiles:
    """The file operations of a mark, all raising OSError. Tests pass a subclass that fails on demand."""

    def open(self, path: Path) -> int:
        """A descriptor of an empty file that is private to its owner."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)

    def write(self, fd: int, content: bytes) -> int:
        """How many bytes the system took, perhaps fewer than given."""
        return os.write(fd, content)

    def replace(self, source: Path, target: Path) -> None:
        """Give the file its name, in one step."""
        source.replace(target)


def write_mark(directory: Path, mark: Mark, files: MarkFiles | None = None) -> None:
    """Replace the mark in one step. Raises BetcodeError `store.failed`; the old mark then stands."""
    files = files or MarkFiles()
    numbers = " ".join(str(number) for number in (mark.epoch, mark.seq, mark.run, mark.offset))
    new = directory / f"{_NAME}.new"
    try:
        fd = files.open(new)
        try:
            _write_all(files, fd, f"{numbers} {zlib.crc32(numbers.encode()):08x}\n".encode())
        finally:
            os.close(fd)
        files.replace(new, directory / _NAME)
    except OSError as error:
        raise BetcodeError(
            "store.failed",
            f"the mark of a session could not be written: {error.strerror}",
            hint="Make room on the disk of the data directory and let its user write there. Nothing is lost.",
        ) from error


def _write_all(files: MarkFiles, fd: int, content: bytes) -> None:
    while content:
        taken = files.write(fd, content)
        if taken <= 0:
            raise OSError(errno.ENOSPC, "the system took no bytes")  # the only known cause of a write of nothing
        content = content[taken:]


def read_mark(directory: Path) -> Mark | None:
    """The mark; None when there is none or when it is damaged, since it is only a second opinion."""
    try:
        with (directory / _NAME).open("rb") as file:
            content = file.read(_BYTES_MAX)
    except OSError:
        return None
    numbers, _, crc = content.decode("ascii", "replace").rstrip("\n").rpartition(" ")
    fields = numbers.split(" ")
    if len(fields) != len(Mark.__struct_fields__) or crc != f"{zlib.crc32(numbers.encode()):08x}":
        return None
    if not all(field.isdecimal() for field in fields):
        return None
    return Mark(*(int(field) for field in fields))


class SessionMarks:
    """The marks of all sessions of a data directory (`engine.ports.Marks`)."""

    def __init__(self, sessions: Path, files: MarkFiles | None = None) -> None:
        """`sessions`: DATA/sessions. `files`: for tests."""
        self._sessions = sessions
        self._files = files

    def write(self, session: SessionId, mark: Mark) -> None:
        """Replace the session's mark; a session that never ran has no directory and needs none."""
        directory = self._sessions / session
        if directory.is_dir():
            write_mark(directory, mark, self._files)

    def read(self, session: SessionId) -> Mark | None:
        """The session's mark, if there is a whole one."""
        return read_mark(self._sessions / session)
