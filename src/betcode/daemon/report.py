"""Tells whoever started the daemon how that went.

A client that started it gets one JSON line on a pipe, before it perhaps that the daemon waits; a service manager gets
its own kind of notice.
"""

from __future__ import annotations

import contextlib
import os

import msgspec

from betcode.adapters.service_notice import ServiceNotice
from betcode.model.errors import BetcodeError


class StartReport:
    """Writes the outcome to `fd` and closes it, and tells the service manager. Make one a process."""

    def __init__(self, fd: int | None) -> None:
        """`fd`: the writing end of the starter's pipe. The service manager is found in the variables of the process."""
        self._fd = fd
        self.notice = ServiceNotice.taken_from(os.environ)

    def waiting(self) -> None:
        """Everything is prepared; the daemon that runs may be stopped now."""
        if self._fd is not None:
            with contextlib.suppress(BrokenPipeError):  # the starter has gone away; then nobody stops the other one
                os.write(self._fd, msgspec.json.encode({"waiting": True}) + b"\n")

    def repairing(self, cause: str) -> None:
        """The database is damaged; it is repaired before the daemon serves, which may take minutes."""
        if self._fd is not None:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._fd, msgspec.json.encode({"repairing": cause}) + b"\n")

    def rehearsed(self, pid: int) -> None:
        """A daemon could start here."""
        self._say({"ok": True, "pid": pid})

    def ready(self, pid: int) -> None:
        """The daemon answers on its socket now."""
        self._say({"ok": True, "pid": pid})
        self.notice.ready("serving")

    def failed(self, error: BetcodeError) -> None:
        """The daemon ends because of this."""
        self._say({"ok": False, "code": error.code, "message": str(error), "hint": error.hint})
        self.notice.failed(error)

    def _say(self, what: dict[str, object]) -> None:
        if self._fd is None:
            return
        fd, self._fd = self._fd, None
        try:
            os.write(fd, msgspec.json.encode(what) + b"\n")
        except BrokenPipeError:
            pass  # the starter has gone away; the daemon serves others
        finally:
            os.close(fd)
