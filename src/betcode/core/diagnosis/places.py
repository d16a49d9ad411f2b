"""Where everything is: directories and who may read them, settings, room on the disk, file system, the clock."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from betcode.core.diagnosis.finding import Finding, command, error, info, ok, size_text, some, warning
from betcode.core.instant import iso
from betcode.model import limits

NETWORK = frozenset(
    [
        *("9p", "afpfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "drvfs", "gfs2", "glusterfs", "lustre"),
        *("ncpfs", "nfs", "nfs4", "ocfs2", "smb3", "smbfs", "v9fs", "webdav"),
        *("fuse.ceph", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs"),
    ]
)
"""File systems on which locks and shared memory between processes cannot be relied on."""
MEMORY = frozenset({"ramfs", "tmpfs"})
"""File systems that are empty after a restart of the machine."""
OTHERS = stat.S_IRWXG | stat.S_IRWXO
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class Kind(StrEnum):
    """What is at a path."""

    MISSING = "missing"
    DIRECTORY = "directory"
    OTHER = "other"
    HIDDEN = "hidden"
    """It could not be looked at."""


@dataclass(frozen=True, slots=True)
class Place:
    """One of the directories. `name` is config, data or runtime."""

    name: str
    path: str
    kind: Kind
    uid: int = -1
    mode: int = 0
    empty: bool = False
    problem: str = ""
    can_be_made: bool = True
    """For one that is missing: whether the user may make it."""


@dataclass(frozen=True, slots=True)
class Private:
    """What was found when the files of the data directory were looked through."""

    directory: str
    looked_at: int = 0
    complete: bool = True
    open_to_others: tuple[str, ...] = ()
    of_others: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sockets:
    """Where sockets are: `moved` when the usual path would be too long for the system."""

    path: str
    length: int
    moved_from: str = ""
    keepers_moved: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """How the settings were read. `problem` is empty when they are valid."""

    path: str
    exists: bool
    problem: str = ""
    hint: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Room:
    """Room on the disk below one directory. `name` is data or claude; `files` is None where files have no number."""

    name: str
    path: str
    free: int
    total: int
    files: int | None = None
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Times:
    """The wall clock, and the newest file that is dated in the future."""

    unix_s: float
    year: int
    ahead_path: str = ""
    ahead_s: float = 0.0
    ahead_count: int = 0
    synchronized: bool | None = None


def judge_place(found: Place, uid: int) -> Finding:
    """Whether a directory exists, is the user's, and is closed to everybody else."""
    name, path = f"directories.{found.name}", found.path
    flag = f"--{found.name}-dir"
    if found.kind is Kind.HIDDEN:
        what = f"the {found.name} directory {path} cannot be looked at: {found.problem}; name another one with {flag}"
        return error(name, what, command("ls", "-ld", path))
    if found.kind is Kind.MISSING:
        if found.can_be_made:
            return ok(name, f"{path} does not exist yet; it is made when it is needed")
        return error(
            name, f"{path} does not exist and cannot be made", f"sudo install -d -m 700 -o {uid} {command(path)}"
        )
    if found.kind is Kind.OTHER:
        return error(name, f"{path} is not a directory", command("mv", path, f"{path}.aside"))
    if found.uid != uid:
        what = f"{path} belongs to the user with id {found.uid}, not to you ({uid})"
        return error(name, what, command("sudo", "chown", "-R", str(uid), path))
    mode = f"mode {found.mode:04o}"
    if found.mode & stat.S_IRWXU != stat.S_IRWXU:
        return error(name, f"you may not read, write and enter {path} ({mode})", command("chmod", "u+rwx", path))
    return _judge_mode(found, name, mode)


def _judge_mode(found: Place, name: str, mode: str) -> Finding:
    path = found.path
    if found.name == "config":
        if found.mode & OTHERS_WRITE:
            return error(name, f"others may write {path} ({mode}): they could choose what you run", _close(path))
        return ok(name, f"{path}, yours ({mode})")
    if found.mode & OTHERS and found.empty:
        return info(name, f"{path} is open to others ({mode}) and empty; the daemon closes it", _close(path))
    if found.mode & OTHERS:
        return error(name, f"{path} is open to others ({mode}); no daemon starts with it", _close(path))
    return ok(name, f"{path}, yours alone ({mode})")


def _close(path: str) -> str:
    return command("chmod", "go=", path)


