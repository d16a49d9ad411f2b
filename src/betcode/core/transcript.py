"""From facts to what people see: display events, and the text of blocks that are still being written.

A transcript is a fold over the lines of one run. It holds nothing that the database needs: after a restart it is
made again from the journal, from the session's checkpoint on (`core.life`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from betcode.model import limits
from betcode.model.conversation import AnswerBlock
from betcode.model.events import Assistant, Error, Event, Note, Passing, Preview, ToolCalled, ToolEnded, UnknownLine
from betcode.model.facts import (
    AnswerStarted,
    ApiRetry,
    BadLine,
    BlockStarted,
    BlockStopped,
    Delta,
    Fact,
    RateLimit,
    Remark,
    Task,
    TextBlock,
    ToolCall,
    ToolProgress,
    ToolResult,
    TurnResult,
    TurnStarted,
    Unknown,
    UserText,
)
from betcode.model.ids import block_id

PREVIEW_FACTS = (Delta, AnswerStarted, BlockStarted, BlockStopped, ApiRetry, ToolProgress)
"""Facts that change only what is shown at the moment: no event, no step but for `ApiRetry`, `AnswerStarted`."""

QUIET_REMARKS = frozenset({"status", "keep_alive", "system/status", "progress", "attachment"})
"""Remarks that would only fill the screen."""

SHED = "too much is written in all sessions at once: this answer is shown when it is complete"
"""Where previews are left out."""


@dataclass(slots=True)
class OpenBlock:
    """A block that is being written. `parts` join to its text; `length` is that text's length in characters."""

    block: str
    message: str
    index: int
    part: str
    scope: str
    parts: list[str] = field(default_factory=list)
    length: int = 0
    shed: bool = False
    """Its text is shown when it is complete, and not before."""

    def text_from(self, offset: int) -> str:
        """The text after the first `offset` characters, looking only at the parts it needs."""
        if offset <= 0:
            if len(self.parts) > 1:
                self.parts = ["".join(self.parts)]
            return self.parts[0] if self.parts else ""
        wanted = self.length - offset
        taken: list[str] = []
        for part in reversed(self.parts):
            if wanted <= 0:
                break
            taken.append(part if len(part) <= wanted else part[len(part) - wanted :])
            wanted -= len(part)
        return "".join(reversed(taken))


