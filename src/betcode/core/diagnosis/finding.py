"""A finding: what is so, how bad that is, and the command that mends it. Scripts rely on the ids.

An id is `group.name`. Warnings and errors always have a hint; a person who mends something at night copies it.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from betcode.model import limits

GROUPS = (
    "installation",
    "claude",
    "directories",
    "config",
    "daemon",
    "database",
    "intake",
    "sessions",
    "disk",
    "clock",
    "system",
)
"""Groups in the order in which people read them: what everything else stands on comes first."""


class Severity(StrEnum):
    """How bad it is. `info` is worth knowing and needs nothing; `warning` may hurt later; `error` hurts now."""

    OK = "ok"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    id: str
    severity: Severity
    what: str
    hint: str = ""

    def __post_init__(self) -> None:
        if self.group not in GROUPS:
            raise ValueError(f"finding {self.id!r} belongs to no group")
        if self.severity in (Severity.WARNING, Severity.ERROR) and not self.hint:
            raise ValueError(f"finding {self.id!r} does not say what to do")

    @property
    def group(self) -> str:
        """The part of the id before the dot."""
        return self.id.partition(".")[0]

    def fields(self) -> dict[str, str]:
        """As one JSON object."""
        return {name: str(value) for name, value in asdict(self).items()}


def ok(name: str, what: str) -> Finding:
    """It is as it should be."""
    return Finding(name, Severity.OK, what)


def info(name: str, what: str, hint: str = "") -> Finding:
    """Worth knowing."""
    return Finding(name, Severity.INFO, what, hint)


def warning(name: str, what: str, hint: str) -> Finding:
    """It may hurt later."""
    return Finding(name, Severity.WARNING, what, hint)


def error(name: str, what: str, hint: str) -> Finding:
    """It hurts now."""
    return Finding(name, Severity.ERROR, what, hint)


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """By group; within a group as they were found."""
    return sorted(findings, key=lambda finding: GROUPS.index(finding.group))


def has_error(findings: Sequence[Finding]) -> bool:
    """Whether anything hurts now."""
    return any(finding.severity is Severity.ERROR for finding in findings)


def summary(findings: Sequence[Finding]) -> str:
    """One line: how many of each kind."""
    count = Counter(finding.severity for finding in findings)
    warnings = f"{count[Severity.WARNING]} warning{'' if count[Severity.WARNING] == 1 else 's'}"
    errors = f"{count[Severity.ERROR]} error{'' if count[Severity.ERROR] == 1 else 's'}"
    return f"{count[Severity.OK]} ok, {count[Severity.INFO]} to know, {warnings}, {errors}"


def some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(names[: limits.DOCTOR_NAMES_SHOWN])
    more = len(names) - limits.DOCTOR_NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def command(*words: str) -> str:
    """A command as it is typed into a shell."""
    return shlex.join(words)


def size_text(count: int) -> str:
    """A number of bytes for people."""
    value = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