def judge_private(found: Private, uid: int) -> list[Finding]:
    """Whether the files of the data directory are the user's alone."""
    name, findings = "directories.files", []
    if found.unreadable:
        what = f"{len(found.unreadable)} files or folders cannot be read: {some(found.unreadable)}"
        findings.append(error(name, what, command("chmod", "-R", "u+rwX", found.directory)))
    if found.of_others:
        what = f"{len(found.of_others)} files belong to somebody else: {some(found.of_others)}"
        findings.append(error(name, what, command("sudo", "chown", "-R", str(uid), found.directory)))
    if found.open_to_others:
        what = f"{len(found.open_to_others)} files are open to others: {some(found.open_to_others)}"
        findings.append(warning(name, what, command("chmod", "-R", "go=", found.directory)))
    rest = "" if found.complete else "; there are more, which were not looked at"
    return findings or [ok(name, f"{found.looked_at} files and folders are yours alone{rest}")]


def judge_sockets(found: Sockets) -> list[Finding]:
    """Whether paths of sockets fit into what the system allows."""
    name, most = "directories.socket", limits.SOCKET_PATH_BYTES_MAX
    if found.length > most:
        what = f"the path of the daemon's socket has {found.length} bytes; the system allows {most}: {found.path}"
        return [error(name, what, 'export BETCODE_RUNTIME_DIR="$(mktemp -d)"')]
    if found.moved_from:
        what = f"the path of the socket would be too long in {found.moved_from}, so it is {found.path}"
        findings = [info(name, what)]
    else:
        findings = [ok(name, f"the socket is {found.path} ({found.length} of {most} bytes)")]
    if found.keepers_moved:
        what = "paths of sessions' sockets would be too long in the data directory, so they are in the temporary one"
        findings.append(info("directories.keeper_sockets", what))
    return findings


def judge_settings(found: Settings) -> Finding:
    """Whether the settings that hold in this directory are valid."""
    name = "config.settings"
    if found.problem:
        edit = f"${{EDITOR:-vi}} {command(found.path)} && betcode config check"
        return error(name, f"{found.problem} {found.hint}".rstrip(), edit)
    if found.warnings:
        return warning(name, "the settings are valid, but: " + "; ".join(found.warnings), "betcode config check")
    return ok(name, f"{found.path} is valid" if found.exists else f"no {found.path}: the defaults hold")


def judge_room(found: Room) -> Finding:
    """Whether there is room for what is written next."""
    name = f"disk.{found.name}"
    files = "" if found.files is None else f", {found.files:,} more files"
    what = f"{size_text(found.free)} free of {size_text(found.total)}{files} for {found.path}"
    look = f"du -xh -d 2 {command(found.path)} | sort -h | tail"
    if found.read_only:
        return error(name, f"the file system of {found.path} is read-only", "mount | grep ' ro,' && dmesg | tail")
    if found.free < limits.DISK_FULL_BYTES or (found.files is not None and found.files < limits.DISK_FULL_FILES):
        return error(name, f"the disk is full: {what}", look)
    if found.free < limits.DISK_LOW_BYTES or (found.files is not None and found.files < limits.DISK_LOW_FILES):
        return warning(name, f"the disk is nearly full: {what}", look)
    return ok(name, what)


def judge_filesystem(kind: str, path: str) -> Finding:
    """Whether locks and durable writes can be relied on there. `kind` is empty where it is not known."""
    name = "disk.filesystem"
    move = f"betcode daemon stop && cp -a {command(path)} LOCAL && export BETCODE_DATA_DIR=LOCAL"
    if kind in NETWORK:
        what = f"{path} is on a network file system ({kind}): locks and the database cannot be relied on there"
        return error(name, what, move)
    if kind in MEMORY:
        return warning(name, f"{path} is in memory ({kind}): a restart of the machine empties it", move)
    return ok(name, f"{path} is on a local file system ({kind})" if kind else f"the file system of {path} is not known")


def judge_clock(found: Times) -> list[Finding]:
    """Whether the wall clock can be right."""
    set_it = "sudo timedatectl set-ntp true"
    first, last = limits.CLOCK_YEARS
    if not first <= found.year <= last:
        wall = error("clock.wall", f"the clock says {_date(found.unix_s)}, which cannot be right", set_it)
    else:
        known = {True: ", synchronized", False: ", not synchronized", None: ""}[found.synchronized]
        wall = ok("clock.wall", f"{_date(found.unix_s)}{known}")
    if found.ahead_count:
        what = (
            f"{found.ahead_count} files of the data directory are dated in the future, by up to"
            f" {found.ahead_s:,.0f} s ({found.ahead_path}): the clock was ahead, or is behind now"
        )
        files = warning("clock.files", what, set_it)
    else:
        files = ok("clock.files", "no file of the data directory is dated in the future")
    return [wall, files]


def _date(unix_s: float) -> str:
    try:
        return iso(unix_s)
    except (ValueError, OverflowError, OSError):
        return f"{unix_s:.0f} s after 1970"


def longest_mount(path: str, mounts: Sequence[tuple[str, str]]) -> str:
    """The kind of the file system that holds `path`, from (mount point, kind); a later mount covers an earlier one."""
    best, kind = "", ""
    for point, its_kind in mounts:
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, its_kind
    return kind
