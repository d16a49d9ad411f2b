"""Which script governs a model request, and at which step it is: read from the request alone.

The server keeps no conversation. A script stands in the user's prompt, as `@script {...}`, and so comes back with every
request of that conversation, also after `claude` was killed and resumed. Rules:
  1. The governing text is the last text of a person. If it holds `@script {...}` (the last one in it counts) that
     script governs, otherwise the server's default script. Prompts that the CLI merged into one message stay separate.
  2. Tool results are not texts of a person, nor is what the CLI writes in the user's name: reminders, notes on an
     interrupt, "Continue from where you left off.", what is left of a compaction.
  3. A message that was handed to the running turn governs only if it holds a script; otherwise the turn's goes on.
  4. A script with "keep": true governs until the next script: later texts without one (such as the prompt by which a
     supervisor resumes an interrupted turn) do not end it; if it has a step "told", that is the answer from then on.
  5. The step is the number of assistant turns after the governing text; entries with no user entry between them are
     one turn.
This module is pure.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from betcode.testing.script import DEFAULT_SCRIPT, Script, ScriptError, parse_script

_MARK: Final = re.compile(r"@script\s+(?=\{)")
_REMINDER: Final = re.compile(r"<system-reminder>.*?</system-reminder>", re.DOTALL)
_STEERED: Final = "The user sent a new message while you were working:"  # in a `system` entry, or in a reminder
_WRITTEN_BY_THE_CLI: Final = (
    "Continue from where you left off.",
    "Your response above was cut off mid-stream",
    "[Request interrupted by user",
    "This session is being continued from a previous conversation",
    "<local-command-",
    "<command-name>",
    "<task-notification>",
)
_COMPACTION: Final = "CRITICAL: Respond with TEXT ONLY. Do NOT call any tools."
_NOT_AN_ANSWER: Final = frozenset({"No response requested.", "(no content)"})


@dataclass(frozen=True, slots=True)
class Governing:
    """Where a conversation stands: `step` is the index of the step that answers the request.

    `prompt` is the governing text ("" if no person said anything), `occurrence` how often the same text came before it.
    `told`: somebody has said something after it that does not govern.
    """

    prompt: str = ""
    occurrence: int = 0
    step: int = 0
    told: bool = False


def governing(messages: Sequence[Mapping[str, Any]]) -> Governing:
    """Find the governing text and the step in the messages of one request. Malformed entries say nothing."""
    found = Governing()
    seen: dict[str, int] = {}
    new_turn, kept = True, False
    for message in messages:
        role = message.get("role")
        if role == "assistant" and new_turn and not _is_filler(message):
            found = replace(found, step=found.step + 1)
            new_turn = False
        if role == "user":
            new_turn = True
        for said in _said(message) if role in ("user", "system") else ():
            scripted = _MARK.search(said) is not None
            if scripted or not kept:
                found = Governing(said, seen.get(said, 0))
                seen[said] = found.occurrence + 1
                kept = scripted and _stays(said)
            else:
                found = replace(found, told=True)
    return found


def _stays(prompt: str) -> bool:
    """Whether the script of a text is one that stays in charge; a broken one does not."""
    try:
        return script_for(prompt, DEFAULT_SCRIPT).keep
    except ScriptError:
        return False


def script_for(prompt: str, default: Script) -> Script:
    """The last `@script {...}` of a text; one that stands inside another's JSON does not count.

    Raises:
        ScriptError: a script of the text cannot be read or run.
    """
    found = default
    position = 0
    while mark := _MARK.search(prompt, position):
        try:
            obj, position = json.JSONDecoder().raw_decode(prompt, mark.end())
        except (ValueError, RecursionError) as error:
            hint = "The object starts right after `@script `; text may follow it."
            raise ScriptError(f"the JSON after @script cannot be read: {error}", hint=hint) from error
        found = parse_script(obj)
    return found


def is_background(body: Mapping[str, Any]) -> bool:
    """A call that the CLI makes for itself: a small model without tools (titles, summaries), or a compaction."""
    messages = body.get("messages") or [{}]
    small = "haiku" in str(body.get("model")) and not body.get("tools")
    return small or any(text.startswith(_COMPACTION) for text in _texts(messages[-1]))


def session_of(headers: Mapping[str, str], body: Mapping[str, Any]) -> str:
    """The CLI's session id: its own header, else from `metadata.user_id` (JSON or `..._session_<id>`); else ""."""
    if header := headers.get("x-claude-code-session-id"):
        return header
    metadata = body.get("metadata")
    user_id = str(metadata.get("user_id", "")) if isinstance(metadata, dict) else ""
    try:
        decoded = json.loads(user_id)
    except (ValueError, RecursionError):
        return user_id.rpartition("_session_")[2] if "_session_" in user_id else ""
    return str(decoded.get("session_id", "")) if isinstance(decoded, dict) else ""


def _said(message: Mapping[str, Any]) -> Iterator[str]:
    """The texts of a person in a user or system entry that may govern."""
    for text in _texts(message):
        _, steered, rest = text.partition(_STEERED)
        if steered:
            if _MARK.search(rest):
                yield rest
        elif message["role"] == "user":
            own = _REMINDER.sub("", text).strip()
            if own and not own.startswith(_WRITTEN_BY_THE_CLI):
                yield own


def _texts(message: Mapping[str, Any]) -> Iterator[str]:
    content = message.get("content")
    for block in content if isinstance(content, list) else [{"type": "text", "text": content}]:
        if isinstance(block, dict) and block.get("type") == "text" and isinstance(block.get("text"), str):
            yield block["text"]


def _is_filler(message: Mapping[str, Any]) -> bool:
    """What the CLI puts in the assistant's name where no answer was."""
    content = message.get("content")
    blocks = content if isinstance(content, list) else []
    only_text = all(isinstance(block, dict) and block.get("type") == "text" for block in blocks)
    return only_text and " ".join(_texts(message)).strip() in _NOT_AN_ANSWER
