"""A disk that fails at the n-th operation, once or from then on, under the real intake log, marks and SQLite.

The fault model: an operation fails with ENOSPC or EIO, and a failing write leaves half of its bytes behind. Operations
are those that change the disk (write, truncate, sync, create, delete), of both files together, in their real order; or,
with `FaultPlan.reads`, those that read it.
A sync is counted and not carried out: the power stays on in a test, and there are many.
"""

from __future__ import annotations

import errno
import io
import itertools
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import apsw

from betcode.adapters.intake import DiskFiles
from betcode.adapters.marks import MarkFiles
from betcode.adapters.sqlite.connection import Connect

_names = itertools.count(1)


STEP = 1 if os.environ.get("BETCODE_ALL_FAULTS") else 3
"""Every how many operations one fails in turn: each takes a run of its own. `make faults` tries every one."""


def points(phase: int = 0) -> Iterator[int]:
    """Numbers of operations that are to fail, one a run, without end. Another `phase` gives others of them."""
    return itertools.count(1 + phase % STEP, STEP)


@dataclass(slots=True)
class FaultPlan:
    """Which operation fails. `fail_at` counts from 1; 0 means that none does."""

    fail_at: int = 0
    then_forever: bool = False
    errno: int = errno.ENOSPC
    reads: bool = False
    """Whether reads are what is counted and fails, instead of changes."""
    seen: list[str] = field(default_factory=list)
    """The operations so far."""
    fired: bool = False

    def meet(self, operation: str, *, reads: bool = False) -> bool:
        """Count an operation; whether it is to fail."""
        if reads is not self.reads:
            return False
        self.seen.append(operation)
        fails = len(self.seen) == self.fail_at or (self.then_forever and self.fired)
        self.fired = self.fired or fails
        return fails

    def check(self, operation: str, *, reads: bool = False) -> None:
        """Count an operation, and raise OSError if it is to fail."""
        if self.meet(operation, reads=reads):
            raise self.error()

    def error(self) -> OSError:
        """The error of this plan."""
        return OSError(self.errno, os.strerror(self.errno))


class KillPlan(FaultPlan):
    """Instead of failing, the operation ends the process like `kill -9`; a write leaves half of its bytes behind."""

    def error(self) -> OSError:
        """Does not return."""
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("it was killed")


class _FaultyReader(io.BufferedReader):
    """A file being read, by plan."""

    def __init__(self, plan: FaultPlan, path: Path) -> None:
        self._plan = plan
        super().__init__(io.FileIO(path))

    def read(self, size: int | None = -1, /) -> bytes:
        """See `io.BufferedReader`."""
        self._plan.check("intake read", reads=True)
        return super().read(size)


class FaultyFiles(DiskFiles):
    """The intake log's file operations, failing by plan."""

    def __init__(self, plan: FaultPlan) -> None:
        self._plan = plan

    def open(self, path: Path, flags: int) -> int:
        """See `DiskFiles`."""
        self._plan.check("intake open")
        return super().open(path, flags)

    def open_to_read(self, path: Path) -> BinaryIO:
        """See `DiskFiles`."""
        self._plan.check("intake open to read", reads=True)
        return _FaultyReader(self._plan, path)

    def pwrite(self, fd: int, content: bytes | memoryview, offset: int) -> int:
        """See `DiskFiles`; a failing call writes half."""
        if self._plan.meet("intake write"):
            super().pwrite(fd, content[: len(content) // 2], offset)
            raise self._plan.error()
        return super().pwrite(fd, content, offset)

    def sync(self, fd: int) -> None:
        """See `DiskFiles`."""
        self._plan.check("intake sync")

    def truncate(self, fd: int, length: int) -> None:
        """See `DiskFiles`."""
        self._plan.check("intake truncate")
        super().truncate(fd, length)

    def sync_directory(self, path: Path) -> None:
        """See `DiskFiles`."""
        self._plan.check("intake sync directory")


class FaultyMarkFiles(MarkFiles):
    """The file operations of the marks, failing by plan."""

    def __init__(self, plan: FaultPlan) -> None:
        self._plan = plan

    def open(self, path: Path) -> int:
        """See `MarkFiles`."""
        self._plan.check("mark open")
        return super().open(path)

    def write(self, fd: int, content: bytes) -> int:
        """See `MarkFiles`; a failing call writes half."""
        if self._plan.meet("mark write"):
            super().write(fd, content[: len(content) // 2])
            raise self._plan.error()
        return super().write(fd, content)

    def replace(self, source: Path, target: Path) -> None:
        """See `MarkFiles`."""
        self._plan.check("mark replace")
        super().replace(source, target)


@contextmanager
def faulty_disk(plan: FaultPlan) -> Iterator[Connect]:
    """A way to open SQLite connections whose disk fails by plan. Close them before the context ends."""
    vfs = _Vfs(plan)
    try:
        yield lambda path, flags: apsw.Connection(path, flags, vfs=vfs.name)
    finally:
        vfs.unregister()


class _Vfs(apsw.VFS):
    """SQLite's default disk with a plan in front of it."""

    def __init__(self, plan: FaultPlan) -> None:
        self.name = f"betcode-faulty-{next(_names)}"
        self._plan = plan
        super().__init__(self.name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        """Open a file whose changes follow the plan."""
        return _File(self._plan, name, flags)

    def xDelete(self, name: str, sync_directory: bool) -> None:
        """Delete a file by plan."""
        _check(self._plan, "database delete")
        super().xDelete(name, sync_directory)

    def excepthook(self, etype: object, evalue: object, etraceback: object) -> bool:
        """An injected fault that SQLite does not report, as of its own checkpoints: nothing to say."""
        return True


class _File(apsw.VFSFile):
    def __init__(self, plan: FaultPlan, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._plan = plan
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        self._kind = "wal" if path.endswith("-wal") else "database"
        super().__init__("", name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:
        """Read by plan."""
        if self._plan.meet(f"{self._kind} read", reads=True):
            raise apsw.IOError("injected")
        return super().xRead(amount, offset)

    def xWrite(self, content: bytes, offset: int) -> None:
        """Write; a failing call writes half."""
        if self._plan.meet(f"{self._kind} write"):
            super().xWrite(content[: len(content) // 2], offset)
            raise _sqlite_error(self._plan)
        super().xWrite(content, offset)

    def xSync(self, flags: int) -> None:
        """Sync by plan."""
        _check(self._plan, f"{self._kind} sync")

    def xTruncate(self, length: int) -> None:
        """Truncate by plan."""
        _check(self._plan, f"{self._kind} truncate")
        super().xTruncate(length)

    def excepthook(self, etype: object, evalue: object, etraceback: object) -> bool:
        """See `_Vfs.excepthook`."""
        return True


def _check(plan: FaultPlan, operation: str) -> None:
    if plan.meet(operation):
        raise _sqlite_error(plan)


def _sqlite_error(plan: FaultPlan) -> apsw.Error:
    full = plan.error().errno == errno.ENOSPC
    return apsw.FullError("disk full") if full else apsw.IOError("injected")
