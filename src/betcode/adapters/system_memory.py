"""How much memory this system has for its programs."""

from __future__ import annotations

from pathlib import Path

import psutil

BOUNDS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where a container's bound stands, in both versions of control groups."""


def system_memory_bytes() -> int:
    """RAM of the machine, or less if this is a container with a bound."""
    found = [int(psutil.virtual_memory().total)]
    for path in BOUNDS:
        try:
            said = Path(path).read_text().strip()
        except OSError:
            continue
        if said.isdigit():
            found.append(int(said))
    return min(found)
