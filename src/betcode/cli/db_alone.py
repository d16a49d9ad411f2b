"""The lock of the data directory, for commands that work on the database while no daemon does."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from betcode.adapters.rescue.put_back import finish
from betcode.config.paths import Paths, prepare
from betcode.daemon.lock import DaemonLock


@contextlib.contextmanager
def alone(paths: Paths) -> Iterator[None]:
    """Nobody else uses the database within the block. Raises BetcodeError `daemon.already_running`; OSError."""
    prepare(paths)
    lock = DaemonLock(paths.lock)
    lock.take()
    try:
        finish(paths.database)
        yield
    finally:
        lock.release()
