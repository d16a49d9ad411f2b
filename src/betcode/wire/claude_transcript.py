"""The lines of claude's transcript into what is stored of the conversation.

A transcript (`<session>.jsonl`) has an object a line, appended. Of interest are entries of the main conversation:
`user` (a prompt, tool results, or a note that claude wrote in the user's name), `assistant` (one content block each),
and the attachment `queued_command` (a message that was taken into the running turn). Their uuids are those of the lines
on stdin and stdout. All other kinds, and all that does not fit, say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from betcode.model.conversation import AnswerBlock, Conversation
from betcode.wire.lines import Line
from betcode.wire.objects import Unreadable, read_object

CONTINUED: Final = "Continue from where you left off."
"""The note with which claude takes up an interrupted turn."""
CUT_OFF: Final = "Your response above was cut off mid-stream"
"""Beginning of the note after which the model goes on with an answer that was cut."""
SYNTHETIC: Final = "<synthetic>"
"""The model's name in answers that claude wrote itself: an API error, or a filler where no answer was."""


class StoredConversation:
    """Takes the lines of a transcript in order, and says at the end what is stored."""

    __slots__ = (
        "_answer",
        "_answered",
        "_calls",
        "_damaged",
        "_followed",
        "_messages",
        "_next_block",
        "_prompts",
        "_rerun_spent",
        "_results",
        "_unread",
    )

    def __init__(self) -> None:
        self._messages: set[str] = set()
        self._prompts: dict[str, None] = {}
        self._calls: set[str] = set()
        self._results: set[str] = set()
        self._answered = self._followed = self._rerun_spent = False
        self._damaged = self._unread = 0
        self._answer: list[AnswerBlock] = []
        self._next_block = ("", 0)

    def take(self, line: Line, *, finished: bool = True) -> None:
        """Read one line. `finished`: it ended with a newline; damage in one that did not is no loss."""
        if line.original_size is not None:
            self._unread += 1
            return
        data = line.data.strip()
        if not data:
            return
        try:
            entry = read_object(data)
        except Unreadable:
            self._damaged += finished
            return
        if entry.get("isSidechain") is True:
            return
        match entry.get("type"):
            case "user":
                self._user(entry)
            case "assistant":
                self._assistant(entry)
            case "attachment":
                self._attachment(entry)
            case _:
                pass

    def conversation(self, *, size: int, whole: bool) -> Conversation:
        """What was read. `whole`: the first line taken was the first of the file."""
        return Conversation(
            found=size > 0,
            whole=whole and not self._unread,
            size=size,
            damaged=self._damaged,
            messages=frozenset(self._messages),
            prompts=tuple(self._prompts),
            calls=frozenset(self._calls),
            results=frozenset(self._results),
            answered=self._answered,
            rerun_spent=self._rerun_spent,
            followed=self._followed,
            answer=tuple(self._answer),
        )

    def _user(self, entry: Mapping[str, Any]) -> None:
        message = _object(entry, "message")
        results = [name for block in _blocks(message) if (name := _name(block, "tool_use_id", kind="tool_result"))]
        if results:
            self._results.update(results)
            self._answered = self._rerun_spent = False
            return
        if entry.get("isMeta") is True or entry.get("isCompactSummary") is True:
            note = _text(message)
            self._rerun_spent = note == CONTINUED
            if self._rerun_spent or note.startswith(CUT_OFF):
                self._answered = False
            return
        self._followed = self._rerun_spent = False
        names = [_string(entry, "uuid"), *(name for name in _list(entry, "mergedSendUuids") if isinstance(name, str))]
        self._messages.update(filter(None, names))
        if _is_prompt(entry):
            self._answered = False
            self._prompts.update(dict.fromkeys(filter(None, reversed(names))))

    def _assistant(self, entry: Mapping[str, Any]) -> None:
        self._followed = True
        message = _object(entry, "message")
        if entry.get("isApiErrorMessage") is True or message.get("model") == SYNTHETIC:
            return  # no progress: a turn that was taken up again and met an error is not taken up another time
        self._rerun_spent = False
        blocks = list(_blocks(message))
        self._take_answer(_string(message, "id"), blocks)
        calls = [name for block in blocks if (name := _name(block, "id", kind="tool_use"))]
        self._calls.update(calls)
        says = any(_string(block, "text") for block in blocks if block.get("type") == "text")
        ended = message.get("stop_reason") not in (None, "tool_use")  # an interrupted answer has no reason
        self._answered = (says or self._answered) and ended and not calls

    def _take_answer(self, message: str, blocks: list[Mapping[str, Any]]) -> None:
        """Blocks of one message stand in entries of their own, in order."""
        current, index = self._next_block
        if message != current:
            self._answer, index = [], 0
        for block in blocks:
            for part in ("text", "thinking"):
                if block.get("type") == part and (text := _string(block, part)):
                    self._answer.append(AnswerBlock(message, index, part, text))
            index += 1
        self._next_block = (message, index)

    def _attachment(self, entry: Mapping[str, Any]) -> None:
        attachment = _object(entry, "attachment")
        name = _string(attachment, "source_uuid")
        if attachment.get("type") == "queued_command" and name:
            self._messages.add(name)
            self._answered = False


def _is_prompt(entry: Mapping[str, Any]) -> bool:
    """Whether this began a turn in somebody's name; notes of claude have no source, or tell that it is claude."""
    source = _string(entry, "promptSource")
    return bool(source) and source != "system" and _object(entry, "origin").get("kind", "human") == "human"


def _blocks(message: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for block in _list(message, "content"):
        if isinstance(block, dict):
            yield block


def _name(block: Mapping[str, Any], key: str, *, kind: str) -> str:
    return _string(block, key) if block.get("type") == kind else ""


def _text(message: Mapping[str, Any]) -> str:
    """The message's text, or the first text block."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return next((_string(block, "text") for block in _blocks(message) if block.get("type") == "text"), "")


def _object(holder: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = holder.get(key)
    return value if isinstance(value, dict) else {}


def _list(holder: Mapping[str, Any], key: str) -> list[Any]:
    value = holder.get(key)
    return value if isinstance(value, list) else []


def _string(holder: Mapping[str, Any], key: str) -> str:
    value = holder.get(key)
    return value if isinstance(value, str) else ""
