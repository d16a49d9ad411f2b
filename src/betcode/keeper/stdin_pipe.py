"""Carries out what the StdinBook decides: records, syncs, writes to claude's stdin, answers."""

from __future__ import annotations

import os

from betcode.keeper.decide import CloseStdin, Drop, Effect, RecordEnd, RecordIntent, Reply, StdinBook, Write
from betcode.keeper.limits import PUMP_WRITES_MAX, READ_BYTES
from betcode.keeper.poller import WRITE, Poller
from betcode.keeper.records import StdinRecords

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from betcode.keeper.decide import Ack


class StdinPipe:
    """Owns claude's stdin. A line that was begun is completed before anything else is written."""

    def __init__(
        self,
        fd: int,
        *,
        poller: Poller,
        records: StdinRecords,
        sync_intent: Callable[[str], None],
        reply: Callable[[int, Ack], None],
        out_end: Callable[[], int],
        clock_unix_s: Callable[[], float],
    ) -> None:
        """`sync_intent(line_id)` makes the records durable beside the loop; `intent_synced` is then called."""
        self._fd = fd
        self._poller = poller
        self._records = records
        self._sync_intent = sync_intent
        self._reply = reply
        self._out_end = out_end
        self._clock_unix_s = clock_unix_s
        self._book = StdinBook()
        self._lines: dict[str, bytes] = {}
        self._recording: str | None = None
        self._writing: str | None = None
        self._rest = memoryview(b"")
        self.broken = False  # claude has closed its end

    @property
    def pending(self) -> int:
        """Accepted lines that are neither written nor failed."""
        return self._book.pending

    def ask(self, asker: int, line_id: str, line: bytes) -> None:
        """A daemon asks for this line (with its newline); the Ack comes through `reply`, now or later."""
        effects = self._book.ask(line_id, line, asker=asker, out_offset=self._out_end())
        if not any(isinstance(effect, Reply) for effect in effects):
            self._lines.setdefault(line_id, line)
        self._perform(effects)

    def asker_gone(self, asker: int) -> None:
        """This connection hears no answers any more."""
        self._book.asker_gone(asker)

    def close_when_written(self) -> None:
        """Close claude's stdin after the accepted lines; it then finishes its turn and ends."""
        self._perform(self._book.close_asked())

    def gone(self) -> None:
        """claude does not read any more."""
        self._recording = self._writing = None
        self._perform(self._book.stdin_gone(out_offset=self._out_end()))

    def intent_synced(self, line_id: str, errno: int) -> None:
        """The sync of an intent is over; `errno` 0 if it is durable."""
        if self._recording != line_id:
            return  # stdin has gone meanwhile
        self._recording = None
        if errno:
            self._records.take_back()
            self._perform(self._book.intent_failed(line_id, out_offset=self._out_end()))
        else:
            self._perform(self._book.intent_durable(line_id))

    def _perform(self, effects: list[Effect]) -> None:
        todo = list(effects)
        while todo:
            todo += self._perform_one(todo.pop(0))

    def _perform_one(self, effect: Effect) -> list[Effect]:
        match effect:
            case Reply():
                self._reply(effect.asker, effect.ack)
            case RecordIntent():
                return self._record_intent(effect)
            case Write():
                self._writing = effect.line_id
                self._rest = memoryview(self._lines[effect.line_id])
                return self._pump()
            case RecordEnd():
                self._records.append_sometime(self._record(effect.line_id, effect.state, effect.size))
            case Drop():
                self._lines.pop(effect.line_id, None)
            case CloseStdin():
                self._close()
        return []

    def _record_intent(self, effect: RecordIntent) -> list[Effect]:
        try:
            self._records.append(self._record(effect.line_id, "intent", effect.size))
        except OSError:
            return self._book.intent_failed(effect.line_id, out_offset=self._out_end())
        self._recording = effect.line_id
        self._sync_intent(effect.line_id)
        return []

    def _record(self, line_id: str, state: str, size: int) -> dict[str, object]:
        return {
            "id": line_id,
            "state": state,
            "time_unix_s": round(self._clock_unix_s(), 3),
            "out_offset": self._out_end(),
            "bytes": size,
        }

    def _on_writable(self, _events: int) -> None:
        if self._writing is not None:
            self._perform(self._pump())

    def _pump(self) -> list[Effect]:
        """Write what the pipe takes of the line under way."""
        for _ in range(PUMP_WRITES_MAX):
            try:
                taken = os.write(self._fd, self._rest[:READ_BYTES])
            except BlockingIOError:
                break
            except OSError:
                self.broken = True
                self._writing = None
                return self._book.stdin_gone(out_offset=self._out_end())
            self._rest = self._rest[taken:]
            if not self._rest:
                return self._line_written()
        self._poller.watch(self._fd, WRITE, self._on_writable)
        return []

    def _line_written(self) -> list[Effect]:
        self._poller.forget(self._fd)  # or it would report an idle pipe as writable for ever
        self._rest = memoryview(b"")  # even an empty view would keep the whole line in memory
        line_id, self._writing = self._writing, None
        if line_id is None:
            raise ValueError("a line was completed that nobody began")
        return self._book.line_written(line_id, out_offset=self._out_end())

    def _close(self) -> None:
        self._rest = memoryview(b"")
        if self._fd >= 0:
            self._poller.forget(self._fd)
            os.close(self._fd)
            self._fd = -1
