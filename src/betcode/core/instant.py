"""A reading of the clocks, handed to every decision."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Instant:
    """`unix_s` is the wall clock (may jump); `steady_s` only grows and counts sleep, zero point unspecified."""

    unix_s: float
    steady_s: float

    @property
    def iso(self) -> str:
        """The wall clock as ISO 8601, UTC, milliseconds."""
        return iso(self.unix_s)


def unix_s_of(stored: str) -> float:
    """Unix seconds of a time that `iso` wrote. Raises ValueError for anything else."""
    return datetime.fromisoformat(stored).timestamp()


def iso(unix_s: float) -> str:
    """Unix seconds as ISO 8601, UTC, milliseconds, with a closing Z."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
