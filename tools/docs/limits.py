"""docs/limits.md: every bound with its value and its reason."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from types import ModuleType

from tools.docs.markdown import literal, mark, page, table
from tools.docs.reading import Constant, constants, source_of

from betcode.keeper import limits as keeper_limits
from betcode.model import admission_limits
from betcode.model import limits as model_limits

UNITS_OF_BYTES = {"KIB", "MIB"}
"""Of the keeper's file: units for the other lines, no bounds."""

INTRODUCTION = """\
# Limits

Every queue, buffer, wait, retry and growing file has a bound. These stand in the code; what a user may change is in
[settings.md](settings.md). Names tell their unit: `_BYTES`, `_CHARS` (Unicode characters), `_S` (seconds), `_MS`,
`_DAYS`; without one they count. `PM-2` and the like are lines of
[requirements.md](requirements.md)."""

SIZES = (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024))
TIMES = (("d", 86_400), ("h", 3_600), ("min", 60))


def render() -> str:
    """The page."""
    return page(
        mark("src/betcode/model/limits.py", "src/betcode/keeper/limits.py"),
        INTRODUCTION,
        *_part("The daemon and its clients", model_limits),
        *_part("What is refused when there is too much", admission_limits),
        *_part("The keeper", keeper_limits),
    )


def _part(title: str, module: ModuleType) -> list[str]:
    found = [c for c in constants(source_of(module)) if c.name not in UNITS_OF_BYTES]
    silent = [c.name for c in found if not c.reason]
    if silent:
        raise ValueError(f"{module.__name__}: no reason is given for {', '.join(silent)}")
    blocks = [f"## {title}"]
    for heading, members in itertools.groupby(found, key=lambda c: c.heading):
        blocks += [f"### {heading[:1].upper()}{heading[1:]}" if heading else "", _table(module, list(members))]
    return blocks


def _table(module: ModuleType, members: Sequence[Constant]) -> str:
    rows = [(literal(c.name), value_text(c.name, getattr(module, c.name)), c.reason) for c in members]
    return table(("name", "value", "reason"), rows)


def value_text(name: str, value: object) -> str:
    """A value as digits, and in a larger unit where that is a round number."""
    if isinstance(value, tuple):
        return " to ".join(value_text(name, item) for item in value)
    assert isinstance(value, int | float), f"{name} is no number"
    digits = f"{value:,.0f}" if float(value).is_integer() else f"{value:,}"
    words = name.split("_")
    for unit, size in SIZES if "BYTES" in words else TIMES if "S" in words else ():
        if value >= size and value % size == 0:
            return f"{digits} ({value / size:.0f} {unit})"
    return digits
