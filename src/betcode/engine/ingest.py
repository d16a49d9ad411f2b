"""From the bytes of one run to facts: lines, facts, display events, and what is worth a warning."""

from __future__ import annotations

from betcode.core.transcript import Transcript
from betcode.engine.ports import Log, Meter
from betcode.model import limits
from betcode.model.events import Event
from betcode.model.facts import BadLine, Fact, Unknown
from betcode.wire.claude import read_line
from betcode.wire.lines import LineSplitter


class Ingest:
    """Reads one run from a given offset on. `position` is the offset behind the last whole line."""

    def __init__(self, offset: int, line_bytes_max: int, transcript: Transcript, log: Log, meter: Meter) -> None:
        """`transcript` is shared with the feed, which shows its open blocks."""
        self.transcript = transcript
        self._line_bytes_max = line_bytes_max
        self._splitter = LineSplitter(offset, line_bytes_max)
        self._expected = offset
        self._log = log
        self._meter = meter
        self._warned: set[str] = set()

    @property
    def position(self) -> int:
        """Offset in the run behind the last line that was read."""
        return self._splitter.position

    def gap_before(self, offset: int) -> tuple[int, int] | None:
        """First and last missing byte when the next bytes begin at `offset`; None when they follow on."""
        return (self._expected, offset - 1) if offset > self._expected else None

    def skip_to(self, offset: int) -> None:
        """Go on at `offset` after a gap; the half line before it is given up."""
        self._splitter = LineSplitter(offset, self._line_bytes_max)
        self._expected = offset

    def read(self, offset: int, data: bytes) -> list[tuple[Fact, tuple[Event, ...]]]:
        """Facts that matter beyond the moment, with the events that show them. Bytes read before are skipped."""
        fresh = data[max(0, self._expected - offset) :]
        self._expected += len(fresh)
        kept: list[tuple[Fact, tuple[Event, ...]]] = []
        for line in self._splitter.feed(fresh):
            facts = read_line(line.data, line.original_size)
            for fact in facts:
                if isinstance(fact, (BadLine, Unknown)):
                    self._warn(fact, line.start)
            kept += self.transcript.read(facts)
        return kept

    def rest(self) -> list[tuple[Fact, tuple[Event, ...]]]:
        """At the end of a run: the half line that its process left behind, if any."""
        line = self._splitter.take_tail()
        if line is None or not line.data.strip():
            return []
        facts = read_line(line.data, line.original_size)
        for fact in facts:
            if isinstance(fact, (BadLine, Unknown)):
                self._warn(fact, line.start)
        return self.transcript.read(facts)

    def _warn(self, fact: BadLine | Unknown, start: int) -> None:
        if isinstance(fact, BadLine):
            self._meter.bad_line(fact.error_type)
            report = self._log.warning if fact.error_type == "schema" else self._log.error
            report("a line of claude's output is bad", error_type=fact.error_type, detail=fact.detail, offset=start)
        elif fact.name not in self._warned and len(self._warned) < limits.WARNED_KINDS_MAX:
            self._warned.add(fact.name)
            self._log.warning("claude printed a line of unknown kind", kind=fact.name, offset=start)
