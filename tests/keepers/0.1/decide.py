"""Decisions about stdin lines and about daemons: pure, without IO and without a clock.

A daemon that lost its connection cannot know whether its line reached claude, so it sends it again under the
same id. `StdinBook` makes that harmless. Its caller performs the effects in order and reports what came of
them; one book per run, since ids mean nothing to another claude process. Rules:

  1. A line is written at most once under its id, whatever happens in between.
  2. Its intent is durable before its first byte; without a durable intent nothing is written.
  3. One line at a time, in the order in which they were accepted.
  4. Every request gets exactly one Ack, unless its asker is gone. A refused id may come again; a written or
     failed one is a duplicate for ever.
  5. The same id with another body is refused as a conflict, never taken for the same.

      asked --> QUEUED --head--> RECORDING --durable--> WRITING --last byte--> done
         |         |                 |---not durable--> refused, forgotten
      refused      |                 |                     |
                   '----- stdin is gone -------------------'--> failed
"""

from __future__ import annotations

from betcode.keeper.limits import (
    LINE_BYTES_MAX,
    LINE_ID_BYTES_MAX,
    LINE_IDS_MAX,
    QUEUE_BYTES_MAX,
    QUEUE_LINES_MAX,
)
from betcode.keeper.protocol import VERSION_MAX, VERSION_MIN

DONE = "done"
FAILED = "failed"
_QUEUED = "queued"
_RECORDING = "recording"
_WRITING = "writing"


class Ack:
    """What became of one request; the fields are those of the ACK frame."""

    __slots__ = ("line_id", "out_offset", "reason", "result", "state")

    def __init__(self, line_id: str, result: str, *, state: str | None, out_offset: int, reason: str | None) -> None:
        self.line_id = line_id
        self.result = result
        self.state = state
        self.out_offset = out_offset
        self.reason = reason

    def fields(self) -> dict[str, object]:
        """As JSON fields of the frame."""
        return {
            "id": self.line_id,
            "result": self.result,
            "state": self.state,
            "out_offset": self.out_offset,
            "reason": self.reason,
        }


class Reply:
    """Effect: tell `asker`, if it is still there."""

    __slots__ = ("ack", "asker")

    def __init__(self, asker: int, ack: Ack) -> None:
        self.asker = asker
        self.ack = ack


class RecordIntent:
    """Effect: append the intent and make it durable, then report `intent_durable` or `intent_failed`."""

    __slots__ = ("line_id", "size")

    def __init__(self, line_id: str, size: int) -> None:
        self.line_id = line_id
        self.size = size


class Write:
    """Effect: write the whole line, then report `line_written`, or `stdin_gone` if that cannot be done."""

    __slots__ = ("line_id",)

    def __init__(self, line_id: str) -> None:
        self.line_id = line_id


class RecordEnd:
    """Effect: append how the line ended (`state` is done or failed)."""

    __slots__ = ("line_id", "size", "state")

    def __init__(self, line_id: str, size: int, *, state: str) -> None:
        self.line_id = line_id
        self.size = size
        self.state = state


class Drop:
    """Effect: the bytes of this line are not needed any more."""

    __slots__ = ("line_id",)

    def __init__(self, line_id: str) -> None:
        self.line_id = line_id


class CloseStdin:
    """Effect: close claude's stdin; no line is under way."""

    __slots__ = ()


Effect = Reply | RecordIntent | Write | RecordEnd | Drop | CloseStdin


class _Line:
    """What the book knows of one accepted id."""

    __slots__ = ("askers", "digest", "out_offset", "size", "state")

    def __init__(self, size: int, digest: int, asker: int) -> None:
        self.size = size
        self.digest = digest
        self.state = _QUEUED
        self.out_offset = 0
        self.askers: tuple[int, ...] | None = (asker,)  # who waits for the Ack; the first one asked first


