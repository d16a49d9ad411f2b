"""The script language of the model server: what the stand-in model answers, one step for each model request.

A script is a JSON object: {"steps": [STEP, ...]}, with "repeat": true if the steps go round and round, and "keep": true
if it stays in charge of later prompts that have no script (see conversation.py). After the last step the answer is the
text "done". This module is pure: it checks and reads scripts, the server performs them.

What a step may say (content):
    {"text": "..."}                                   this text
    {"words": 3, "prefix": "w"}                       the text "w0 w1 w2" ("prefix" is "w" unless given)
    {"thinking": "...", ...}                          a thinking block first
    {"tool": {"name": "Bash", "input": {...}}}        a tool call, after the text if there is one; "id" is optional
    {"tools": [{...}, {...}]}                         several tool calls in one message
                                                      "@call" in an input stands for the id of that very call
    "chunk": 5 characters a delta (one word a delta unless given), "delta_ms": 10 between deltas, "usage": {...}
What may go wrong, one fault a step:
    {"status": 429, "headers": {...}, "error_type": "...", "message": "..."}   an HTTP error in the API's form
    {"html": 502}                                     a body that is not JSON, as a broken proxy sends it
    {"reset": "before_headers"}                       the connection is reset instead of an answer
    {"reset": "mid_stream", "after": 3, ...content}   reset after 3 deltas
    {"stall_s": 30, "after": 3, ...content}           silence after 3 deltas, then it goes on
    {"eof_after": 3, ...content}                      the stream ends properly, but after 3 deltas
    {"sse_error": "overloaded_error", "after": 3, ...content}   an error event in the stream
"after" (0 unless given) counts the content deltas of the whole answer. A cut inside a text leaves its block unfinished:
the real CLI throws it away and asks again. With "after" at or over the number of deltas the blocks are whole: the CLI
keeps them, says "Your response above was cut off mid-stream" and asks for more, which is the next step.
With "times": 2 only the first 2 requests for this (session, prompt, step) meet the fault; afterwards the step is its
"then", or the same content without the fault, or the text "ok". Without "times" the fault stays for ever.
On every step: "headers" are added to the response, "delay_s" passes before its first byte.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, ClassVar, Final

from betcode.testing.limits import PAUSE_S_MAX, STEP_DEPTH_MAX, STEPS_MAX, TOOL_CALLS_MAX, WORDS_MAX

ERROR_TYPES: Final[Mapping[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""The API's name for each HTTP error; what is not listed is `api_error`."""


class ScriptError(ValueError):
    """A script that cannot be run; the message names the key and the step, `hint` says what is allowed."""

    code: ClassVar[str] = "testing.script_invalid"

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Fault(StrEnum):
    """What goes wrong with the answer of a step."""

    STATUS = "status"
    HTML = "html"
    RESET_BEFORE_HEADERS = "before_headers"
    RESET_MID_STREAM = "mid_stream"
    STALL = "stall_s"
    EOF = "eof_after"
    SSE_ERROR = "sse_error"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One tool call of the stand-in model. Without `call_id` the server makes one that is new for every request."""

    name: str
    tool_input: Mapping[str, Any]
    call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One answer. `after` counts the content deltas of all blocks; `times` None means for ever."""

    text: str = ""
    thinking: str = ""
    tools: tuple[ToolCall, ...] = ()
    chunk: int | None = None
    delta_s: float = 0.0
    delay_s: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)
    usage: Mapping[str, Any] = field(default_factory=dict)
    fault: Fault | None = None
    status: int = 200
    error_type: str = ""
    message: str = ""
    after: int = 0
    stall_s: float = 0.0
    times: int | None = None
    then: "Step | None" = None


@dataclass(frozen=True, slots=True)
class Script:
    """The answers to the model requests of one prompt, in order."""

    steps: tuple[Step, ...]
    repeat: bool = False
    keep: bool = False
    told: Step | None = None
    """With `keep`: the answer once somebody has said something after the prompt, whatever the number of the step."""

    def step_at(self, index: int, *, told: bool = False) -> Step:
        """Step number `index` (from 0); the text "done" beyond the end."""
        if told and self.told is not None:
            return self.told
        if self.repeat and self.steps:
            return self.steps[index % len(self.steps)]
        return self.steps[index] if index < len(self.steps) else DONE


OK: Final = Step(text="ok")
DONE: Final = Step(text="done")
CALL_WORD: Final = "@call"
"""In a tool's input: the id of the call. So a side effect can show which call it belongs to."""
DEFAULT_SCRIPT: Final = Script(steps=(OK,), repeat=True)
"""What governs a prompt without a script of its own, until POST /_script replaces it."""
_AFTER_ALL_FAULTS: Final = WORDS_MAX * (STEP_DEPTH_MAX + 2)  # requests; more than all nested "times" together ask for


def pieces(text: str, chunk: int | None) -> list[str]:
    """The deltas of a text: `chunk` characters each, or a word each with the space after it; joined, the text."""
    if chunk is not None:
        return [text[start : start + chunk] for start in range(0, len(text), chunk)]
    return re.findall(r"\s*\S+\s*", text) or ([text] if text else [])


