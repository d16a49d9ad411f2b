"""What is known of a running turn: its tool calls, and whether each may have had its effect (INV-1).

A call is open from the line in which the model makes it to the line with its result. Whether it ran is a matter of
its fate: claude's own rules may let a call run without a word to us, a call that waits for an answer cannot run, one
that was refused does not.

    FREE --question--> ASKED --allow written--> ALLOWED        REFUSED: told no, or withdrawn
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import msgspec

from betcode.model import limits
from betcode.model.facts import ToolCall


class Fate(StrEnum):
    """What has been decided about an open call."""

    FREE = "free"
    """No question came yet, and perhaps none will: it may run at any moment."""
    ASKED = "asked"
    ALLOWED = "allowed"
    """An allow was handed to the keeper: from here on it may run."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call without a result. `brief` is the visible beginning of its input, as JSON."""

    id: str
    tool: str
    brief: str
    fate: Fate = Fate.FREE

    @property
    def may_have_run(self) -> bool:
        """Whether it can have had an effect."""
        return self.fate in (Fate.FREE, Fate.ALLOWED)


@dataclass(frozen=True, slots=True)
class Turn:
    """What claude is working on. `message_id` is empty for a turn that claude started itself."""

    message_id: str
    begun: bool = False
    tools: int = 0
    """Tool calls seen in this turn: with any of them the turn must not simply be run again (INV-1)."""
    interrupt: str = ""
    """Line id of the interrupt that was sent, if any; its beginning says for whom (`core.silence`)."""
    calls: tuple[Call, ...] = ()
    """Calls without a result, oldest first."""
    done: tuple[Call, ...] = ()
    """The newest `limits.DONE_CALLS_KEPT` calls that have a result."""
    doubt: bool = False
    """Something of it could not be read: there may be calls that nobody knows of."""
    rerun: bool = False
    """claude goes on with it by itself, which it does only once."""

    def unstored(self, results: frozenset[str]) -> tuple[Call, ...]:
        """Calls that have a result of which claude may know nothing, since its transcript has only `results`."""
        return tuple(call for call in self.done if call.id not in results)


def with_call(turn: Turn, fact: ToolCall) -> Turn:
    """The model called a tool. More open calls than can be remembered are a doubt."""
    turn = replace(turn, tools=turn.tools + 1)
    if len(turn.calls) >= limits.OPEN_CALLS_MAX:
        return replace(turn, doubt=True)
    return replace(turn, calls=(*turn.calls, Call(fact.tool_use_id, fact.tool, _brief(fact.input))))


def with_result(turn: Turn, tool_use_id: str) -> Turn:
    """A call has its result. What belongs to no open call, as a result that comes twice, changes nothing."""
    ended = tuple(call for call in turn.calls if call.id == tool_use_id)
    calls = tuple(call for call in turn.calls if call.id != tool_use_id)
    return replace(turn, calls=calls, done=(*turn.done, *ended)[-limits.DONE_CALLS_KEPT :])


def with_fate(turn: Turn, tool_use_id: str, fate: Fate) -> Turn:
    """Something was decided about an open call; others are not touched."""
    return replace(turn, calls=tuple(replace(c, fate=fate) if c.id == tool_use_id else c for c in turn.calls))


def _brief(given: dict[str, Any]) -> str:
    text = msgspec.json.encode(given).decode()
    return text if len(text) <= limits.CALL_BRIEF_CHARS else f"{text[: limits.CALL_BRIEF_CHARS]}..."


def to_stored(turn: Turn) -> list[Any]:
    """As the session's row keeps it."""
    calls = [[call.id, call.tool, call.brief, call.fate.value] for call in turn.calls]
    done = [[call.id, call.tool, call.brief, call.fate.value] for call in turn.done]
    return [turn.message_id, turn.begun, turn.tools, turn.interrupt, calls, done, turn.doubt, turn.rerun]


def from_stored(stored: Sequence[Any]) -> Turn:
    """As it was at the last commit. A row of an older version counts the calls and no more: a doubt."""
    message_id, begun, tools, interrupt, *rest = stored
    if not rest:
        return Turn(str(message_id), bool(begun), int(tools), str(interrupt), doubt=bool(tools))
    calls, done, doubt, rerun = rest
    return Turn(
        str(message_id),
        bool(begun),
        int(tools),
        str(interrupt),
        tuple(Call(str(c[0]), str(c[1]), str(c[2]), Fate(c[3])) for c in calls),
        tuple(Call(str(c[0]), str(c[1]), str(c[2]), Fate(c[3])) for c in done),
        bool(doubt),
        bool(rerun),
    )
