"""Directories, files, room, file systems, the clock and the user's standing with systemd."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil

from betcode.core.diagnosis.places import Kind, Place, Private, Room, Times, longest_mount
from betcode.core.diagnosis.programs import Linger
from betcode.model import limits


def look_at_place(name: str, path: Path) -> Place:
    """One of the directories, links followed."""
    try:
        state = path.stat()
    except FileNotFoundError:
        parent = existing(path)
        return Place(name, str(path), Kind.MISSING, can_be_made=os.access(parent, os.W_OK | os.X_OK))
    except OSError as error:
        return Place(name, str(path), Kind.HIDDEN, problem=str(error.strerror))
    kind = Kind.DIRECTORY if stat.S_ISDIR(state.st_mode) else Kind.OTHER
    return Place(name, str(path), kind, state.st_uid, stat.S_IMODE(state.st_mode), empty=_is_empty(path))


def _is_empty(path: Path) -> bool:
    try:
        with os.scandir(path) as entries:
            return next(entries, None) is None
    except OSError:
        return False


def existing(path: Path) -> Path:
    """The path itself, or the nearest directory above it that exists."""
    for candidate in (path, *path.parents):
        if os.path.lexists(candidate) and os.path.isdir(candidate):
            return candidate
    return Path("/")


@dataclass(slots=True)
class _Seen:
    looked_at: int = 0
    open_to_others: list[str] = field(default_factory=list)
    of_others: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    ahead: list[tuple[float, str]] = field(default_factory=list)


def look_through(directory: Path, now_unix_s: float) -> tuple[Private, Times]:
    """Owner, mode and time of each file in the data directory, at most `limits.DOCTOR_FILES_MAX` of them."""
    seen, uid, complete = _Seen(), os.geteuid(), True
    for path, state in _walk(directory, seen):
        if seen.looked_at >= limits.DOCTOR_FILES_MAX:
            complete = False
            break
        seen.looked_at += 1
        if state.st_uid != uid:
            seen.of_others.append(path)
        elif state.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            seen.open_to_others.append(path)
        if not state.st_mode & stat.S_IRUSR:
            seen.unreadable.append(path)
        if (ahead_s := state.st_mtime - now_unix_s) > limits.CLOCK_AHEAD_S:
            seen.ahead.append((ahead_s, path))
    private = Private(
        str(directory),
        seen.looked_at,
        complete,
        open_to_others=tuple(seen.open_to_others),
        of_others=tuple(seen.of_others),
        unreadable=tuple(seen.unreadable),
    )
    ahead_s, ahead_path = max(seen.ahead, default=(0.0, ""))
    times = Times(
        now_unix_s,
        _year(now_unix_s),
        ahead_path=ahead_path,
        ahead_s=ahead_s,
        ahead_count=len(seen.ahead),
        synchronized=_synchronized(),
    )
    return private, times


def _walk(directory: Path, seen: _Seen) -> Iterator[tuple[str, os.stat_result]]:
    """Everything below a directory but links; folders that cannot be listed are remembered."""
    waiting = [str(directory)]
    while waiting:
        folder = waiting.pop()
        try:
            entries = list(os.scandir(folder))
        except FileNotFoundError:
            continue
        except OSError:
            seen.unreadable.append(folder)
            continue
        for entry in entries:
            try:
                state = entry.stat(follow_symlinks=False)
            except OSError:
                continue  # gone meanwhile
            if stat.S_ISLNK(state.st_mode):
                continue
            if stat.S_ISDIR(state.st_mode):
                waiting.append(entry.path)
            yield entry.path, state


def _year(unix_s: float) -> int:
    try:
        return datetime.fromtimestamp(unix_s, UTC).year
    except (ValueError, OverflowError, OSError):
        return 0


def _synchronized() -> bool | None:
    """What systemd's time service notes in a file; asking it could start it."""
    if not os.path.isdir("/run/systemd/timesync"):
        return None
    return os.path.exists("/run/systemd/timesync/synchronized")


def look_at_room(name: str, path: Path) -> Room:
    """Room below a directory, or where it would be made. Raises OSError."""
    found = os.statvfs(existing(path))
    return Room(
        name,
        str(path),
        free=found.f_bavail * found.f_frsize,
        total=found.f_blocks * found.f_frsize,
        files=found.f_favail if found.f_files else None,
        read_only=bool(found.f_flag & os.ST_RDONLY),
    )


def filesystem_of(path: Path) -> str:
    """The kind of the file system that holds a path; empty where it is not known."""
    mounts = [(part.mountpoint, part.fstype) for part in psutil.disk_partitions(all=True)]
    return longest_mount(os.path.realpath(existing(path)), mounts)


def look_at_linger(env: Mapping[str, str], runtime: Path) -> Linger:
    """Whether systemd keeps this user's processes after the last logout."""
    tool = shutil.which("loginctl", path=env.get("PATH"))
    if sys.platform != "linux" or tool is None or not os.path.isdir("/run/systemd/system"):
        return Linger()
    uid = os.geteuid()
    at_risk = runtime.is_relative_to(f"/run/user/{uid}")
    try:
        said = subprocess.run(
            [tool, "show-user", str(uid), "--property=Linger", "--value"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limits.DOCTOR_ASK_WAIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return Linger(systemd=True, socket_at_risk=at_risk)
    answer = {b"yes": True, b"no": False}.get(said.stdout.strip())
    return Linger(systemd=True, lingers=answer, socket_at_risk=at_risk)