def resolved(step: Step, earlier: int) -> Step:
    """What a step is for a request that comes after `earlier` others: its fault, or what follows the fault."""
    while step.fault is not None and step.times is not None and earlier >= step.times:
        earlier -= step.times
        step = _without_fault(step)
    return step


def expected_text(step: Step | Mapping[str, Any]) -> str:
    """The text of this step that a client that retries holds in the end; "" if the fault never lets it through.

    A stream that is cut after its last delta has whole blocks, which the real CLI keeps; of one cut earlier none.
    """
    settled = resolved(step if isinstance(step, Step) else parse_step(step), _AFTER_ALL_FAULTS)
    match settled.fault:
        case None | Fault.STALL:
            return settled.text
        case Fault.EOF | Fault.SSE_ERROR | Fault.RESET_MID_STREAM if settled.after >= delta_count(settled):
            return settled.text
        case _:
            return ""


def delta_count(step: Step) -> int:
    """How many content deltas the whole answer has: what `after` counts. A tool call is one."""
    return sum(len(pieces(text, step.chunk)) for text in (step.thinking, step.text)) + len(step.tools)


def _without_fault(step: Step) -> Step:
    if step.then is not None:
        return step.then
    if step.text or step.tools:
        return replace(step, fault=None, times=None, status=200)
    return OK


def parse_script(obj: object) -> Script:
    """Check a script and read it.

    Raises:
        ScriptError: an unknown key, a wrong type, a value out of range, two faults in one step. Nothing else is raised.
    """
    script = _object(obj, "the script")
    _no_other_keys(script, ("steps", "repeat", "keep", "told"), "the script")
    steps = script.get("steps")
    if not isinstance(steps, list) or len(steps) > STEPS_MAX:
        raise ScriptError(
            '"steps" must be a list', hint=f'For example {{"steps": [{{"text": "hi"}}]}}; at most {STEPS_MAX}.'
        )
    repeat, keep = script.get("repeat", False), script.get("keep", False)
    if not isinstance(repeat, bool) or not isinstance(keep, bool):
        raise ScriptError('"repeat" and "keep" must be true or false', hint="Leave them out for false.")
    told = parse_step(script["told"], '"told"') if "told" in script else None
    return Script(
        tuple(parse_step(step, f"step {n}") for n, step in enumerate(steps)), repeat=repeat, keep=keep, told=told
    )


def parse_step(obj: object, where: str = "the step", depth: int = 0) -> Step:
    """Check one step and read it; `where` names it in errors. Raises ScriptError as `parse_script` does."""
    raw = _object(obj, where)
    if depth > STEP_DEPTH_MAX:
        raise ScriptError(f'"then" is nested too deeply in {where}', hint=f"At most {STEP_DEPTH_MAX} levels.")
    if not raw:
        raise ScriptError(f"{where} is empty", hint='Say at least {"text": "..."}.')
    _no_other_keys(raw, tuple(_CHECKS), where)
    for key, value in raw.items():
        if not _CHECKS[key].holds(value):
            raise ScriptError(f'"{key}" in {where} must be {_CHECKS[key].words}', hint="See betcode/testing/script.py.")
        if key in _ONLY_WITH and not any(other in raw for other in _ONLY_WITH[key]):
            hint = f"It goes with one of: {', '.join(_ONLY_WITH[key])}."
            raise ScriptError(f'"{key}" has no meaning in {where}', hint=hint)
    then = parse_step(raw["then"], f'"then" of {where}', depth + 1) if "then" in raw else None
    step = _content(raw, where)
    faulty = replace(step, **_fault(raw, where), times=raw.get("times"), then=then)
    if faulty.fault in _WITHOUT_CONTENT or any(key in raw for key in _CONTENT_KEYS):
        return faulty
    source = then or OK  # a cut without content of its own cuts the answer that `then` gives; otherwise it is "ok"
    return replace(faulty, text=source.text, thinking=source.thinking, tools=source.tools, chunk=source.chunk)


def _content(raw: Mapping[str, Any], where: str) -> Step:
    if "text" in raw and "words" in raw:
        raise ScriptError(f'"text" and "words" exclude each other in {where}', hint="Keep one of the two.")
    if "tool" in raw and "tools" in raw:
        raise ScriptError(f'"tool" and "tools" exclude each other in {where}', hint='Put all calls into "tools".')
    calls = (
        [{"id": raw["id"], **raw["tool"]} if "id" in raw else raw["tool"]] if "tool" in raw else raw.get("tools", [])
    )
    words = " ".join(f"{raw.get('prefix', 'w')}{n}" for n in range(raw.get("words", 0)))
    return Step(
        text=raw.get("text", words),
        thinking=raw.get("thinking", ""),
        tools=tuple(_tool_call(call, where) for call in calls),
        chunk=raw.get("chunk"),
        delta_s=raw.get("delta_ms", 0) / 1000,
        delay_s=raw.get("delay_s", 0.0),
        headers={name.lower(): str(value) for name, value in raw.get("headers", {}).items()},
        usage=raw.get("usage", {}),
    )


