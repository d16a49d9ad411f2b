"""Claude's own conversations on this machine: which there are, and what was said in them.

`<claude's home>/projects/<folder>/<conversation>.jsonl`. Everything here blocks; nothing is changed.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from betcode.adapters.transcripts import claude_home
from betcode.model import import_limits
from betcode.model.errors import BetcodeError
from betcode.model.events import Event, Gap, UserMessage
from betcode.wire.objects import Unreadable, read_object
from betcode.wire.transcript_history import events_of


@dataclass(frozen=True, slots=True)
class Listed:
    """A conversation at a glance."""

    id: str
    used_unix_s: float
    directory: str
    """Empty where its beginning does not tell."""
    words: str
    """Beginning of its first prompt."""
    size: int


@dataclass(frozen=True, slots=True)
class History:
    """What is taken over of one."""

    directory: str
    events: tuple[Event, ...]
    messages: int
    """Prompts in it."""


def conversations(env: Mapping[str, str]) -> tuple[list[Listed], int]:
    """The newest ones, newest first, and how many older ones there are."""
    paths: dict[str, tuple[float, int, Path]] = {}
    for folder in _folders(env):
        with contextlib.suppress(OSError):
            for entry in os.scandir(folder):
                name = entry.name.removesuffix(".jsonl")
                if name != entry.name and entry.is_file():
                    found = entry.stat()
                    known = paths.get(name)
                    if found.st_size and (known is None or found.st_mtime > known[0]):
                        paths[name] = (found.st_mtime, found.st_size, Path(entry.path))
    newest = sorted(paths.items(), key=lambda item: item[1][0], reverse=True)
    listed = []
    for name, (used, size, path) in newest[: import_limits.LISTED_MAX]:
        directory, words = _beginning(path)
        listed.append(Listed(name, used, directory, words, size))
    return listed, len(newest) - len(listed)


def history(env: Mapping[str, str], conversation: str) -> History:
    """What was said in one. Raises BetcodeError `import.not_found`."""
    paths = [folder / f"{conversation}.jsonl" for folder in _folders(env)]
    there = [path for path in paths if path.is_file() and path.stat().st_size]
    if not there:
        raise BetcodeError(
            "import.not_found",
            f"claude has no conversation {conversation!r} here",
            hint="See which there are: betcode import",
        )
    path = max(there, key=lambda found: found.stat().st_mtime)
    kept: deque[Event] = deque()
    size = left_out = 0
    directory = _beginning(path)[0]
    for event in events_of(_lines(path)):
        kept.append(event)
        size += _size(event)
        while len(kept) > import_limits.EVENTS_MAX or size > import_limits.BYTES_MAX:
            size -= _size(kept.popleft())
            left_out += 1
    if left_out:
        cause = "the conversation is longer than what is taken over; claude itself has all of it"
        kept.appendleft(Gap(unit="events", first=1, last=left_out, cause=cause))
    return History(directory, tuple(kept), sum(isinstance(event, UserMessage) for event in kept))


def _folders(env: Mapping[str, str]) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(claude_home(env) / "projects") if entry.is_dir()]
    except OSError:
        return []


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while line := file.readline(import_limits.LINE_BYTES_MAX):
            yield line


def _size(event: Event) -> int:
    return len(msgspec.json.encode(event))


def _beginning(path: Path) -> tuple[str, str]:
    """Directory and first words."""
    directory = words = ""
    try:
        with path.open("rb") as file:
            head = file.read(import_limits.HEAD_BYTES).split(b"\n")
    except OSError:
        return "", ""
    for line in head:
        entry = _entry(line)
        directory = directory or str(entry.get("cwd") or "")
        if not words and entry.get("type") == "user" and entry.get("isMeta") is not True:
            first = next((e for e in events_of([line]) if isinstance(e, UserMessage)), None)
            words = " ".join(first.text.split())[: import_limits.WORDS_CHARS] if first else ""
        if directory and words:
            break
    return directory, words


def _entry(line: bytes) -> dict[str, Any]:
    try:
        return read_object(line)
    except Unreadable:
        return {}
