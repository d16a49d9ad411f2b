"""Judges a recording of claude's standard output: how many lines, which facts, what could not be read.

The pure part of `betcode protocol check`. Memory is bounded by one line and a few counters.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, Literal

from msgspec import Struct

from betcode.model import limits
from betcode.model.facts import BadLine, Unknown
from betcode.wire.claude import read_line
from betcode.wire.known_fields import New
from betcode.wire.lines import Line, LineSplitter
from betcode.wire.objects import Unreadable, read_object

ERROR_TYPES: Final = ("invalid_utf8", "invalid_json", "schema", "oversize")
OTHER: Final = "(other)"
"""Stands for all unknown kinds beyond the first `limits.WARNED_KINDS_MAX`."""


class Report(Struct, frozen=True):
    """What a recording holds.

    `events` counts facts by their tag, bad lines left out; `unknown` counts lines by the name of their kind; `new`
    counts what `known_fields` does not know of the others; `errors` counts bad lines by type and has all four. `tail`
    is `partial` when the recording ends inside a line, which then counts as no line and no error.
    """

    lines: int
    bytes: int
    events: dict[str, int]
    unknown: dict[str, int]
    new: dict[str, int]
    errors: dict[str, int]
    tail: Literal["complete", "partial"]


class Check:
    """Takes a recording in pieces of any size."""

    def __init__(self, line_bytes_max: int = limits.LINE_BYTES_MAX) -> None:
        self._splitter = LineSplitter(line_bytes_max=line_bytes_max)
        self._lines = 0
        self._bytes = 0
        self._events: Counter[str] = Counter()
        self._unknown: Counter[str] = Counter()
        self._new: Counter[str] = Counter()
        self._errors: Counter[str] = Counter(dict.fromkeys(ERROR_TYPES, 0))

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._bytes += len(chunk)
        for line in self._splitter.feed(chunk):
            self._count(line)

    def finish(self) -> Report:
        """The report; call it once, at the end. Bytes after the last newline are a line if they are a JSON object."""
        line = self._splitter.take_tail()
        tail: Literal["complete", "partial"] = "complete"
        if line is not None and _is_object(line):
            self._count(line)
        elif line is not None:
            tail = "partial"
        return Report(
            self._lines,
            self._bytes,
            dict(self._events),
            dict(self._unknown),
            dict(self._new),
            dict(self._errors),
            tail,
        )

    def _count(self, line: Line) -> None:
        self._lines += 1
        new: list[New] = []
        for fact in read_line(line.data, line.original_size, new):
            if isinstance(fact, BadLine):
                self._errors[fact.error_type] += 1
                continue
            self._events[str(fact.__struct_config__.tag)] += 1
            if isinstance(fact, Unknown):
                _add(self._unknown, fact.name)
        for found in new:
            _add(self._new, found.name)


def _add(counts: Counter[str], name: str) -> None:
    room = len(counts) < limits.WARNED_KINDS_MAX
    counts[name if room or name in counts else OTHER] += 1


def _is_object(line: Line) -> bool:
    if line.original_size is not None:
        return False
    try:
        read_object(line.data)
    except Unreadable:
        return False
    return True