def _tool_call(obj: object, where: str) -> ToolCall:
    raw = _object(obj, f"the tool call of {where}")
    _no_other_keys(raw, ("name", "input", "id"), f"the tool call of {where}")
    name, tool_input, call_id = raw.get("name"), raw.get("input", {}), raw.get("id")
    if not isinstance(name, str) or not isinstance(tool_input, dict) or not isinstance(call_id, str | None):
        raise ScriptError(f"the tool call of {where} is malformed", hint='{"name": "Bash", "input": {"command": "ls"}}')
    return ToolCall(name, tool_input, call_id)


def _fault(raw: Mapping[str, Any], where: str) -> dict[str, Any]:
    present = [key for key in _FAULT_KEYS if key in raw]
    if len(present) > 1:
        raise ScriptError(
            f"{where} has {' and '.join(present)}", hint='One fault a step; put the other into the next step or "then".'
        )
    match present:
        case ["status" | "html" as kind]:
            status: int = raw[kind]
            return {
                "fault": Fault(kind),
                "status": status,
                "error_type": raw.get("error_type", ERROR_TYPES.get(status, "api_error")),
                "message": raw.get("message", f"scripted error {status}"),
            }
        case ["reset"]:
            return {"fault": Fault(raw["reset"]), "after": raw.get("after", 0)}
        case ["stall_s"]:
            return {"fault": Fault.STALL, "after": raw.get("after", 0), "stall_s": raw["stall_s"]}
        case ["eof_after"]:
            return {"fault": Fault.EOF, "after": raw["eof_after"]}
        case ["sse_error"]:
            message = raw.get("message", "scripted error in the stream")
            return {
                "fault": Fault.SSE_ERROR,
                "after": raw.get("after", 0),
                "error_type": raw["sse_error"],
                "message": message,
            }
        case _:
            return {}


@dataclass(frozen=True, slots=True)
class _Check:
    holds: Callable[[Any], bool]
    words: str


def _whole(low: int, high: int) -> _Check:
    return _Check(lambda value: type(value) is int and low <= value <= high, f"a whole number from {low} to {high}")


def _number(high: float) -> _Check:
    return _Check(lambda value: type(value) in (int, float) and 0 <= value <= high, f"a number from 0 to {high:g}")


def _is_header_map(value: object) -> bool:
    """Header values may be numbers; a line break in one would forge a second header."""
    return isinstance(value, dict) and all(
        re.fullmatch(r"[A-Za-z0-9-]+", name) and isinstance(text, str | int | float) and str(text).isprintable()
        for name, text in value.items()
    )


_FAULT_KEYS: Final = ("status", "html", "reset", "stall_s", "eof_after", "sse_error")
_WITHOUT_CONTENT: Final = (Fault.STATUS, Fault.HTML, Fault.RESET_BEFORE_HEADERS)
_CONTENT_KEYS: Final = ("text", "words", "thinking", "tool", "tools")
_ONLY_WITH: Final[Mapping[str, Sequence[str]]] = {
    "prefix": ("words",),
    "id": ("tool",),
    "after": ("reset", "stall_s", "sse_error"),
    "error_type": ("status",),
    "message": ("status", "sse_error"),
    "times": _FAULT_KEYS,
    "then": _FAULT_KEYS,
}
_TEXT: Final = _Check(lambda value: isinstance(value, str), "a text")
_OBJECT: Final = _Check(lambda value: isinstance(value, dict), "an object")
_COUNT: Final = _whole(0, WORDS_MAX)
_CHECKS: Final[Mapping[str, _Check]] = {
    "text": _TEXT,
    "words": _COUNT,
    "prefix": _TEXT,
    "thinking": _TEXT,
    "tool": _OBJECT,
    "tools": _Check(
        lambda value: isinstance(value, list) and len(value) <= TOOL_CALLS_MAX, f"a list of at most {TOOL_CALLS_MAX}"
    ),
    "id": _TEXT,
    "chunk": _whole(1, WORDS_MAX),
    "delta_ms": _number(PAUSE_S_MAX * 1000),
    "delay_s": _number(PAUSE_S_MAX),
    "usage": _OBJECT,
    "headers": _Check(_is_header_map, "an object of header names and printable values"),
    "status": _whole(400, 599),
    "html": _whole(200, 599),
    "error_type": _TEXT,
    "message": _TEXT,
    "times": _COUNT,
    "then": _OBJECT,
    "reset": _Check(lambda value: value in ("before_headers", "mid_stream"), '"before_headers" or "mid_stream"'),
    "after": _COUNT,
    "stall_s": _number(PAUSE_S_MAX),
    "eof_after": _COUNT,
    "sse_error": _TEXT,
}


def _object(obj: object, where: str) -> Mapping[str, Any]:
    if isinstance(obj, Mapping):
        return obj
    raise ScriptError(f"{where} must be a JSON object", hint="See betcode/testing/script.py.")


def _no_other_keys(obj: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in obj:
        if key not in known:
            raise ScriptError(f'unknown key "{key}" in {where}', hint=f"Known keys: {', '.join(known)}.")
