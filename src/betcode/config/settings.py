"""The catalogue of settings: each leaf of `tree.Config` as data, with the check of one value against it."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from betcode.config.tree import Config

ALIASES = {"BETCODE_CLAUDE": "agent.claude"}
"""Variables with a name of their own, beside `BETCODE_<SECTION>_<KEY>`."""
SHOWN_CHARS_MAX = 80
"""A foreign key or value in a message is cut here: the place in the file is what matters."""


class NotAllowedError(ValueError):
    """A value that its setting does not allow."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One leaf of the tree. `annotation` is what msgspec converts to, `kind` the type without its bounds."""

    section: str
    name: str
    annotation: Any
    kind: Any
    meta: msgspec.Meta
    default: object

    @property
    def key(self) -> str:
        """The name in messages: `section.name`."""
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"BETCODE_{self.section}_{self.name}".upper()

    @property
    def sentence(self) -> str:
        """What it is for."""
        return self.meta.description or ""

    @property
    def reload(self) -> bool:
        """Whether a running daemon takes a new value on SIGHUP."""
        return bool(self._extra["reload"])

    @property
    def project(self) -> bool:
        """Whether the files of a project may give it."""
        return bool(self._extra["project"])

    @property
    def type_text(self) -> str:
        """Its type in words."""
        if get_origin(self.kind) is tuple:
            return "list of texts"
        if get_origin(self.kind) is Literal:
            return "one of " + ", ".join(get_args(self.kind))
        return {bool: "true or false", int: "whole number", float: "number"}.get(self.kind, "text")

    @property
    def range_text(self) -> str:
        """Its bounds in words; empty where the type says all."""
        if self.meta.ge is not None and self.meta.le is not None:
            return f"{number(self.meta.ge)} to {number(self.meta.le)}"
        return str(self._extra.get("range_text", ""))

    @property
    def allowed_text(self) -> str:
        """Type and bounds in words."""
        return f"{self.type_text}, {self.range_text}" if self.range_text else self.type_text

    @property
    def default_text(self) -> str:
        """The default as in a settings file."""
        return value_text(self.default)

    @property
    def is_path(self) -> bool:
        """Whether it names a file or directory."""
        return bool(self._extra.get("is_path"))

    @property
    def _extra(self) -> dict[str, Any]:
        return self.meta.extra or {}

    def convert(self, value: object) -> object:
        """A value from a file or a flag as the tree holds it, `~` expanded. Raises NotAllowedError."""
        _refuse_control_characters(value)
        try:
            converted: object = msgspec.convert(value, self.annotation)
        except msgspec.ValidationError as e:
            raise NotAllowedError(str(e)) from e
        if self.is_path and isinstance(converted, str) and converted.startswith("~"):
            converted = os.path.expanduser(converted)
            if converted.startswith("~"):
                raise NotAllowedError("there is no such user")
        return converted

    def parse(self, text: str) -> object:
        """A value from the environment or the command line. Raises NotAllowedError.

        A list is separated by commas; a path with a slash may be relative to the present directory.
        """
        if get_origin(self.kind) is tuple:
            return self.convert([item.strip() for item in text.split(",") if item.strip()])
        if self.is_path and "/" in text and not text.startswith(("/", "~")):
            return self.convert(os.path.abspath(text))
        if self.kind not in (bool, int, float):
            return self.convert(text)
        _refuse_control_characters(text.strip())
        try:
            return msgspec.convert(text.strip(), self.annotation, strict=False)
        except msgspec.ValidationError as e:
            raise NotAllowedError(str(e)) from e


def _refuse_control_characters(value: object) -> None:
    """No setting needs them, and a NUL or half a surrogate pair fails much later, in a system call."""
    for item in value if isinstance(value, list | tuple) else [value]:
        if isinstance(item, str) and any(c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" for c in item):
            raise NotAllowedError("it holds a control character")


@functools.cache
def settings() -> Mapping[str, Setting]:
    """Every setting by its key, in the order of the tree."""
    found = {}
    defaults = Config()
    for section, struct in get_type_hints(Config).items():
        values = getattr(defaults, section)
        for name, annotation in get_type_hints(struct, include_extras=True).items():
            kind, meta = get_args(annotation)
            setting = Setting(section, name, annotation, kind, meta, getattr(values, name))
            found[setting.key] = setting
    return found


def build(values: Mapping[str, object]) -> Config:
    """The tree with these converted values; what is missing has its default."""
    sections: dict[str, dict[str, object]] = {section: {} for section in get_type_hints(Config)}
    for key, value in values.items():
        section, name = key.split(".")
        sections[section][name] = value
    return Config(**{s: struct(**sections[s]) for s, struct in get_type_hints(Config).items()})


def value_of(config: Config, key: str) -> object:
    """The value of one setting."""
    section, name = key.split(".")
    return getattr(getattr(config, section), name)


def number(value: float) -> str:
    """Digits without an exponent and without a useless `.0`."""
    return str(int(value)) if float(value).is_integer() else str(value)


def value_text(value: object) -> str:
    """A valid value as a settings file writes it, in ASCII where it holds anything that a terminal does not print."""
    if isinstance(value, float):
        return number(value)
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(value)


def shown(value: object) -> str:
    """A value or key from outside: in ASCII, so that nothing in it acts on the terminal, and not too long."""
    text = value[: SHOWN_CHARS_MAX + 1] if isinstance(value, str) else value
    try:
        line = json.dumps(text).replace("\x7f", "\\u007f")  # the one control character that JSON leaves
    except (ValueError, RecursionError):  # deeply nested
        line = f"a {type(value).__name__}"
    return line if len(line) <= SHOWN_CHARS_MAX else line[: SHOWN_CHARS_MAX - 3] + "..."


def nearest(key: str) -> str | None:
    """The known key that somebody may have meant; the section where a misspelt section is meant."""
    import difflib  # noqa: PLC0415  only for a mistake; the start of every command would pay for it

    known = list(settings())
    name = key.rpartition(".")[2]
    if same_name := [k for k in known if k.rpartition(".")[2] == name]:
        return same_name[0]
    sections = [] if "." in key else list(dict.fromkeys(k.partition(".")[0] for k in known))
    if close := difflib.get_close_matches(key, known + sections, n=1, cutoff=0.7):
        return close[0]
    by_name = {k.rpartition(".")[2]: k for k in known}
    close = difflib.get_close_matches(name, by_name, n=1, cutoff=0.7)
    return by_name[close[0]] if close else None
