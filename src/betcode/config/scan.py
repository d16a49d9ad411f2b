"""Reading a settings file: JSON in which every key knows its line and column.

The json module decodes; here only the members of the outer object and of its sections are walked, since a setting lies
at depth two. What was decoded once is known to be valid, so the walk needs no error handling of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

SPACE = re.compile(r"[ \t\n\r]*")
INTEGER_DIGITS_MAX = 30
"""Longer integers count as the nearest float: no range reaches that far, and Python refuses more than 4,300 digits."""


class NotJsonError(ValueError):
    """The text is not a JSON object, with the place (both from 1; the column counts characters)."""

    def __init__(self, problem: str, line: int, column: int) -> None:
        super().__init__(problem)
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an object, with the place of its key and of its value in the text."""

    key: str
    value: object
    key_at: int
    value_at: int


@dataclass(frozen=True, slots=True)
class Place:
    """A line and a column, both from 1."""

    line: int
    column: int


def _integer(text: str) -> int | float:
    return int(text) if len(text) <= INTEGER_DIGITS_MAX else float(text)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


DECODER = json.JSONDecoder(parse_int=_integer, parse_constant=_no_constant)


def members(text: str) -> list[Member]:
    """The members of the outer object, repeated keys included. Raises NotJsonError."""
    start = _skip(text, 0)
    try:
        value, end = DECODER.raw_decode(text, start)
    except json.JSONDecodeError as e:
        raise NotJsonError(e.msg, e.lineno, e.colno) from e
    except RecursionError as e:
        raise NotJsonError("Nested too deeply", 1, 1) from e
    except ValueError as e:  # a constant such as NaN, which Python's decoder would accept
        at = place(text, _constant_at(text))
        raise NotJsonError(str(e), at.line, at.column) from e
    rest = _skip(text, end)
    if rest < len(text):
        at = place(text, rest)
        raise NotJsonError("Extra data after the end", at.line, at.column)
    if not isinstance(value, dict):
        at = place(text, start)
        raise NotJsonError("The file must hold an object in braces", at.line, at.column)
    return list(_walk(text, start))


def inner(text: str, member: Member) -> list[Member]:
    """The members of a member whose value is an object."""
    return list(_walk(text, member.value_at))


def place(text: str, at: int) -> Place:
    """Line and column of an index into the text."""
    return Place(line=text.count("\n", 0, at) + 1, column=at - text.rfind("\n", 0, at))


def _walk(text: str, start: int) -> Iterator[Member]:
    """Members of the valid object that begins at `start`."""
    at = _skip(text, start + 1)
    while text[at] != "}":
        key, end = DECODER.raw_decode(text, at)
        value_at = _skip(text, _skip(text, end) + 1)  # after the colon
        value, end = DECODER.raw_decode(text, value_at)
        yield Member(key=key, value=value, key_at=at, value_at=value_at)
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    found = SPACE.match(text, at)
    return found.end() if found else at


def _constant_at(text: str) -> int:
    """Index of the first NaN or Infinity outside of strings."""
    found = re.search(r'(?:[^"NI]|"(?:[^"\\]|\\.)*")*', text, re.DOTALL)
    return found.end() if found else 0
