"""What goes to standard output and standard error, and in which form.

Lines for people have the characters that steer a terminal made visible wherever they go (SE-4): behind a pipe there may
be `tee`, and then a terminal. Only JSON, and what a program asks for as it is (`write`), is left unchanged in a pipe.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from betcode.model.errors import BetcodeError, Refusal
from betcode.wire.visible import visible


def shown(text: str, stream: TextIO) -> str:
    """`text` as it may be written to `stream`."""
    if stream.isatty():
        return visible(text)
    return text.encode("utf-8", "backslashreplace").decode()


def say(text: str) -> None:
    """A line on standard output, for people."""
    show(text + "\n")


def show(text: str) -> None:
    """Text on standard output, for people, at once."""
    _put(visible(text), sys.stdout)


def write(text: str) -> None:
    """Text on standard output, at once: an answer or a path, which a program gets as it is."""
    _put(shown(text, sys.stdout), sys.stdout)


def remark(text: str) -> None:
    """A line on standard error: what happens meanwhile. It is made visible wherever it goes."""
    _put(visible(text) + "\n", sys.stderr)


def _put(text: str, stream: TextIO) -> None:
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def say_json(value: Any) -> None:
    """One JSON value on a line of its own."""
    if sys.stdout.isatty():
        # ASCII only: then there is nothing in it that could steer the terminal.
        write(json.dumps(value).replace("\x7f", "\\u007f") + "\n")
    else:
        say_raw(json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace"))


def say_raw(line: bytes) -> None:
    """One JSON text as it is, on a line of its own; on a terminal in ASCII."""
    if sys.stdout.isatty():
        say_json(json.loads(line))
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def fail(error: BetcodeError, *, as_json: bool) -> int:
    """Tell why a command failed; returns its exit status."""
    if as_json:
        say_json({"error": error.view()})
    else:
        for warning in getattr(error, "warnings", ()):
            remark(f"warning: {warning}")
        remark(f"error: {error}")
        if error.hint:
            remark(f"hint: {error.hint}")
        if error.refusal is not None:
            remark(again_text(error.refusal))
    return error.exit_status


def again_text(refusal: Refusal) -> str:
    """When it may be tried again, for people: whole seconds, or the largest unit that a long time has."""
    seconds = max(1, math.ceil(refusal.retry_after_ms / 1000))
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"try again in {math.ceil(seconds / length)} {unit}"
    return f"try again in {seconds} s"


def wants_json(argv: Sequence[str]) -> bool:
    """Whether the caller is a program: known before the arguments are understood, since they may be wrong."""
    words = list(argv)
    if "--" in words:
        words = words[: words.index("--")]
    formats = ("json", "stream-json")
    after = dict(itertools.pairwise(words))
    return (
        "--json" in words
        or after.get("--output-format") in formats
        or any(f"--output-format={name}" in words for name in formats)
    )


def counted(number: int, noun: str) -> str:
    """A number with its noun: 1 message, 2 messages."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells with aligned columns; the first row is the heading. Cells are made visible and hold one line."""
    clean = [[visible(cell, keep_newlines=False) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in clean) for column in range(len(clean[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in clean
    )
