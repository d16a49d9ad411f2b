"""What people are told of a rescue, in words: what happened, from where it came back, and what is missing (SQ-5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from betcode.model import rescue_limits
from betcode.model.rescue import Outcome, RescueReport, Source

PUT_THERE = "a backup was put in the place of the database"
"""How the cause begins when a person did that: then nothing was damaged."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a way of building found."""

    way: str
    rows: dict[str, int]
    """By table, in the new database."""
    sources: Sequence[Source]
    missing: Sequence[str]
    """What is known to be lost, a sentence each."""
    remarks: Sequence[str] = ()
    """What people should know besides, such as questions that were cancelled."""
    backup_age_s: float | None = None
    """How old the backup is of which rows were needed; None when none was."""
    extra: Sequence[str] = field(default=())
    """What is told last."""


def report(found: Found, *, at: str, cause: str, seconds: float, kept: Sequence[str]) -> RescueReport:
    """The report of a rescue that took `seconds` and ended `at`; the damaged files are at `kept`."""
    total = sum(found.rows.values())
    outcome = Outcome.RESET if not total else Outcome.PARTLY if found.missing else Outcome.REPAIRED
    sentences = [_first(outcome, found, cause), *found.missing, *found.remarks, *found.extra]
    if kept:
        sentences.append(f"The damaged files are kept as {kept[0]}.")
    return RescueReport(
        at=at,
        cause=cause,
        outcome=outcome,
        way=found.way,
        seconds=seconds,
        rows=found.rows,
        sources=list(found.sources),
        missing=_bounded(found.missing),
        sentences=_bounded(sentences),
        kept=list(kept),
    )


def _first(outcome: Outcome, found: Found, cause: str) -> str:
    if outcome is Outcome.RESET:
        return "The database begins anew and empty: nothing of it was left. Settings and directories are untouched."
    came = ", ".join(f"{source.rows} rows from the {source.name}" for source in found.sources if source.rows)
    what = "The database was damaged and is repaired"
    if cause.startswith(PUT_THERE):
        what = "A backup was put in the place of the database, and what had come since is back"
    words = f"{what}: {sum(found.rows.values())} rows" + (f" ({came})" if came else "")
    if found.backup_age_s is not None:
        words += f"; of a backup that is {_age(found.backup_age_s)} old some were needed"
    if outcome is Outcome.REPAIRED:
        return words + ". Nothing is missing, as far as all that survived tells."
    return words + ". Something is missing:"


def _age(seconds: float) -> str:
    if seconds < 90 * 60:
        return f"{max(1, round(seconds / 60))} minutes"
    hours = round(seconds / 3600)
    return f"{hours} hours" if hours < 48 else f"{round(seconds / 86_400)} days"


def _bounded(sentences: Sequence[str]) -> list[str]:
    most = rescue_limits.SENTENCES_MAX
    if len(sentences) <= most:
        return list(sentences)
    return [*sentences[:most], f"And {len(sentences) - most} more of the kind."]
