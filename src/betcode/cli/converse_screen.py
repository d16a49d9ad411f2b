"""The terminal of a conversation: answers as they are written, everything else in lines, and where one may type."""

from __future__ import annotations

import sys
from typing import Any

from betcode.cli.asking import forget_typed
from betcode.cli.converse_state import Talk
from betcode.cli.decision import CHOICES
from betcode.cli.follow import is_answer
from betcode.cli.lines import event_lines, question_lines
from betcode.cli.live import Live
from betcode.cli.local_time import local
from betcode.cli.output import remark, write

FEW_EVENTS = 10
"""Shown of a turn so long that its beginning is not among the events that were looked at."""


class Screen:
    """Prints. It knows whether the cursor stands behind a prompt, which must not be written over."""

    def __init__(self) -> None:
        self._live = Live(streams=sys.stdout.isatty(), tell=self._tell, describe=lambda event: [])
        self._prompt = ""

    def show(self, item: object) -> None:
        """News of the session: answers, and what `Live` says of the connection."""
        if is_answer(item):
            self._leave_prompt()
        self._live.take(item)

    def note(self, text: str) -> None:
        """A line that is no answer."""
        self._live.note(text)

    def prompt(self, text: str) -> None:
        """Show that something can be typed, unless that is shown already."""
        if self._prompt != text:
            self._leave_prompt()
            self._live.close_line()
            self._put(text)

    def ask(self, question: dict[str, Any], directory: str) -> None:
        """Show a permission question with the whole input, and how to answer."""
        for line in question_lines(question, directory):
            self.note(line)
        self.note(f"  denied at {local(question['expires_at'], seconds=True)} if nobody answers")
        forget_typed()
        self._put(CHOICES)

    def choices(self, question: dict[str, Any] | None) -> None:
        """Show once more how to answer."""
        if question is not None:
            self.note(f"-- claude waits for an answer about {question['tool']}")
            self._put(CHOICES)

    def entered(self, more: str = "") -> None:
        """The person ended the line: the cursor stands at the beginning of the next one, after `more`."""
        if more:
            write(more)
        self._prompt = ""

    def _put(self, text: str) -> None:
        write(text)
        self._prompt = text

    def _tell(self, text: str) -> None:
        self._leave_prompt()
        remark(text)

    def _leave_prompt(self) -> None:
        if self._prompt:
            write("\n")
            self._prompt = ""


def beginning(summary: dict[str, Any], *, is_new: bool, events: list[dict[str, Any]]) -> list[str]:
    """What a person must know first: which session this is, and where it stands."""
    session = summary["id"]
    name = f" {summary['name']!r}" if summary["name"] else ""
    if is_new:
        return [f"-- new session {session}{name} in {summary['dir']}; /help explains, ctrl-d leaves"]
    lines = [
        f"-- continuing session {session}{name} in {summary['dir']}, {summary['state']};"
        " for a new one: betcode --new; /help explains, ctrl-d leaves"
    ]
    last = max(
        (n for n, event in enumerate(events) if event["kind"] == "user_message"),
        default=max(0, len(events) - FEW_EVENTS),
    )
    shown = [event for event in events[last:] if event["kind"] in ("user_message", "assistant", "tool_call")]
    lines += [line for event in shown for line in event_lines(event)]
    if summary["waiting"]:
        held = "held: /resume lets them go on, /clear cancels them" if summary["held"] else "waiting"
        lines.append(f"-- messages {held}: {summary['waiting']}")
    if summary["state"] in ("CRASHED", "BACKING_OFF"):
        lines.append(f"-- {summary['state']}: {summary['reason']}; /retry starts it afresh")
    return lines


def farewell(talk: Talk, *, unsent: int) -> list[str]:
    """Where the session is found again, and what goes on in it."""
    lines = [f"-- come back with: betcode --resume {talk.session}"]
    if talk.question is not None:
        lines.insert(0, "-- claude waits for an answer: betcode permissions list")
    elif talk.working:
        lines.insert(0, "-- claude goes on working")
    if unsent:
        lines.insert(0, f"! messages that the daemon has not confirmed: {unsent}; they may not have been sent")
    return lines
