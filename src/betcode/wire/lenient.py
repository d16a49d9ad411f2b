"""Objects into typed shapes, with defaults for what is missing or of the wrong type (ND-5).

A shape is a msgspec Struct: a field without a default is required. Numbers and booleans given as strings are taken
as what they mean, unknown fields are ignored. When an object does not fit, each field is tried by itself, so that one
bad field costs only itself.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar, get_args, get_origin

import msgspec
from msgspec import Struct
from msgspec.structs import FieldInfo

PROBLEMS_MAX: Final = 8
"""Problems told of one line; the first ones say enough."""

S = TypeVar("S", bound=Struct)


def note(problems: list[str], text: str) -> None:
    """Add one problem, unless there are enough."""
    if len(problems) < PROBLEMS_MAX:
        problems.append(text)


def fit(shape: type[S], value: object, problems: list[str], path: str = "") -> S:
    """`value` as `shape`. Adds a sentence to `problems` for each field that got a default instead of its value.

    `path` stands before field names in those sentences (`message.`).
    """
    try:
        return msgspec.convert(value, shape, strict=False)
    except (msgspec.ValidationError, RecursionError):
        return _mend(shape, value, problems, path)


def _mend(shape: type[S], value: object, problems: list[str], path: str) -> S:
    if not isinstance(value, dict):
        note(problems, f"{path.removesuffix('.') or 'line'}: expected `object`, got `{type(value).__name__}`")
        value, problems = {}, []  # one sentence for all its fields
    fields: dict[str, Any] = {}
    for info in msgspec.structs.fields(shape):
        where = path + info.encode_name
        if info.encode_name in value:
            fields[info.name] = _field(info, value[info.encode_name], problems, where)
        elif info.required:
            note(problems, f"{where}: missing")
            fields[info.name] = _nothing(info)
    return shape(**fields)


def _field(info: FieldInfo, value: object, problems: list[str], where: str) -> Any:
    try:
        return msgspec.convert(value, info.type, strict=False)
    except (msgspec.ValidationError, RecursionError) as error:
        reason = str(error)
    for option in (info.type, *get_args(info.type)):
        if isinstance(option, type) and issubclass(option, Struct) and isinstance(value, dict):
            return _mend(option, value, problems, f"{where}.")
        if get_origin(option) is list and isinstance(value, list):
            return _items(get_args(option)[0], value, problems, where)
    note(problems, f"{where}: {reason}")
    return _nothing(info)


def _items(item_type: Any, values: list[Any], problems: list[str], where: str) -> list[Any]:
    """The items that fit, in order; a shape is mended, anything else that does not fit is left out."""
    kept = []
    for number, value in enumerate(values):
        try:
            kept.append(msgspec.convert(value, item_type, strict=False))
        except (msgspec.ValidationError, RecursionError) as error:
            if isinstance(item_type, type) and issubclass(item_type, Struct):
                kept.append(_mend(item_type, value, problems, f"{where}[{number}]."))
            else:
                note(problems, f"{where}[{number}]: {error}")
    return kept


def _nothing(info: FieldInfo) -> Any:
    """The field's default; for a required one the emptiest value of its type."""
    if not info.required:
        return info.default if info.default_factory is msgspec.NODEFAULT else info.default_factory()
    if isinstance(info.type, type) and issubclass(info.type, Struct):
        return _mend(info.type, {}, [], "")
    options: tuple[Any, ...] = ("", 0, False, {}, [])
    for empty in options:
        try:
            return msgspec.convert(empty, info.type)
        except msgspec.ValidationError:
            continue
    raise TypeError(f"no empty value for {info.name}: {info.type}")  # a shape of ours that this module cannot default
