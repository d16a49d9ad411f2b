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
    """Yields what is told (phase, done, of), `of` 0 where the end is unknown; without a terminal nothing is written."""
    if not sys.stderr.isatty():
        yield lambda phase, done, of: None
        return
    begun = time.monotonic()
    shown = ""

    def show(phase: str, done: int, of: int) -> None:
        nonlocal shown
        line = f"{phase}: {100 * done // of} %" if of else f"{phase}: {time.monotonic() - begun:.0f} s"
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


def ticking(progress: Callable[[str, int, int], None], phase: str) -> Callable[[float], bool]:
    """For work that asks whether it is to stop: it never is, and a person sees that it goes on."""

    def asked(_seconds: float) -> bool:
        progress(phase, 0, 0)
        return False

    return asked
