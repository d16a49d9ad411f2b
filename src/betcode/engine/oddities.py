"""What was odd in one session's output since its last commit: lines that could not be read (ND-9), and what is new.

It is stored in the transaction that stores the position up to which the output was read. So a daemon that dies in
between finds the same lines again, and each is kept and counted once.
"""

from __future__ import annotations

from collections import deque

import msgspec

from betcode.core.instant import iso
from betcode.engine.ports import Clock
from betcode.model import limits
from betcode.model.facts import BadLine, Fact, TurnStarted, Unknown
from betcode.model.ids import SessionId
from betcode.model.rows import Drift, Quarantined
from betcode.wire.known_fields import New
from betcode.wire.lines import Line
from betcode.wire.objects import preview

_encode = msgspec.json.Encoder().encode
OTHER = "(other)"
"""Stands for what is new beyond the first `limits.WARNED_KINDS_MAX` names between two commits."""


class Oddities:
    """Bounded whatever claude prints: the newest lines, and one count for each name."""

    def __init__(self, session: SessionId, clock: Clock) -> None:
        """Nothing is odd yet."""
        self._session = session
        self._clock = clock
        self._lines: deque[Quarantined] = deque(maxlen=limits.QUARANTINED_MAX)
        self._new: dict[tuple[str, str, str], Drift] = {}
        self.run = 0
        """Whose output is read."""
        self.version = ""
        """Of the claude that prints it, as far as it has said so."""

    def look(self, line: Line, facts: list[Fact], new: list[New]) -> None:
        """Note what is odd about one line."""
        for found in new:
            self._count(found.what, found.name, found.value)
        match facts:
            case [BadLine() as bad]:
                self._quarantine(line, bad)
            case [Unknown() as unknown]:
                self._count("kind", unknown.name, unknown.raw)
            case [TurnStarted() as started] if started.version:
                self.version = started.version
            case _:
                pass

    def take(self) -> tuple[tuple[Quarantined, ...], tuple[Drift, ...]]:
        """All of it, to be committed now."""
        taken = tuple(self._lines), tuple(self._new.values())
        self.forget()
        return taken

    def forget(self) -> None:
        """The output is read again from what is stored."""
        self._lines.clear()
        self._new.clear()

    def _quarantine(self, line: Line, bad: BadLine) -> None:
        size = len(line.data) if line.original_size is None else line.original_size
        copy = line.data[: limits.QUARANTINE_COPY_BYTES]
        now = iso(self._clock.now().unix_s)
        row = Quarantined(self._session, self.run, line.start, size, now, bad.error_type, bad.detail, copy)
        self._lines.append(row)

    def _count(self, what: str, name: str, value: object) -> None:
        key = (self.version, what, name)
        if key not in self._new and len(self._new) >= limits.WARNED_KINDS_MAX:
            key, value = (self.version, what, OTHER), ""
        now = iso(self._clock.now().unix_s)
        before = self._new.get(key)
        if before is not None:
            self._new[key] = msgspec.structs.replace(before, count=before.count + 1, last_seen=now)
            return
        raw = value.encode("utf-8", "replace") if isinstance(value, str) else _encode(value)
        example = preview(raw, limits.BAD_LINE_PREVIEW_CHARS, len(raw))
        self._new[key] = Drift(*key, 1, now, now, self._session, example)
