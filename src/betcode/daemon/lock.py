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
            raise _unwritable(self._path, error) from error
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
        self._fd = fd
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            self.release()
            raise _unwritable(self._path, error) from error

    @property
    def is_lost(self) -> bool:
        """Whether the file was removed or replaced: another daemon can start, and nothing written here is kept."""
        if self._fd is None:
            return True
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return True
        except OSError:
            return False  # a disk that cannot say is no proof
        held = os.fstat(self._fd)
        return (found.st_dev, found.st_ino) != (held.st_dev, held.st_ino)

    def release(self) -> None:
        """Let another daemon start."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def next_generation(path: Path, now_unix_s: float) -> int:
    """A number greater than that of every earlier daemon of this data directory, even if the file was lost.

    Keepers obey the daemon with the highest one. Raises BetcodeError `config.unwritable`.
    """
    try:
        last = int(path.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        last = 0
    generation = max(last + 1, int(now_unix_s))
    new = path.with_suffix(".new")
    try:
        new.touch(mode=0o600)
        new.write_text(f"{generation}\n", encoding="ascii")
        new.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    return generation


def _unwritable(path: Path, error: OSError) -> BetcodeError:
    return BetcodeError(
        "config.unwritable",
        f"cannot write {str(path)!r}: {error.strerror}",
        hint="Make room on its disk and let your user write the data directory, or choose another one: --data-dir or"
        " BETCODE_DATA_DIR. Sessions that run go on by themselves.",
    )
