r"""One line of bytes into one JSON object, or the reason why it is none.

Stricter than the decoder in two ways: bytes that the decoder would skip are checked for UTF-8 too, and nesting has a
fixed bound, so that whoever encodes the object again later, deeper in the stack, does not hit the recursion limit.
Laxer in one: claude is a JavaScript program and prints half surrogate pairs (`\ud800`) when it cuts a text inside a
character; each becomes U+FFFD.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, Literal, NoReturn

import msgspec

NESTING_MAX: Final = 200
"""Levels of arrays and objects in a line. claude's own lines have 9; the model may write any in a tool's input."""

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_SURROGATE_ESCAPE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_decode: Final = msgspec.json.Decoder().decode

ErrorType = Literal["invalid_utf8", "invalid_json", "schema", "oversize"]


class Unreadable(Exception):
    """A line is no JSON object: `error_type` is one of `facts.BadLine`, `str(e)` the detail."""

    def __init__(self, error_type: ErrorType, detail: str) -> None:
        super().__init__(detail)
        self.error_type: ErrorType = error_type


def read_object(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`. Raises Unreadable, and nothing else."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise Unreadable("invalid_utf8", f"{error.reason} at byte {error.start}") from error
    try:
        value = _decode(data)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        if not _SURROGATE_ESCAPE.search(data):
            raise Unreadable("invalid_json", str(error)) from error
        value = _read_surrogates(text)
    if type(value) is not dict:
        raise Unreadable("schema", f"expected a JSON object, got {type(value).__name__}")
    # Levels need two bytes each and a bracket each: few lines need the walk.
    if len(data) > 2 * NESTING_MAX and data.count(b"{") + data.count(b"[") > NESTING_MAX and _too_deep(value):
        raise Unreadable("invalid_json", f"nested deeper than {NESTING_MAX} levels")
    return value


def without_surrogates(text: str) -> str:
    """`text` with each half of a surrogate pair, which UTF-8 cannot hold, replaced by U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)


def preview(data: bytes, chars_max: int, size: int) -> str:
    r"""`data` as text of at most `chars_max` characters for a person to look at.

    Bytes that are no UTF-8 appear as `\xff`. `size` is the line's whole length in bytes; when not all of it is shown,
    the text ends with a mark that says so.
    """
    # No character has more than 4 bytes, so these bytes give `chars_max` characters whenever there are as many.
    text = data[: 4 * chars_max].decode("utf-8", "backslashreplace")
    if len(text) <= chars_max and len(data) == size:
        return text
    mark = f"[truncated: original_size={size} bytes]"
    return text[: max(0, chars_max - len(mark))] + mark


def _read_surrogates(text: str) -> Any:
    """Parse with the standard library, which accepts lone surrogates; then by our own decoder, the only judge."""
    try:
        again = json.dumps(json.loads(text, parse_constant=_refuse), ensure_ascii=False)
        return _decode(without_surrogates(again).encode())
    except (ValueError, RecursionError) as error:
        raise Unreadable("invalid_json", str(error)) from error


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _too_deep(value: object) -> bool:
    level = [value]
    for _ in range(NESTING_MAX):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent if isinstance(parent, list) else ())
            if isinstance(child, (dict, list))
        ]
        if not level:
            return False
    return True