@dataclass(slots=True)
class Transcript:
    """Open blocks by scope, and how many blocks of the current answer are complete."""

    open: dict[str, OpenBlock] = field(default_factory=dict)
    answers: dict[str, tuple[str, int]] = field(default_factory=dict)
    """scope -> (message id, blocks complete)"""
    passing: dict[str, Passing] = field(default_factory=dict)
    """Newest passing remark by name; clients get each at most once."""
    version: int = 0
    """Grows with every change that a preview shows."""
    bad: int = 0
    unknown: int = 0
    """Lines of this turn that could not be read, and those of unknown kinds: a flood of them is not shown whole."""

    @property
    def clean(self) -> bool:
        """Whether nothing is half shown: from here the run need not be read again."""
        return not self.open

    @property
    def chars(self) -> int:
        """Text of all open blocks."""
        return sum(block.length for block in self.open.values())

    def shed(self) -> None:
        """Let go of it, for want of room. Each block is shown whole when it is complete."""
        for block in self.open.values():
            block.parts, block.length, block.shed = [], 0, True
        self.passing["previews"] = Passing("previews", SHED)
        self.version += 1

    def previews(self) -> list[Preview]:
        """All open blocks, whole, for a client that comes in the middle."""
        return [Preview(b.block, b.part, 0, b.text_from(0), b.scope) for b in self.open.values() if b.length]

    def cut(self) -> tuple[Event, ...]:
        """The process is gone: the text of the blocks it was writing, as far as it came. They are no longer open."""
        blocks = [b for b in self.open.values() if b.length and b.part in ("text", "thinking")]
        self.open.clear()
        self.version += 1
        return tuple(
            Assistant(block=b.block, part=b.part, text=bounded(b.text_from(0)), scope=b.scope, interrupted=True)
            for b in blocks
        )

    def late(self, answer: Sequence[AnswerBlock]) -> tuple[Event, ...]:
        """The blocks of a stored answer that were not shown whole."""
        message, done = self.answers.get("", ("", 0))
        missing = [b for b in answer if not (b.message == message and b.index < done)]
        return tuple(Assistant(block=block_id(b.message, b.index), part=b.part, text=bounded(b.text)) for b in missing)

    def waits(self, place: int, *, late: bool = False, api: str = "") -> None:
        """What the session waits for.

        Args:
            place: among those that wait for a slot; 0 if it does not.
            late: it has waited long.
            api: why the API is not asked; empty if it may be.
        """
        self.version += 1
        self.passing.pop("queue", None)
        self.passing.pop("api", None)
        if api:
            self.passing["api"] = Passing("api", api)
        if place:
            long = f" for over {limits.SLOT_LATE_S:.0f} s" if late else ""
            self.passing["queue"] = Passing("queue", f"waits for a slot{long}, place {place}")

    def read(self, facts: list[Fact]) -> list[tuple[Fact, tuple[Event, ...]]]:
        """Fold one line. Returns the facts that matter beyond the moment, each with the events that show it."""
        kept: list[tuple[Fact, tuple[Event, ...]]] = []
        for fact in facts:
            if isinstance(fact, PREVIEW_FACTS):
                self._preview(fact)
                tells = isinstance(fact, ApiRetry | AnswerStarted)
                if tells or (isinstance(fact, BlockStarted) and fact.part == "tool"):
                    kept.append((fact, ()))
            elif isinstance(fact, BadLine) and fact.error_type == "schema" and len(facts) > 1:
                continue  # read with defaults; the log has it, and the other facts show what could be read
            elif isinstance(fact, BadLine):
                self.bad += 1
                kept.append((fact, _not_read(fact, self.bad)))  # the fact counts, shown or not
            elif isinstance(fact, Unknown):
                self.unknown += 1
                shown = _not_known(fact, self.unknown)
                if shown:
                    kept.append((fact, shown))
            else:
                kept.append((fact, self._show(fact)))
        return kept

    def _preview(self, fact: Fact) -> None:
        self.version += 1
        match fact:
            case Delta():
                self._append(fact)
            case AnswerStarted():
                self.open.pop(fact.scope, None)
                if len(self.answers) < limits.OPEN_BLOCKS_MAX or fact.scope in self.answers:
                    self.answers[fact.scope] = (fact.message, 0)
            case BlockStarted():
                message = self.answers.get(fact.scope, ("", 0))[0]
                if message and len(self.open) < limits.OPEN_BLOCKS_MAX:
                    name = block_id(message, fact.index)
                    self.open[fact.scope] = OpenBlock(name, message, fact.index, fact.part, fact.scope)
            case ApiRetry():
                status = f" (HTTP {fact.status})" if fact.status else ""
                text = f"{fact.error}{status}: try {fact.attempt} of {fact.max_retries} in {fact.delay_ms / 1000:.1f} s"
                self.passing["api_retry"] = Passing("api_retry", text)
            case ToolProgress():
                text = f"running for {fact.elapsed_s:.0f} s"
                self.passing["tool_progress"] = Passing("tool_progress", text, fact.tool_use_id)
            case _:
                pass

    def _append(self, fact: Delta) -> None:
        block = self.open.get(fact.scope)
        if block is None or block.shed or block.index != fact.index:
            return
        if block.length < limits.PREVIEW_TEXT_CHARS:
            block.parts.append(fact.text)
            block.length += len(fact.text)

    def _block_of(self, scope: str, message: str) -> str:
        """Name of the block that has just become complete; it is no longer open."""
        self.version += 1
        current, done = self.answers.get(scope, ("", 0))
        block = self.open.get(scope)
        index = done if current == message else 0
        if block is not None and block.message == message:
            index = block.index
            del self.open[scope]
        if current == message or len(self.answers) < limits.OPEN_BLOCKS_MAX or scope in self.answers:
            self.answers[scope] = (message, index + 1)
        return block_id(message, index)

    def _show(self, fact: Fact) -> tuple[Event, ...]:
        match fact:
            case TextBlock():
                name = self._block_of(fact.scope, fact.message)
                text = bounded(fact.text)
                more: dict[str, Any] = {"scope": fact.scope, "interrupted": fact.aborted, "api_error": fact.api_error}
                return (Assistant(block=name, part=fact.part, text=text, **more),)
            case ToolCall():
                name = self._block_of(fact.scope, fact.message)
                return (
                    ToolCalled(
                        block=name,
                        tool_use_id=fact.tool_use_id,
                        tool=fact.tool,
                        input=fact.input,
                        scope=fact.scope,
                    ),
                )
            case ToolResult():
                self.passing.pop("tool_progress", None)
                text = bounded(fact.text)
                return (ToolEnded(tool_use_id=fact.tool_use_id, text=text, is_error=fact.is_error, scope=fact.scope),)
            case TurnStarted():
                self.bad = self.unknown = 0
                return ()
            case TurnResult():
                self.open.clear()
                self.answers.clear()
                self.passing.clear()
                self.version += 1
                self.bad = self.unknown = 0
                return ()
            case _:
                return _remark(fact)


