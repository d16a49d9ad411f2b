"""Which file system a directory is on."""

from __future__ import annotations

import os
from pathlib import Path

from betcode.core.disk_kind import Mount, is_network, mount_of, parse_mountinfo
from betcode.model.errors import BetcodeError


def mounts() -> list[Mount]:
    """All file systems of this machine, as this process sees them; none where that cannot be read."""
    try:
        return parse_mountinfo(Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape"))
    except OSError:
        import psutil  # noqa: PLC0415  not Linux: tens of milliseconds that Linux does not need

        return [Mount(disk.mountpoint, disk.fstype) for disk in psutil.disk_partitions(all=True)]


def refuse_network_disk(directory: Path, found: list[Mount] | None = None) -> None:
    """Raise BetcodeError `config.network_disk` for a directory whose files another machine keeps.

    `found`: for tests; else what `mounts` gives.
    """
    mount = mount_of(os.path.realpath(directory), mounts() if found is None else found)
    if mount is not None and is_network(mount):
        raise BetcodeError(
            "config.network_disk",
            f"the data directory {str(directory)!r} is on a network disk ({mount.kind} at {mount.point}), where a"
            " database is damaged sooner or later",
            hint="Choose a directory on a disk of this machine (--data-dir, BETCODE_DATA_DIR), or take the risk: set"
            " storage.allow_network_disk to true.",
        )
