"""What is told of a rescue of the database: kept in `DATA/rescue.json`, shown by `betcode status` and `db recover`."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Outcome(StrEnum):
    """What became of the database (SQ-5)."""

    REPAIRED = "repaired"
    """Nothing is missing, as far as all that survived tells."""
    PARTLY = "partly repaired"
    """Something is missing; the report says what."""
    RESET = "reset"
    """Nothing could be taken over: it begins empty. Settings and directories of work are untouched."""


class Source(Struct, frozen=True):
    """Something that rows came from."""

    name: str
    """`intake log`, `journals`, `backup`, `damaged database`, `transcripts`, `files of sessions`."""
    detail: str
    """Which one, how old."""
    rows: int
    """Rows that it gave and no source before it had in a version as new."""


class RescueReport(Struct, frozen=True, kw_only=True):
    """One rescue."""

    at: str
    """When it ended: ISO 8601, UTC."""
    cause: str
    """What was found damaged."""
    outcome: Outcome
    way: str
    """`all sources`, or a simpler one when that failed."""
    seconds: float
    rows: dict[str, int]
    """Rows of the new database by table."""
    sources: list[Source]
    missing: list[str]
    """What is not there any more, a sentence each."""
    sentences: list[str]
    """All of it in words, the outcome first."""
    kept: list[str]
    """Where the damaged files are kept."""
