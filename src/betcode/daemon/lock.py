"""One daemon per data directory (RS-3): a lock that dies with its holder, and a number that only grows."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from betcode.model.errors import BetcodeError

_POLL_S = 0.01
"""Between looks at a lock whose holder is ending: a thirtieth of a daemon's start."""


class DaemonLock:
    """Held from `take` until the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        """`path`: the lock file; it is created and never removed."""
        self._path = path
        self._fd: int | None = None

    def take(self, *, wait_s: float = 0.0) -> None:
        """Become the one daemon. Blocks for `wait_s` at most while another one is.

        Raises:
            BetcodeError: `daemon.already_running`; `config.unwritable`.
        """
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise BetcodeError(
                "config.unwritable",
                f"cannot write {str(self._path)!r}: {error.strerror}",
                hint="Let your user write the data directory, or choose another one: --data-dir or BETCODE_DATA_DIR.",
            ) from error
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() < deadline:
                    time.sleep(_POLL_S)
                    continue
                holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
                os.close(fd)
                raise BetcodeError(
                    "daemon.already_running",
                    f"a daemon already serves this data directory (pid {holder or 'unknown'})",
                    hint="Use it: betcode status. To end it: betcode daemon stop.",
                ) from error
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._fd = fd

    def release(self) -> None:
        """Let another daemon start."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def next_generation(path: Path, now_unix_s: float) -> int:
    """A number greater than that of every earlier daemon of this data directory, even if the file was lost.

    Keepers obey the daemon with the highest one.
    """
    try:
        last = int(path.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        last = 0
    generation = max(last + 1, int(now_unix_s))
    new = path.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text(f"{generation}\n", encoding="ascii")
    new.replace(path)
    return generation