class StdinBook:
    """Which lines this run was asked to write, and what became of each. See the rules above."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self._queue: list[str] = []  # the head is the one under way
        self._queue_bytes = 0
        self._closing = False
        self._gone = False

    @property
    def pending(self) -> int:
        """Accepted lines that are neither done nor failed."""
        return len(self._queue)

    def ask(self, line_id: str, line: bytes, *, asker: int, out_offset: int) -> list[Effect]:
        """A daemon asks for `line` (with its newline). The caller keeps the bytes only if there is no Reply or Drop."""
        known = self._lines.get(line_id)
        if known is not None:
            return self._ask_again(line_id, known, line, asker=asker)
        reason = self._objection(line_id, line)
        if reason is not None:
            state = FAILED if self._gone else None
            return [Reply(asker, Ack(line_id, "refused", state=state, out_offset=out_offset, reason=reason))]
        self._lines[line_id] = _Line(len(line), hash(line), asker)
        self._queue.append(line_id)
        self._queue_bytes += len(line)
        return [RecordIntent(line_id, len(line))] if self._begin_head(line_id) else []

    def _ask_again(self, line_id: str, known: _Line, line: bytes, *, asker: int) -> list[Effect]:
        if (len(line), hash(line)) != (known.size, known.digest):
            ack = Ack(line_id, "refused", state=None, out_offset=known.out_offset, reason="conflict")
            return [Reply(asker, ack)]
        if known.askers is None:
            ack = Ack(line_id, "duplicate", state=known.state, out_offset=known.out_offset, reason=None)
            return [Reply(asker, ack)]
        known.askers = (*known.askers, asker)  # under way: both hear when it is over
        return []

    def _objection(self, line_id: str, line: bytes) -> str | None:
        if self._gone or self._closing:
            return "stdin_closed"
        if not 1 <= len(line_id.encode()) <= LINE_ID_BYTES_MAX:
            return "bad_id"
        if len(line) - 1 > LINE_BYTES_MAX:
            return "too_large"
        if line.find(b"\n") != len(line) - 1:
            return "bad_line"
        if len(self._lines) >= LINE_IDS_MAX:
            return "ids_full"
        if len(self._queue) >= QUEUE_LINES_MAX or self._queue_bytes + len(line) > QUEUE_BYTES_MAX:
            return "queue_full"
        return None

    def _begin_head(self, line_id: str) -> bool:
        line = self._lines[line_id]
        if self._queue[0] != line_id or line.state != _QUEUED:
            return False
        line.state = _RECORDING
        return True

    def intent_durable(self, line_id: str) -> list[Effect]:
        """The intent of the line under way is on disk. Late news of a line that has failed since are ignored."""
        line = self._lines.get(line_id)
        if line is None or line.state != _RECORDING:
            return []
        line.state = _WRITING
        return [Write(line_id)]

    def intent_failed(self, line_id: str, *, out_offset: int) -> list[Effect]:
        """The intent could not be recorded: the line is refused and forgotten, the next one has its turn."""
        line = self._lines.get(line_id)
        if line is None or line.state != _RECORDING:
            return []
        del self._lines[line_id]
        self._leave_queue(line_id, line)
        effects = self._tell(line_id, line, "refused", state=None, reason="intent_failed", out_offset=out_offset)
        return [Drop(line_id), *effects, *self._next()]

    def line_written(self, line_id: str, *, out_offset: int) -> list[Effect]:
        """The last byte of the line under way is in the pipe."""
        line = self._lines[line_id]
        line.state, line.out_offset = DONE, out_offset
        self._leave_queue(line_id, line)
        record = RecordEnd(line_id, line.size, state=DONE)
        replies = self._tell(line_id, line, "written", state=DONE, reason=None, out_offset=out_offset)
        return [record, Drop(line_id), *replies, *self._next()]

    def stdin_gone(self, *, out_offset: int) -> list[Effect]:
        """Nobody reads claude's stdin any more: everything under way or waiting has failed, and so will all else."""
        if self._gone:
            return []
        self._gone = True
        effects: list[Effect] = []
        for line_id in tuple(self._queue):
            line = self._lines[line_id]
            if line.state != _QUEUED:  # a queued line has no intent on disk that wants an end
                effects.append(RecordEnd(line_id, line.size, state=FAILED))
            line.state, line.out_offset = FAILED, out_offset
            self._leave_queue(line_id, line)
            effects.append(Drop(line_id))
            effects += self._tell(line_id, line, "refused", state=FAILED, reason="stdin_closed", out_offset=out_offset)
        return [*effects, CloseStdin()]

    def close_asked(self) -> list[Effect]:
        """Close stdin once the lines already accepted are written; new ones are refused from now on."""
        if self._closing or self._gone:
            return []
        self._closing = True
        return self._next()

    def asker_gone(self, asker: int) -> None:
        """Nobody is there any more to hear the answers to this connection's requests."""
        for line_id in self._queue:
            line = self._lines[line_id]
            line.askers = tuple(other for other in line.askers or () if other != asker)

    def _leave_queue(self, line_id: str, line: _Line) -> None:
        self._queue.remove(line_id)
        self._queue_bytes -= line.size

    def _next(self) -> list[Effect]:
        if self._queue:
            line_id = self._queue[0]
            return [RecordIntent(line_id, self._lines[line_id].size)] if self._begin_head(line_id) else []
        if self._closing and not self._gone:
            self._gone = True
            return [CloseStdin()]
        return []

    def _tell(
        self, line_id: str, line: _Line, result: str, *, state: str | None, reason: str | None, out_offset: int
    ) -> list[Effect]:
        askers, line.askers = line.askers or (), None
        replies: list[Effect] = []
        for number, asker in enumerate(askers):
            heard = "duplicate" if result == "written" and number else result
            ack = Ack(line_id, heard, state=state, out_offset=out_offset, reason=reason)
            replies.append(Reply(asker, ack))
        return replies


class Welcome:
    """The daemon may attach; it has everything of the run below `offset`."""

    __slots__ = ("generation", "offset")

    def __init__(self, generation: int, offset: int) -> None:
        self.generation = generation
        self.offset = offset


class Refusal:
    """The daemon may not attach, and why: code and message of the REFUSED frame."""

    __slots__ = ("code", "message")

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message


def judge_attach(fields: dict[str, object], *, generation_seen: int, out_end: int) -> Welcome | Refusal:
    """Whether an ATTACH with these fields is welcome, after daemons up to `generation_seen` and `out_end` bytes."""
    protocol, generation, offset = fields.get("protocol"), fields.get("generation"), fields.get("from")
    if type(protocol) is not int or type(generation) is not int or type(offset) is not int:
        return Refusal("bad_protocol", "ATTACH needs the integers protocol, generation and from")
    if not VERSION_MIN <= protocol <= VERSION_MAX:
        return Refusal("bad_protocol", f"protocol {protocol}; this keeper speaks {VERSION_MIN} to {VERSION_MAX}")
    if generation < generation_seen:
        return Refusal("older_generation", f"generation {generation}; a daemon of {generation_seen} was here")
    if not 0 <= offset <= out_end:
        return Refusal("bad_protocol", f"offset {offset} is outside the output, which has {out_end} bytes")
    return Welcome(generation, offset)