def _remark(fact: Fact) -> tuple[Event, ...]:
    """Events for facts that are only told."""
    match fact:
        case UserText() if not fact.replay:
            return (Note(name="user_text", text=bounded(fact.text), scope=fact.scope),)
        case Task() if fact.change != "progress":
            text = ": ".join(part for part in (fact.description, fact.status) if part)
            return (Note(name=f"task_{fact.change}", text=text, scope=fact.task_id),)
        case RateLimit():
            return (Note(name="rate_limit", text=f"{fact.status} {fact.window} {fact.utilization:.0%}"),)
        case Remark() if fact.name not in QUIET_REMARKS:
            return (Note(name=fact.name, text=bounded(fact.text)),)
        case _:
            return ()


def _not_read(fact: BadLine, count: int) -> tuple[Event, ...]:
    """What is shown of the unreadable line that is number `count` of its turn."""
    if not worth_telling(count, limits.BAD_LINES_TOLD):
        return ()
    many = f" ({count} such lines in this turn)" if count >= limits.BAD_LINES_TOLD else ""
    return (
        Error(
            code=f"ndjson.{fact.error_type}",
            message=f"a line of {fact.size_bytes} bytes could not be read: {fact.detail}{many}",
            hint=_FLOOD_HINT if many else "The session goes on; the journal has the line.",
            raw=fact.raw,
        ),
    )


def _not_known(fact: Unknown, count: int) -> tuple[Event, ...]:
    """What is shown of the line of unknown kind that is number `count` of its turn."""
    if not worth_telling(count, limits.UNKNOWN_LINES_TOLD):
        return ()
    line = UnknownLine(name=fact.name, raw=fact.raw)
    if count < limits.UNKNOWN_LINES_TOLD:
        return (line,)
    return (
        line,
        Error(code="ndjson.unknown", message=f"{count} lines of unknown kinds in this turn", hint=_FLOOD_HINT),
    )


_FLOOD_HINT = "Of more such lines only each doubling of their number is shown; the journal has them all."


def worth_telling(count: int, told: int) -> bool:
    """Whether the thing that is number `count` is told: the first `told` are, then each doubling of their number."""
    times, rest = divmod(count, told)
    return count <= told or (rest == 0 and times & (times - 1) == 0)


def bounded(text: str) -> str:
    """Cut a text that is too long for an event, visibly."""
    if len(text) <= limits.EVENT_TEXT_CHARS:
        return text
    return f"{text[: limits.EVENT_TEXT_CHARS]}[truncated: original_size={len(text)} characters]"
