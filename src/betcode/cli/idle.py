"""Whether a session has come to rest, from the news of its stream (pure)."""

from __future__ import annotations

from betcode.client.session_view import Durable, Reset
from betcode.client.stream import Attached
from betcode.model.states import AT_REST, FINAL_MESSAGE_STATES, SessionState


class Idle:
    """At rest: everything up to the attachment was seen, the state is a quiet one, and no message waits."""

    def __init__(self) -> None:
        self._state = ""
        self._target = (0, 0)
        self._seen = (0, 0)
        self._open: set[str] = set()

    @property
    def now(self) -> bool:
        """Whether it is at rest now."""
        # After CRASHED or CLOSED a message that waits would wait for a person.
        waits = bool(self._open) and self._state not in (SessionState.CRASHED, SessionState.CLOSED)
        return self._seen >= self._target and self._state in AT_REST and not waits

    def take(self, item: object) -> None:
        """Take one news."""
        match item:
            case Attached():
                self._target = (item.epoch, item.seq)
                if not item.again:
                    self._state = item.session["state"]
                    if item.seq == 0:
                        self._seen = self._target
            case Reset():
                self._open.clear()
            case Durable():
                self._durable(item)
            case _:
                pass

    def _durable(self, item: Durable) -> None:
        event = item.event
        self._seen = (event["epoch"], event["seq"])
        if event["kind"] == "status":
            self._state = event["state"]
        elif event["kind"] == "user_message":
            self._open.add(event["message_id"])
        elif event["kind"] == "message_state" and event["state"] in FINAL_MESSAGE_STATES:
            self._open.discard(event["message_id"])
