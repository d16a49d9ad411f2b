"""What belongs to one run of one session: its spec, its claude and its files."""

from __future__ import annotations

import os

from betcode.keeper.child import Child
from betcode.keeper.files import Files
from betcode.keeper.journal import Journal
from betcode.keeper.records import StdinRecords
from betcode.keeper.spec import Spec


class Run:
    """Everything that exists once claude is started. `started_unix_s` is the wall time just before."""

    __slots__ = ("child", "files", "journal", "lock_fd", "records", "spec", "started_unix_s")

    def __init__(
        self,
        spec: Spec,
        child: Child,
        *,
        journal: Journal,
        records: StdinRecords,
        files: Files,
        lock_fd: int,
        started_unix_s: float,
    ) -> None:
        self.spec = spec
        self.child = child
        self.journal = journal
        self.records = records
        self.files = files
        self.lock_fd = lock_fd
        self.started_unix_s = started_unix_s

    @property
    def homeless(self) -> bool:
        """Whether the session's folder was removed: nobody finds this keeper any more, nor what it writes."""
        try:
            found = os.stat(self.spec.lock_path)
        except FileNotFoundError:
            return True
        except OSError:
            return False  # a disk that cannot say is no reason to end anything
        held = os.fstat(self.lock_fd)
        return (found.st_dev, found.st_ino) != (held.st_dev, held.st_ino)
