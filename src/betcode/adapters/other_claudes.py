"""Other claude processes on a conversation: found by the state files that every claude writes about itself.

`<claude's home>/sessions/<pid>.json` is there from 0.1 to 0.3 s after the start until the process ends by itself; after
kill -9 it stays behind. `procStart` is the start time from the process table, which tells a pid from its next owner.
Another host or container that shares the home is not seen: its pids are none of ours.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any, Final

from betcode.adapters.transcripts import claude_home
from betcode.keeper.tree import start_ticks
from betcode.model import limits
from betcode.model.other_claude import OtherClaude
from betcode.wire.objects import Unreadable, read_object

_UNIX_MS_MAX: Final = 253_402_300_799_000  # the end of the year 9999


def others(env: Mapping[str, str], claude_session_id: str, own_pids: Container[int]) -> tuple[OtherClaude, ...]:
    """The living processes that work on this conversation, without those in `own_pids`; lowest pid first.

    Never raises: a file that cannot be read says nothing. Blocks for some milliseconds.
    """
    found = []
    for pid, path in _state_files(claude_home(env) / "sessions"):
        start = _start(pid)
        if pid in own_pids or start is None:
            continue
        state = _state(path)
        if state.get("sessionId") == claude_session_id and _same(start, state.get("procStart")):
            found.append(_other(pid, state))
    return tuple(sorted(found, key=lambda other: other.pid))


def _state_files(folder: Path) -> list[tuple[int, Path]]:
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    pids = ((name.removesuffix(".json"), name) for name in names if name.endswith(".json"))
    return [(int(pid), folder / name) for pid, name in pids if pid.isascii() and pid.isdecimal() and len(pid) < 11]


def _start(pid: int) -> str | None:
    """Start time of a process that lives; "" where it cannot be known; None if there is none."""
    if (ticks := start_ticks(pid)) is not None:
        return str(ticks)
    if os.path.isdir("/proc/self"):
        return None  # there is a process table, and it is not there
    with contextlib.suppress(PermissionError):  # another user's, so it lives
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, OverflowError):
            return None
    return ""


def _same(start: str, said: object) -> bool:
    return not start or not said or start == said


def _state(path: Path) -> dict[str, Any]:
    """What the file says. It is rewritten in place: one that is caught half written is read again."""
    for attempt in range(limits.STATE_FILE_READS):
        if attempt:
            time.sleep(limits.STATE_FILE_PAUSE_S)
        with contextlib.suppress(OSError, Unreadable), path.open("rb") as file:
            return read_object(file.read(limits.STATE_FILE_BYTES_MAX))
    return {}


def _other(pid: int, state: Mapping[str, Any]) -> OtherClaude:
    texts = {name: value for name, value in state.items() if isinstance(value, str)}
    started = state.get("startedAt")
    return OtherClaude(
        pid=pid,
        directory=texts.get("cwd", ""),
        entrypoint=texts.get("entrypoint", ""),
        version=texts.get("version", ""),
        started_unix_s=started / 1000 if isinstance(started, (int, float)) and 0 < started < _UNIX_MS_MAX else 0.0,
    )
