"""Tells whoever started the daemon how that went: one JSON line on a pipe, before it perhaps that it waits."""

from __future__ import annotations

import contextlib
import os

import msgspec

from betcode.model.errors import BetcodeError


class StartReport:
    """Writes the outcome to `fd` and closes it; without `fd` it does nothing."""

    def __init__(self, fd: int | None) -> None:
        """`fd`: the writing end of the starter's pipe."""
        self._fd = fd

    def waiting(self) -> None:
        """Everything is prepared; the daemon that runs may be stopped now."""
        if self._fd is not None:
            with contextlib.suppress(BrokenPipeError):  # the starter has gone away; then nobody stops the other one
                os.write(self._fd, msgspec.json.encode({"waiting": True}) + b"\n")

    def ready(self, pid: int) -> None:
        """The daemon answers on its socket now."""
        self._say({"ok": True, "pid": pid})

    def failed(self, error: BetcodeError) -> None:
        """The daemon ends because of this."""
        self._say({"ok": False, "code": error.code, "message": str(error), "hint": error.hint})

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
