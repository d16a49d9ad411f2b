"""Whether a data directory is on a disk of this machine: SQLite's locks and its shared log need that (SQ-1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

NETWORK: Final = frozenset(
    {
        *("nfs", "nfs3", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afs", "afpfs", "webdav", "davfs", "ncpfs"),
        *("ceph", "glusterfs", "lustre", "beegfs", "gpfs", "ocfs2", "gfs2", "orangefs", "pvfs2", "coda"),
        *("fuse.sshfs", "fuse.rclone", "fuse.s3fs", "fuse.glusterfs", "fuse.ceph-fuse", "fuse.davfs2", "fuse.gcsfuse"),
        *("fuse.curlftpfs", "fuse.goofys", "fuse.blobfuse2", "fuse.mountpoint-s3", "macfuse.sshfs", "osxfuse.sshfs"),
    }
)
"""File systems whose files another machine keeps. Those that a virtual machine uses for its host's disk (9p, virtiofs,
vboxsf) are not among them: there is one machine at the other end, and it keeps locks."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A file system where it is in the tree."""

    point: str
    kind: str


def parse_mountinfo(text: str) -> list[Mount]:
    """The mounts in Linux's `/proc/self/mountinfo`, in its order; lines that are none are left out."""
    found = []
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        fields, kinds = before.split(" "), after.split(" ")
        if dash and len(fields) >= 5 and kinds[0]:
            found.append(Mount(_unescaped(fields[4]), kinds[0]))
    return found


def mount_of(path: str, mounts: Sequence[Mount]) -> Mount | None:
    """The mount that an absolute path is on; of several at the same place the last one hides the others."""
    best: Mount | None = None
    for mount in mounts:
        inside = path == mount.point or path.startswith(mount.point.rstrip("/") + "/")
        if inside and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def is_network(mount: Mount | None) -> bool:
    """Whether it is certain that another machine keeps the files. What nobody knows is allowed."""
    return mount is not None and mount.kind.lower() in NETWORK


def _unescaped(text: str) -> str:
    for code, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, letter)
    return text
