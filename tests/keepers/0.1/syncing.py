"""A thread that syncs files, so that no disk flush stands between reading from claude and forwarding.

`threading` costs 6 ms at start; the documented low-level `_thread` has all that is needed here.
"""

from __future__ import annotations

import _thread
import os

from betcode.keeper.files import Files


class SyncThread:
    """Syncs one descriptor after the other and reports each, in order, through `take_finished`.

    The caller bounds the jobs: one periodic sync, one intent, and one finished file per segment at a time.
    """

    def __init__(self, *, files: Files, wake_fd: int) -> None:
        """Start the thread. A zero byte is written to `wake_fd` (nonblocking) after each job."""
        self._files = files
        self._wake_fd = wake_fd
        self._jobs: list[tuple[str, int]] = []
        self._finished: list[tuple[str, int]] = []
        self._work = _thread.allocate_lock()  # held: nothing to do
        self._work.acquire()
        _thread.start_new_thread(self._run, ())

    def submit(self, name: str, fd: int) -> None:
        """Sync `fd`. The name comes back with the result; one that begins with `close` also closes it."""
        self._jobs.append((name, fd))  # list operations are atomic; only this side appends
        if self._work.locked():
            self._work.release()

    def take_finished(self) -> list[tuple[str, int]]:
        """(name, errno or 0) of the jobs finished since the last call."""
        finished = []
        while self._finished:
            finished.append(self._finished.pop(0))
        return finished

    def _run(self) -> None:
        while True:
            self._work.acquire()
            while self._jobs:
                name, fd = self._jobs.pop(0)
                self._finished.append((name, self._sync(name, fd)))
                try:
                    os.write(self._wake_fd, b"\0")
                except BlockingIOError:
                    pass  # the pipe is full of reasons to wake up
                except OSError:
                    return  # the keeper is ending and has closed it

    def _sync(self, name: str, fd: int) -> int:
        try:
            self._files.fdatasync(fd)
        except OSError as error:
            return error.errno or 5
        finally:
            if name.startswith("close"):
                os.close(fd)
        return 0
