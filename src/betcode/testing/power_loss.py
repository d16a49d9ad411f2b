"""A disk that forgets at a loss of power what was not synced: any part of it, in any order, torn at sectors (SQ-9).

Everything that is written goes to the real files, so the program runs as usual. Beside that it is noted what was synced
and what was not, at every sync: from each such moment the directory can be made as the loss would have left it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import Final

import apsw

from betcode.adapters.intake import DiskFiles
from betcode.adapters.sqlite.connection import Connect

SECTOR: Final = 512
_names = count(1)

Change = tuple[int, bytes | None]
"""Bytes written at an offset; None: cut there."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What the disk has: for certain, and perhaps."""

    certain: dict[str, bytes]
    perhaps: dict[str, tuple[Change, ...]]
    acknowledged: int
    """How many transactions were by then."""


@dataclass(slots=True)
class Disk:
    """All files that were written. `acknowledged` is asked at each moment."""

    acknowledged: Callable[[], int]
    moments: list[Moment] = field(default_factory=list)
    _certain: dict[str, bytes] = field(default_factory=dict)
    _perhaps: dict[str, list[Change]] = field(default_factory=dict)

    def wrote(self, path: str, offset: int, content: bytes | None) -> None:
        """A change that is not synced."""
        self._certain.setdefault(path, b"")
        self._perhaps.setdefault(path, []).append((offset, content))

    def syncs(self, path: str) -> None:
        """Remember what a loss of power right now would leave, then have the file's changes be certain."""
        perhaps = {name: tuple(changes) for name, changes in self._perhaps.items()}
        self.moments.append(Moment(dict(self._certain), perhaps, self.acknowledged()))
        content = bytearray(self._certain.get(path, b""))
        for change in self._perhaps.pop(path, []):
            _apply(content, change)
        self._certain[path] = bytes(content)

    def removed(self, path: str) -> None:
        """A file was deleted; that this is on the disk nobody promised, but no test needs it back."""
        self._certain.pop(path, None)
        self._perhaps.pop(path, None)


def leave(moment: Moment, begun: Path, into: Path, rng: Random) -> None:
    """Make the directory as the loss left it: what was certain, and of the rest a part in any order, perhaps torn.

    Args:
        moment: of the loss.
        begun: the directory that was written.
        into: where the files go.
        rng: chooses.
    """
    for path, certain in moment.certain.items():
        content = bytearray(certain)
        changes = [change for change in moment.perhaps.get(path, ()) if rng.random() < 0.5]
        rng.shuffle(changes)
        for offset, data in changes:
            torn = data is not None and rng.random() < 0.3
            whole = rng.randrange(len(data) // SECTOR + 1) * SECTOR if data is not None and torn else None
            _apply(content, (offset, data if data is None else data[:whole]))
        target = into / Path(path).relative_to(begun)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def _apply(content: bytearray, change: Change) -> None:
    offset, data = change
    if data is None:
        del content[offset:]
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


class NotedFiles(DiskFiles):
    """The intake log's file operations, noted."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._paths: dict[int, str] = {}

    def open(self, path: Path, flags: int) -> int:
        """See `DiskFiles`."""
        descriptor = super().open(path, flags)
        self._paths[descriptor] = str(path)
        return descriptor

    def pwrite(self, fd: int, content: bytes | memoryview, offset: int) -> int:
        """See `DiskFiles`."""
        taken = super().pwrite(fd, content, offset)
        self._disk.wrote(self._paths[fd], offset, bytes(content[:taken]))
        return taken

    def sync(self, fd: int) -> None:
        """See `DiskFiles`."""
        self._disk.syncs(self._paths[fd])

    def truncate(self, fd: int, length: int) -> None:
        """See `DiskFiles`."""
        super().truncate(fd, length)
        self._disk.wrote(self._paths[fd], length, None)


@contextmanager
def noted_disk(disk: Disk) -> Iterator[Connect]:
    """A way to open SQLite connections whose changes are noted. Close them before the context ends."""
    vfs = _Vfs(disk)
    try:
        yield lambda path, flags: apsw.Connection(path, flags, vfs=vfs.name)
    finally:
        vfs.unregister()


class _Vfs(apsw.VFS):
    def __init__(self, disk: Disk) -> None:
        self.name = f"betcode-noted-{next(_names)}"
        self._disk = disk
        super().__init__(self.name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        """Open a file whose changes are noted."""
        return _File(self._disk, name, flags)

    def xDelete(self, name: str, sync_directory: bool) -> None:
        """Delete a file."""
        self._disk.removed(name)
        super().xDelete(name, sync_directory)


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._disk = disk
        self._path = os.path.realpath(name.filename() if isinstance(name, apsw.URIFilename) else str(name))
        super().__init__("", name, flags)

    def xWrite(self, content: bytes, offset: int) -> None:
        """Write, and note it."""
        super().xWrite(content, offset)
        self._disk.wrote(self._path, offset, bytes(content))

    def xSync(self, flags: int) -> None:
        """Note it; the real file need not be synced."""
        self._disk.syncs(self._path)

    def xTruncate(self, length: int) -> None:
        """Cut, and note it."""
        super().xTruncate(length)
        self._disk.wrote(self._path, length, None)
