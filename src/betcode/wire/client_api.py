"""Frames of the client protocol: bytes to typed values and back, with every length checked (SE-2).

Whatever a client sends, the outcome is a typed request or a BetcodeError with a sentence: nothing else escapes.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.frames import (
    Answer,
    AnyFrame,
    AnyRequest,
    Create,
    Events,
    Failed,
    Frame,
    GetUsage,
    Hello,
    ListSessions,
    QuarantinedLine,
    Rename,
    Request,
    Retry,
    Send,
)
from betcode.model.rows import PASSED_ON, Options
from betcode.model.usage import BY, DAYS_MAX

_request_decoder = msgspec.json.Decoder(AnyRequest)
_frame_decoder: msgspec.json.Decoder[AnyFrame] = msgspec.json.Decoder(AnyFrame)
_encode = msgspec.json.Encoder().encode

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")
RULE = re.compile(r"[A-Za-z_][A-Za-z0-9_.*-]*(\(.*\))?\Z", re.DOTALL)
"""A permission rule in Claude Code's syntax: a tool, or a tool with a pattern in parentheses."""
TRACE_ID = re.compile(r"[0-9a-f]{32}\Z")
_ID = re.compile(rb'"id"\s*:\s*(-?\d{1,18})\b')


def decode_request(data: bytes | str) -> AnyRequest:
    """Read one request and check its fields. Raises BetcodeError `frame.invalid` or `request.invalid`."""
    try:
        request: AnyRequest = _request_decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BetcodeError(
            "frame.invalid",
            f"this frame is not a request: {str(error)[: limits.BAD_LINE_PREVIEW_CHARS]}",
            hint="Send one JSON object of docs/protocol.md as a text frame.",
        ) from error
    check(request)
    return request


def request_id(data: bytes | str) -> int:
    """Best guess of the `id` of a frame that could not be read, so that its sender can match the error; else 0."""
    raw = data.encode("utf-8", "replace") if isinstance(data, str) else data
    found = _ID.search(raw[: limits.BAD_LINE_PREVIEW_CHARS])
    return int(found.group(1)) if found else 0


def encode_request(request: Request) -> bytes:
    """One request as a text frame."""
    return _encode(request)


def encode_frame(frame: Frame) -> bytes:
    """One frame of the daemon."""
    return _encode(frame)


def failed(re: int, error: BetcodeError) -> Failed:
    """The frame that tells a client of an error of its request `re`."""
    return msgspec.convert({"type": "error", "re": re, **error.view()}, Failed)


def decode_frame(data: bytes | str) -> AnyFrame:
    """Read one frame of the daemon. Raises BetcodeError `frame.invalid`."""
    try:
        return _frame_decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BetcodeError(
            "frame.invalid",
            f"the daemon sent a frame this client cannot read: {str(error)[: limits.BAD_LINE_PREVIEW_CHARS]}",
            hint="Client and daemon may be of different versions: betcode version; betcode daemon status.",
        ) from error


def check(request: AnyRequest) -> None:
    """Refuse fields outside their limits."""
    session = getattr(request, "session", "")
    _text("session", session, limits.NAME_CHARS_MAX)
    match request:
        case Hello():
            _text("client", request.client, limits.NAME_CHARS_MAX)
            _text("version", request.version, limits.NAME_CHARS_MAX)
            if len(request.protocol) > limits.RULES_MAX:
                raise _bad("protocol", "lists too many versions")
            if request.trace_id and not TRACE_ID.match(request.trace_id):
                raise _bad("trace_id", "is not 32 lower-case hex digits")
        case Create():
            _create(request)
        case Send():
            _uuid("key", request.key)
            _prompt(request.text)
        case Answer():
            _text("permission", request.permission, limits.NAME_CHARS_MAX)
            _text("message", request.message, limits.ANSWER_CHARS_MAX)
            if request.updated_input is not None and len(_encode(request.updated_input)) > limits.ANSWER_CHARS_MAX:
                raise _bad("updated_input", f"is longer than {limits.ANSWER_CHARS_MAX} bytes")
        case Rename() | Retry():
            _rename(request)
        case GetUsage():
            _usage(request)
        case ListSessions():
            _range("limit", request.limit, 1, limits.LIST_MAX)
        case Events():
            _range("limit", request.limit, 1, limits.PAGE_EVENTS_MAX)
            _range("after", request.after, 0, 2**62)
        case QuarantinedLine():
            for field in ("run", "offset", "start"):
                _range(field, getattr(request, field), 0, 2**62)
        case _:
            pass


