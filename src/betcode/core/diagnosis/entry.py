"""One line of a session's history of trouble."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from betcode.core.diagnosis.finding import Severity


@dataclass(frozen=True, slots=True)
class Entry:
    """What happened at `time` (ISO 8601, UTC), what was done about it, and what a person can do.

    From an event it has (epoch, seq); from the keeper's notes it has `run`. The other numbers are 0.
    """

    time: str
    severity: Severity
    kind: str
    what: str
    hint: str = ""
    epoch: int = 0
    seq: int = 0
    run: int = 0

    def fields(self) -> dict[str, object]:
        """As one JSON object."""
        return {**asdict(self), "severity": str(self.severity)}


def merged(first: list[Entry], second: list[Entry]) -> list[Entry]:
    """Both in order of time, each in its own order even where a clock was set back."""
    result: list[Entry] = []
    rest = list(second)
    for entry in first:
        while rest and rest[0].time < entry.time:
            result.append(rest.pop(0))
        result.append(entry)
    return result + rest
