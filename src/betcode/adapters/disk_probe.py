"""Tries a disk: what is written must be read back (SQ-3)."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from pathlib import Path

_BYTES = 64 * 1024
"""Sixteen pages: enough to meet a disk that takes nothing."""
_ROOM_BYTES = 16 * 1024 * 1024
"""Less free space than this is told."""


def probe(directory: Path) -> str:
    """What is wrong with the disk of this directory, in words; empty when nothing is. Blocks."""
    path = directory / f".probe-{secrets.token_hex(4)}"
    content = secrets.token_bytes(_BYTES)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, content)
            os.fsync(descriptor)
            with contextlib.suppress(AttributeError):  # not everywhere: then it is read from memory
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            if os.pread(descriptor, _BYTES, 0) != content:
                return "what was written to it is read back as something else"
        finally:
            os.close(descriptor)
            path.unlink()
        free = shutil.disk_usage(directory).free
    except OSError as error:
        return f"it cannot be written: {error.strerror or error}"
    return f"it has only {free // 1024:,} KiB left" if free < _ROOM_BYTES else ""
