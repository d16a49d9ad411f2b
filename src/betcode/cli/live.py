"""Shows a session while it goes on: the answer as it is written, everything else in lines.

A line that is being streamed is closed before anything else is printed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from betcode.cli import lines
from betcode.cli.output import remark, write
from betcode.client.session_view import Dropped, Durable, Increment, Remark, Reset
from betcode.client.stream import Attached

QUIET_KINDS = frozenset({"user_message", "assistant", "tool_result", "turn_started", "turn_ended", "note", "unknown"})
"""Kinds that `run` does not tell: its user sent the message, and wants the answer."""
TOLD_STATES = frozenset({"BACKING_OFF", "WAITING_API", "PARKED", "CRASHED", "CLOSED"})
"""States of a session that `run` tells: they explain why nothing happens."""
TOLD_REMARKS = frozenset({"api_retry", "previews", "queue"})
"""Passing remarks that explain why nothing happens."""


def brief_lines(event: dict[str, Any]) -> list[str]:
    """What `run` tells of an event beside the answer: what needs attention, and tool calls in one line."""
    match event["kind"]:
        case "status" if event["state"] not in TOLD_STATES:
            return []
        case "message_state" if event["state"] != "queued":
            return []  # how it ended is told by the command's own end
        case kind if kind in QUIET_KINDS:
            return []
        case _:
            return lines.event_lines(event)


def except_kinds(*kinds: str) -> Callable[[dict[str, Any]], list[str]]:
    """`brief_lines` without some kinds."""
    return lambda event: [] if event["kind"] in kinds and not event.get("code") else brief_lines(event)


class Live:
    """Feed it the news of a stream."""

    def __init__(
        self,
        *,
        streams: bool,
        tell: Callable[[str], None] = remark,
        put: Callable[[str], None] | None = None,
        describe: Callable[[dict[str, Any]], list[str]],
    ) -> None:
        """Prepare to print.

        Args:
            streams: print an answer while it is written; otherwise each block when it is whole.
            tell: prints a line that is no answer.
            put: prints text of an answer; as it is in a pipe unless given.
            describe: makes lines of an event that is no answer.
        """
        self._streams = streams
        self._tell = tell
        self._put = put or write
        self._describe = describe
        self._block = ""
        self._text = ""
        self._line_open = False

    def take(self, item: object) -> None:
        """Show one news."""
        match item:
            case Increment(scope="", part="text") if self._streams:
                self._increment(item)
            case Dropped() if item.block == self._block:
                self.close_line()
                self.note("[claude begins this answer again]")
            case Durable():
                self._durable(item.event)
            case Reset():
                self.note(f"! {item.why}; what follows is the session from its beginning")
            case Attached(again=True):
                self.note("-- connected again")
            case Remark() if item.passing.name in TOLD_REMARKS:
                self.note(f"-- {item.passing.text}")
            case _:
                pass

    def note(self, text: str) -> None:
        """Print a line between the answers."""
        self.close_line()
        self._tell(text)

    def close_line(self) -> None:
        """End a line that is being streamed; the rest of its block goes on below."""
        if self._line_open:
            self._put("\n")
            self._line_open = False

    def _write(self, text: str) -> None:
        if text:
            self._put(text)
            self._line_open = not text.endswith("\n")

    def _increment(self, item: Increment) -> None:
        if item.block != self._block:
            self.close_line()
            self._block, self._text = item.block, ""
        if item.offset == len(self._text):
            self._text += item.text
            self._write(item.text)
            return
        self._text = self._text[: item.offset] + item.text
        self.note("[claude wrote this anew]")
        self._write(self._text)

    def _durable(self, event: dict[str, Any]) -> None:
        if event.get("api_error"):
            return  # no answer: the notice, or the error that ends the command, says it
        if event["kind"] == "assistant" and not event.get("scope") and event["part"] == "text":
            self._answer(event)
            return
        for line in self._describe(event):
            self.note(line)

    def _answer(self, event: dict[str, Any]) -> None:
        text = event["text"]
        if event["block"] == self._block and text.startswith(self._text):
            self._write(text[len(self._text) :])
        else:
            self.close_line()
            self._write(text)
        self.close_line()
        self._block, self._text = "", ""
        if event.get("interrupted"):
            self.note("[interrupted]")
