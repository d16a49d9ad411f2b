"""The file operations of the keeper, in one place so that tests can make the n-th one fail."""

from __future__ import annotations

import os


class Files:
    """Real file operations; all raise OSError. A test passes a subclass that fails on demand."""

    def open(self, path: str, flags: int) -> int:
        """A descriptor that no child inherits; a new file is readable by its owner only."""
        return os.open(path, flags | os.O_CLOEXEC, 0o600)

    def pwrite(self, fd: int, content: bytes, offset: int) -> int:
        """Write at `offset`; how many bytes the system took, which may be fewer than given."""
        return os.pwrite(fd, content, offset)

    def fdatasync(self, fd: int) -> None:
        """Make the content durable. macOS has only the weaker fsync here, which does not flush the drive's cache."""
        if hasattr(os, "fdatasync"):
            os.fdatasync(fd)
        else:
            os.fsync(fd)

    def ftruncate(self, fd: int, length: int) -> None:
        """Cut (or lengthen) the file."""
        os.ftruncate(fd, length)

    def replace(self, source: str, target: str) -> None:
        """Put `source` in the place of `target`, in one step."""
        os.replace(source, target)


def write_all(files: Files, fd: int, content: bytes, offset: int) -> None:
    """Write all of `content` at `offset`, completing short writes. Raises OSError with part of it written."""
    while content:
        taken = files.pwrite(fd, content, offset)
        if taken <= 0:
            raise OSError(28, "the system took no bytes")  # ENOSPC: the only known cause of a write of nothing
        offset += taken
        content = content[taken:]


def write_atomically(files: Files, path: str, content: bytes, *, durable: bool) -> None:
    """A reader sees the whole new file or none; if `durable`, after a power cut too. Raises OSError."""
    temporary = path + ".new"
    fd = files.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        try:
            write_all(files, fd, content, 0)
            if durable:
                files.fdatasync(fd)
        finally:
            os.close(fd)
        files.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