def _model(field: str, model: str) -> None:
    _text(field, model, limits.NAME_CHARS_MAX)
    if model.startswith("-"):
        raise _bad(field, "begins with a dash")


def _rename(request: Rename | Retry) -> None:
    if isinstance(request, Retry):
        _model("model", request.model)
        return
    _name(request.name)
    if not request.name.strip():
        raise _bad("name", "is empty")


def _usage(request: GetUsage) -> None:
    _range("days", request.days, 0, DAYS_MAX)
    if request.by not in BY:
        raise _bad("by", f"must be one of {', '.join(BY)}")


def _create(request: Create) -> None:
    _text("directory", request.directory, limits.PATH_CHARS_MAX)
    if not request.directory:
        raise _bad("directory", "is empty")
    _name(request.name)
    if request.key:
        _uuid("key", request.key)
    options = request.options
    if options.trace_id and not TRACE_ID.match(options.trace_id):
        raise _bad("options.trace_id", "is not 32 lower-case hex digits")
    _model("options.model", options.model)
    _text("options.path", options.path, limits.ENV_CHARS_MAX)
    _text("options.virtual_env", options.virtual_env, limits.ENV_CHARS_MAX)
    _text("options.claude_config_dir", options.claude_config_dir, limits.PATH_CHARS_MAX)
    _rules(options)
    low, high = limits.PERMISSION_TTL_RANGE_S
    if options.permission_ttl_s and not low <= options.permission_ttl_s <= high:
        raise _bad("options.permission_ttl_s", f"is {options.permission_ttl_s}; allowed are {low:.0f} to {high:.0f} s")
    _range("options.max_turns", options.max_turns, 0, 1_000_000)
    _more_options(options)


def _more_options(options: Options) -> None:
    if options.permission_mode not in ("", "default", "acceptEdits", "plan"):
        raise _bad("options.permission_mode", "must be default, acceptEdits or plan; modes that never ask are refused")
    for name, text in (
        ("options.system_prompt", options.system_prompt or ""),
        ("options.append_system_prompt", options.append_system_prompt),
    ):
        _text(name, text, limits.ANSWER_CHARS_MAX)
    _text("options.setting_sources", options.setting_sources or "", limits.NAME_CHARS_MAX)
    if len(options.add_dirs) > limits.RULES_MAX:
        raise _bad("options.add_dirs", f"has more than {limits.RULES_MAX} directories")
    for directory in options.add_dirs:
        _text("options.add_dirs", directory, limits.PATH_CHARS_MAX)
    if len(options.more) > limits.RULES_MAX:
        raise _bad("options.more", f"has more than {limits.RULES_MAX} options")
    for option in options.more:
        _text("options.more", option, limits.ANSWER_CHARS_MAX)
        name, _, _ = option.partition("=")
        if not name.startswith("--") or name[2:] not in PASSED_ON:
            raise _bad("options.more", f"has {name[:40]!a}; allowed are {', '.join(sorted(PASSED_ON))}")


def _rules(options: Options) -> None:
    for name, rules in (("options.allow", options.allow), ("options.disallow", options.disallow)):
        if len(rules) > limits.RULES_MAX:
            raise _bad(name, f"has more than {limits.RULES_MAX} rules")
        for rule in rules:
            _text(name, rule, limits.RULE_CHARS_MAX)
            if not RULE.match(rule):
                raise _bad(name, f"has {rule!r}, which is no rule such as Bash, Bash(git *) or Edit(src/**)")


def _bad(name: str, what: str) -> BetcodeError:
    return BetcodeError("request.invalid", f"{name} {what}", hint="Correct the value; docs/protocol.md has the limits.")


def _text(name: str, value: Any, chars_max: int) -> None:
    if len(value) > chars_max:
        raise _bad(name, f"is longer than {chars_max} characters")
    if "\0" in value:
        raise _bad(name, "contains a NUL character")


def _name(value: str) -> None:
    _text("name", value, limits.NAME_CHARS_MAX)
    if "\n" in value:
        raise _bad("name", "contains a line break")


def _uuid(name: str, value: str) -> None:
    if not UUID.match(value):
        raise _bad(name, "is not a UUID in lower case, such as 123e4567-e89b-42d3-a456-426614174000")


def _prompt(text: str) -> None:
    if not text.strip():
        raise _bad("text", "is empty")
    size = len(text.encode("utf-8", "replace"))
    if size > limits.PROMPT_BYTES_MAX:
        raise _bad("text", f"has {size} bytes; at most {limits.PROMPT_BYTES_MAX} go into one message")


def _range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise _bad(name, f"is {value}; allowed are {low} to {high}")
