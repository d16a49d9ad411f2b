"""What a run found out: one `Seen` for each row of the table, for each version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from betcode.testing.compat.room import Room


@dataclass(frozen=True, slots=True)
class Seen:
    """Whether the CLI did what the row says; `note` is what it did, where that is worth a word."""

    ok: bool
    note: str = ""


Findings = dict[str, Seen]
"""Id of a row -> what was seen."""
Scenario = Callable[[Room], Findings]
