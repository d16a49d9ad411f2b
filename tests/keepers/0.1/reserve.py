"""A little disk space kept back, `<run>.reserve`: on a full disk it lets running turns end before claude must wait."""

from __future__ import annotations

import errno
import os

from betcode.keeper.bare import suppress
from betcode.keeper.limits import RESERVE_BYTES

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class Reserve:
    """A file of RESERVE_BYTES that is given up when the disk is full. Having none is no error: it is a comfort."""

    def __init__(self, directory: str, run: int) -> None:
        self._path = f"{directory}/{run}.reserve"
        self._held = False

    def sweep(self, directory: str) -> None:
        """Free what killed keepers of earlier runs have left: the caller holds the session's lock."""
        with suppress(OSError):  # without it the disk has less room, and nothing else is wrong
            for name in os.listdir(directory):
                if name.endswith(".reserve") and not self._held:
                    os.unlink(f"{directory}/{name}")

    def take(self) -> None:
        """Allocate it, if the system can do that without writing and has the room."""
        if self._held or not hasattr(os, "posix_fallocate"):
            return
        with suppress(OSError):  # the disk is full already, or the file system cannot do it
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, RESERVE_BYTES)
                self._held = True
            finally:
                os.close(fd)
        if not self._held:
            self.give_up()  # what was allocated of it is needed elsewhere

    def give_up(self) -> bool:
        """Free the space; True if there was any. Anyone on the disk may take it, so use it at once."""
        held, self._held = self._held, False
        with suppress(OSError):  # gone already
            os.unlink(self._path)
        return held
