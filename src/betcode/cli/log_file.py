"""The daemon's log file for people: its last lines, and what is added."""

from __future__ import annotations

import json
import time
from collections import deque
from pathlib import Path
from typing import BinaryIO

from betcode.cli.output import say, say_raw
from betcode.model import limits
from betcode.model.errors import BetcodeError

POLL_S = 0.2
"""Between looks at a log that is followed: quick for a person, nothing for the machine."""
LINE_BYTES_MAX = limits.FRAME_BYTES_SOFT
"""A longer line is shown in pieces."""


def print_log(path: Path, *, lines: int, follow: bool, as_json: bool) -> int:
    """Print the last lines, and with `follow` go on until ctrl-c. Raises BetcodeError when there is no log."""
    try:
        log = path.open("rb")
    except OSError as error:
        raise BetcodeError(
            "daemon.unreachable",
            f"there is no log {str(path)!r}: {error.strerror}",
            hint="It is written by the daemon: betcode daemon start",
        ) from error
    with log:
        for line in deque(iter(lambda: log.readline(LINE_BYTES_MAX), b""), maxlen=lines):
            _print(line, as_json)
        if follow:
            _follow(path, log, as_json)
    return 0


def _follow(path: Path, log: BinaryIO, as_json: bool) -> None:
    """Print what is added until ctrl-c; goes on with the next file when this one was put aside."""
    rest = b""
    while True:
        rest += log.readline(LINE_BYTES_MAX)
        if rest.endswith(b"\n") or len(rest) >= LINE_BYTES_MAX:
            _print(rest, as_json)
            rest = b""
            continue
        try:
            replaced = path.stat().st_ino != _inode(log)
        except OSError:
            replaced = False  # between two files
        if replaced and not log.read(1):
            log = path.open("rb")  # closed with the process
        else:
            time.sleep(POLL_S)


def _inode(log: BinaryIO) -> int:
    import os

    return os.fstat(log.fileno()).st_ino


def _print(line: bytes, as_json: bool) -> None:
    text = line.rstrip(b"\n")
    if not as_json:
        say(readable(text.decode("utf-8", "replace")))
        return
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return  # not the log's own: a traceback of a daemon that could not start
    say_raw(text)


def readable(line: str) -> str:
    """One log line for people; a line that is no JSON object stays as it is."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return line
    if not isinstance(fields, dict):
        return line
    when = str(fields.pop("timestamp", "")).replace("T", " ").removesuffix("Z")
    level = str(fields.pop("level", "")).upper()
    message = str(fields.pop("message", ""))
    fields.pop("target", None)
    rest = " ".join(f"{name}={value}" for name, value in fields.items())
    return f"{when} {level:7} {message}  {rest}".rstrip()
