"""Which W3C trace each message of a session belongs to: that of the client that sent it (OB-2).

Not stored: in a daemon that started later, the trace of whoever created the session counts again.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace as change

from betcode.engine.ports import Log
from betcode.model import limits
from betcode.model.rows import Message, SessionRow
from betcode.model.states import FINAL_MESSAGE_STATES


class Traces:
    """The traces of one session's messages that have no outcome yet."""

    def __init__(self, log: Log, own: str) -> None:
        """`log` is the session's, `own` the trace of whoever created it."""
        self._log = log
        self._own = own
        self._known: dict[str, str] = {}

    def came(self, message_id: str, trace_id: str) -> None:
        """A client hands in a message. The same one again belongs to the trace that it came with first."""
        if trace_id:
            self._known.setdefault(message_id, trace_id)
            while len(self._known) > limits.TRACES_MAX:
                del self._known[next(iter(self._known))]

    def accepted(self, message_id: str, client: str) -> None:
        """It is stored."""
        self._of(message_id).info("message accepted", message_id=message_id, client=client)

    def moved(self, message: Message) -> None:
        """A message came to another state; its outcome is logged."""
        if message.state in FINAL_MESSAGE_STATES:
            self._of(message.id).info(
                "message ended", message_id=message.id, state=message.state.value, reason=message.reason
            )
            self._known.pop(message.id, None)

    def of_run(self, row: SessionRow, waiting: Sequence[Message]) -> tuple[Log, SessionRow]:
        """Log and row of a process that is started for the first of `waiting`."""
        trace_id = self._known.get(waiting[0].id, "") if waiting else ""
        if not trace_id:
            return self._log, row
        return self._log.bind(trace_id=trace_id), change(row, options=change(row.options, trace_id=trace_id))

    def _of(self, message_id: str) -> Log:
        trace_id = self._known.get(message_id, self._own)
        return self._log.bind(trace_id=trace_id) if trace_id else self._log
