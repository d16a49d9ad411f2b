"""From the bytes of one run to facts: lines, facts, display events, and what is worth a warning."""

from __future__ import annotations

from collections.abc import Iterator

from betcode.core.transcript import Transcript, worth_telling
from betcode.engine.oddities import Oddities
from betcode.engine.ports import Log, Meter
from betcode.model import limits
from betcode.model.events import Event
from betcode.model.facts import BadLine, Delta, Fact, Unknown
from betcode.wire.claude import read_line
from betcode.wire.known_fields import New
from betcode.wire.lines import Line, LineSplitter

Read = list[tuple[Fact, tuple[Event, ...]]]
"""Facts that matter beyond the moment, with the events that show them."""


class Ingest:
    """Reads one run from a given offset on.

    `position` is the offset behind the last line that was read, `lines` how many the newest part came from.
    """

    def __init__(
        self,
        offset: int,
        line_bytes_max: int,
        transcript: Transcript,
        log: Log,
        meter: Meter,
        odd: Oddities | None = None,
    ) -> None:
        """`transcript` is shared with the feed, which shows its open blocks; `odd` is told of what is odd."""
        self.transcript = transcript
        self._line_bytes_max = line_bytes_max
        self._splitter = LineSplitter(offset, line_bytes_max)
        self.position = offset
        self.lines = 0
        self._expected = offset
        self._log = log
        self._meter = meter
        self._warned: set[str] = set()
        self._bad = 0
        self._odd = odd
        self.readable = False
        """Whether a line of the newest part could be read."""

    @property
    def end(self) -> int:
        """Offset behind all bytes that were taken: the next ones begin here."""
        return self._expected

    def gap_before(self, offset: int) -> tuple[int, int] | None:
        """First and last missing byte when the next bytes begin at `offset`; None when they follow on."""
        return (self._expected, offset - 1) if offset > self._expected else None

    def skip_to(self, offset: int) -> None:
        """Go on at `offset` after a gap; the half line before it is given up."""
        self._splitter = LineSplitter(offset, self._line_bytes_max)
        self.position = offset
        self._expected = offset

    def read(self, offset: int, data: bytes) -> Iterator[Read]:
        """What these bytes say, a little at a time: between two parts other sessions may work. To be read to its end.

        Bytes read before are skipped. `position` and the transcript are always as after the part given out last.
        """
        fresh = data[max(0, self._expected - offset) :]
        self._expected += len(fresh)
        for start in range(0, len(fresh), limits.INGEST_PIECE_BYTES):
            lines = self._splitter.feed(fresh[start : start + limits.INGEST_PIECE_BYTES])
            for first in range(0, max(1, len(lines)), limits.INGEST_LINES_AT_ONCE):
                part: Read = []
                self.readable = False
                some = lines[first : first + limits.INGEST_LINES_AT_ONCE]
                for line in some:
                    part += self._facts(line)
                    self.position = line.end
                self.lines = len(some)
                yield part

    def _facts(self, line: Line) -> Read:
        if not line.data:
            return []
        new: list[New] = []
        facts = read_line(line.data, line.original_size, new)
        if not new and len(facts) == 1 and type(facts[0]) is Delta:  # nine in ten lines
            self.readable = True
            return self.transcript.read(facts)
        if self._odd is not None:
            self._odd.look(line, facts, new)
        self.readable = self.readable or not facts or not isinstance(facts[0], BadLine) or len(facts) > 1
        for fact in facts:
            if isinstance(fact, (BadLine, Unknown)):
                self._warn(fact, line.start)
        return self.transcript.read(facts)

    def rest(self) -> Read:
        """At the end of a run: the half line that its process left behind, if any."""
        line = self._splitter.take_tail()
        if line is None or not line.data.strip():
            return []
        self.position = line.end
        return self._facts(line)

    def _warn(self, fact: BadLine | Unknown, start: int) -> None:
        if isinstance(fact, BadLine):
            self._meter.bad_line(fact.error_type)
            self._bad += 1
            if not worth_telling(self._bad, limits.BAD_LINES_TOLD):
                return
            report = self._log.warning if fact.error_type == "schema" else self._log.error
            report(
                "a line of claude's output is bad",
                error_type=fact.error_type,
                detail=fact.detail,
                offset=start,
                bad_lines=self._bad,
            )
        elif fact.name not in self._warned and len(self._warned) < limits.WARNED_KINDS_MAX:
            self._warned.add(fact.name)
            self._log.warning("claude printed a line of unknown kind", kind=fact.name, offset=start)
