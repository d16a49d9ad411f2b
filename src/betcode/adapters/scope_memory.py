"""How much memory the kernel gives to a keeper's scope, and whether it can count it there (PS-9).

The keeper looks at its processes in any case: it warns, names what used the memory and ends the run at the limit. In a
scope the kernel stands behind it, for a program that is faster than the looks.
"""

from __future__ import annotations

import os
from pathlib import Path

from betcode.keeper.limits import BASE_BYTES_MAX
from betcode.model import limits

GROUPS = Path("/sys/fs/cgroup")


def scope_memory_bytes(above_base: int) -> int:
    """Of a scope whose processes may use so much above claude's own base, which is not known before it runs.

    So there is room for the largest base, and for the keeper.
    """
    return BASE_BYTES_MAX + above_base + limits.KEEPER_BYTES_MAX


def no_memory_controller(groups: Path = GROUPS) -> str:
    """Why scopes of the user's systemd cannot bound memory; empty if they can. Looks at two files."""
    if not (groups / "cgroup.controllers").is_file():
        return f"control groups of version 2 are not mounted at {groups}"
    uid = os.getuid()
    own = groups / f"user.slice/user-{uid}.slice/user@{uid}.service/cgroup.controllers"
    try:
        given = own.read_text().split()
    except OSError:
        return f"{own} cannot be read"
    return "" if "memory" in given else "your systemd is not given the memory controller"
