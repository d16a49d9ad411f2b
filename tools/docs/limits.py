"""docs/limits.md: every bound with its value and its reason."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from types import ModuleType

from betcode.keeper import limits as keeper_limits
from betcode.model import limits as model_limits
from tools.docs.markdown import literal, mark, page, table
from tools.docs.reading import Constant, constants, source_of

UNITS_OF_BYTES = {"KIB", "MIB"}
"""Of the keeper's file: units for the other lines, no bounds."""

INTRODUCTION = """\
# Limits

Every queue, buffer, wait, retry and growing file has a bound. These are fixed in the code; those that a user may
change are in [settings.md](settings.md). Names end in their unit: `_BYTES`, `_CHARS` (Unicode characters), `_S`
(seconds), `_MS`, `_DAYS`; without one they count. `PM-2` and the like are lines of
[requirements.md](requirements.md)."""

SIZES = (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024))
TIMES = (("days", 86_400), ("hours", 3_600), ("minutes", 60))


def render() -> str:
    """The page."""
    return page(
        mark("src/betcode/model/limits.py", "src/betcode/keeper/limits.py"),
        INTRODUCTION,
        *_part("Daemon and clients", model_limits),
        *_part("Keeper", keeper_limits),
    )


def _part(title: str, module: ModuleType) -> list[str]:
    found = [c for c in constants(source_of(module)) if c.name not in UNITS_OF_BYTES]
    silent = [c.name for c in found if not c.reason]
    if silent:
        raise ValueError(f"{module.__name__}: no reason is given for {', '.join(silent)}")
    blocks = [f"## {title}"]
    for heading, members in itertools.groupby(found, key=lambda c: c.heading):
        blocks += [f"### {title}: {heading}" if heading else "", _table(module, list(members))]
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
    parts = set(name.split("_"))
    larger = SIZES if "BYTES" in parts or "CHARS" in parts else TIMES if "S" in parts else ()
    for unit, size in larger:
        if value >= size and value % size == 0:
            count = int(value // size)
            unit_text = "Ki characters" if "CHARS" in parts and unit == "KiB" else unit
            return f"{digits} ({count} {unit_text.removesuffix('s') if count == 1 else unit_text})"
    return digits
