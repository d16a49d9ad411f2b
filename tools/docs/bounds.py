"""What `wire/client_api.check` refuses, in words and as JSON Schema.

Written by hand; tests/architecture/test_docs_in_sync.py sends the daemon's check what is just inside and just outside
of each bound. Bounds in bytes are in words only: JSON Schema counts characters.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import Any, get_args

import msgspec
from tools.docs.reading import source_of

from betcode.model import limits
from betcode.model.frames import AnyRequest
from betcode.model.rows import PASSED_ON, Options
from betcode.model.usage import BY, DAYS_MAX
from betcode.wire import client_api
from betcode.wire.client_api import RULE, TRACE_ID, UUID

INT64_HALF = 2**62


@dataclass(frozen=True, slots=True)
class Bound:
    """The limits of one field."""

    words: str
    schema: dict[str, Any] = field(default_factory=dict)


def chars(most: int, more: str = "") -> Bound:
    """A text of at most so many Unicode characters."""
    return Bound(f"at most {most:,} characters, no NUL{more}", {"maxLength": most})


def numbers(least: int, most: int) -> Bound:
    """A whole number in a range."""
    return Bound(f"{least:,} to {most:,}", {"minimum": least, "maximum": most})


def matching(expression: re.Pattern[str], *, or_empty: bool = False) -> dict[str, Any]:
    """A compiled pattern in the dialect of JSON Schema: anchored, and with its own word for any character."""
    text = expression.pattern.removesuffix(r"\Z").replace(r"\(.*\)", r"\([\s\S]*\)")
    return {"pattern": f"^({text})?$" if or_empty else f"^{text}$"}


NAME = chars(limits.NAME_CHARS_MAX)
TITLE = chars(limits.NAME_CHARS_MAX, ", no line break")
PATH = chars(limits.PATH_CHARS_MAX)
VARIABLE = chars(limits.ENV_CHARS_MAX)
TRACE = Bound("32 lower-case hex digits, or empty", matching(TRACE_ID, or_empty=True))
PROSE = chars(limits.ANSWER_CHARS_MAX)
RULES = Bound(
    f"at most {limits.RULES_MAX} rules such as `Bash(git *)`; of each {chars(limits.RULE_CHARS_MAX).words}",
    {
        "maxItems": limits.RULES_MAX,
        "items": {"type": "string", "maxLength": limits.RULE_CHARS_MAX} | matching(RULE),
    },
)
OPTION = f"^--({'|'.join(sorted(PASSED_ON))})(=|$)"
MODEL = Bound(f"does not begin with a dash; {NAME.words}", {"pattern": "^(?!-)"} | NAME.schema)
MODES = ["", "default", "acceptEdits", "plan"]
LOW_S, HIGH_S = limits.PERMISSION_TTL_RANGE_S

BOUNDS: dict[str, Bound] = {
    "GetUsage.by": Bound("`day`, `session`, `model` or `upstream`", {"enum": list(BY)}),
    "GetUsage.days": numbers(0, DAYS_MAX),
    "session": NAME,
    "Hello.protocol": Bound(f"at most {limits.RULES_MAX} versions", {"maxItems": limits.RULES_MAX}),
    "Hello.client": NAME,
    "Hello.version": NAME,
    "Hello.trace_id": TRACE,
    "Create.directory": Bound(
        f"an absolute path of a directory that exists and is yours; {PATH.words}",
        {"minLength": 1} | PATH.schema,
    ),
    "Create.name": TITLE,
    "Create.key": Bound("a UUID in lower case, or empty", matching(UUID, or_empty=True)),
    "Send.key": Bound("a UUID in lower case", matching(UUID)),
    "Send.text": Bound(f"not blank; at most {limits.PROMPT_BYTES_MAX:,} bytes in UTF-8", {"minLength": 1}),
    "Answer.permission": NAME,
    "Answer.message": PROSE,
    "Answer.updated_input": Bound(f"at most {limits.ANSWER_CHARS_MAX:,} bytes as JSON"),
    "Rename.name": TITLE,
    "Retry.model": MODEL,
    "ListSessions.limit": numbers(1, limits.LIST_MAX),
    "Events.limit": numbers(1, limits.PAGE_EVENTS_MAX),
    "Events.after": numbers(0, INT64_HALF),
    "QuarantinedLine.run": numbers(0, INT64_HALF),
    "QuarantinedLine.offset": numbers(0, INT64_HALF),
    "QuarantinedLine.start": numbers(0, INT64_HALF),
    "Options.trace_id": TRACE,
    "Options.model": MODEL,
    "Options.allow": RULES,
    "Options.disallow": RULES,
    "Options.add_dirs": Bound(
        f"at most {limits.RULES_MAX} directories; of each {PATH.words}",
        {"maxItems": limits.RULES_MAX, "items": {"type": "string"} | PATH.schema},
    ),
    "Options.more": Bound(
        f"at most {limits.RULES_MAX} options of claude as `--name=value`; names: {', '.join(sorted(PASSED_ON))}",
        {
            "maxItems": limits.RULES_MAX,
            "items": {"type": "string", "pattern": OPTION},
        },
    ),
    "Options.permission_mode": Bound("one of these; modes that never ask are refused", {"enum": MODES}),
    "Options.system_prompt": PROSE,
    "Options.append_system_prompt": PROSE,
    "Options.setting_sources": NAME,
    "Options.permission_ttl_s": Bound(
        f"0, or {LOW_S:,.0f} to {HIGH_S:,.0f} seconds",
        {"anyOf": [{"const": 0}, {"minimum": LOW_S, "maximum": HIGH_S}]},
    ),
    "Options.path": VARIABLE,
    "Options.virtual_env": VARIABLE,
    "Options.claude_config_dir": PATH,
    "Options.max_turns": Bound("0 (no limit) to 1,000,000", {"minimum": 0, "maximum": 1_000_000}),
}
"""`Struct.field`, or the field alone where every request that has it is checked alike."""


def key_of(struct: str, name: str) -> str:
    """The key in `BOUNDS` for a field of a request or of what it holds; empty when nothing limits it."""
    return next((key for key in (f"{struct}.{name}", name) if key in BOUNDS), "")


def check() -> None:
    """Raise ValueError where the table above and `wire/client_api.py` do not speak of the same fields."""
    fields = {f"{struct.__name__}.{name}" for struct in (*get_args(AnyRequest), Options) for name in _names(struct)}
    if foreign := BOUNDS.keys() - fields - {"session"}:
        raise ValueError(f"tools/docs/bounds.py: there are no fields {sorted(foreign)}")
    constants = [node.value for node in ast.walk(ast.parse(source_of(client_api))) if isinstance(node, ast.Constant)]
    texts = {value for value in constants if isinstance(value, str)}
    silent = {f"Options.{name}" for name in _names(Options) if f"options.{name}" in texts} - BOUNDS.keys()
    silent |= (texts & _requested()) - {key.rpartition(".")[2] for key in BOUNDS}
    if silent:
        raise ValueError(f"tools/docs/bounds.py: client_api.py checks {sorted(silent)}, and BOUNDS does not say how")


def _requested() -> set[str]:
    return {name for struct in get_args(AnyRequest) for name in _names(struct)} - {"id"}


def _names(struct: type) -> set[str]:
    return {field.name for field in msgspec.structs.fields(struct)}
