"""A line that is written over, for a person who waits."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final

PROGRESS_AFTER_S: Final = 1.0
"""What is done sooner needs no progress."""


@contextlib.contextmanager
def progress_line() -> Iterator[Callable[[str, int, int], None]]:
    """Yields what is told (phase, done, of); without a terminal nothing is written."""
    if not sys.stderr.isatty():
        yield lambda phase, done, of: None
        return
    begun = time.monotonic()
    shown = ""

    def show(phase: str, done: int, of: int) -> None:
        nonlocal shown
        line = f"{phase}: {100 * done // max(1, of)} %"
        if line != shown and time.monotonic() - begun > PROGRESS_AFTER_S:
            sys.stderr.write(f"\r\x1b[K{line}")
            sys.stderr.flush()
            shown = line

    try:
        yield show
    finally:
        if shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
