"""What is known of the claude on disk, and what of a change is worth a word: each once, while it is so (PS-12).

A process that runs keeps the executable that it was started with. So a change concerns the next process of each
session: with a good version it is started, with one that is too old it is refused, and those that run go on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from betcode.model.capabilities import TESTED, dotted, parsed
from betcode.model.errors import BetcodeError


@dataclass(frozen=True, slots=True)
class Sight:
    """A claude that was seen and can be driven."""

    path: str
    version: str


@dataclass(frozen=True, slots=True)
class Word:
    """One line for the daemon's log."""

    level: Literal["info", "warning", "error"]
    message: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Executable:
    """What is known of the claude that a session without a PATH of its own gets."""

    first: Sight | None
    """The one at the daemon's start."""
    now: Sight | None
    """The newest good one."""
    problem: BetcodeError | None = None
    """Why no new claude is started."""
    newer: frozenset[str] = frozenset()
    """Versions of which was said that BetCode was never tried with them."""


Step = tuple[Executable, tuple[Word, ...]]


def good(known: Executable, now: Sight | None) -> Step:
    """It was looked at and can be started."""
    words: tuple[Word, ...] = ()
    if known.problem is not None:
        words = (Word("info", "claude can be started again", {"version": now.version if now else ""}),)
    return replace(known, problem=None, now=now), words


def bad(known: Executable, problem: BetcodeError) -> Step:
    """It was looked at and cannot be started. The same problem is told once."""
    words: tuple[Word, ...] = ()
    if known.problem is None or str(known.problem) != str(problem):
        what = "no new claude is started; those that run go on"
        fields = {"error_type": problem.code, "detail": str(problem), "hint": problem.hint}
        words = (Word("error", what, fields),)
    return replace(known, problem=problem), words


def seen(known: Executable, before: Sight | None, now: Sight, problem: BetcodeError | None) -> Step:
    """Some claude, perhaps that of one session's own PATH, was seen first or has changed.

    Args:
        known: of the claude that most sessions get.
        before: what was known of the file at this path, if anything.
        now: what it is now.
        problem: why that one cannot be driven.
    """
    words: tuple[Word, ...] = ()
    if before is not None:
        what = "claude was replaced: sessions get it with their next process, those that run keep the old one"
        words = (Word("warning", what, {"path": now.path, "before": before.version, "now": now.version}),)
    if problem is None:
        known, more = tell_newer(known, now.version)
        words += more
    if known.now is None or now.path != known.now.path:
        return known, words
    known, more = good(known, now) if problem is None else bad(known, problem)
    return known, words + more


def tell_newer(known: Executable, version: str) -> Step:
    """A version that BetCode was never tried with is used, and said so once."""
    if not _untried(version) or version in known.newer:
        return known, ()
    word = Word("warning", "claude is newer than BetCode was tried with", {"version": version, "tried": dotted(TESTED)})
    return replace(known, newer=known.newer | {version}), (word,)


def status(known: Executable) -> dict[str, Any]:
    """For the reply to `status`: path, version, what it was at the start, and what people should know."""
    now, first = known.now, known.first
    version, before = (now.version, first.version) if now and first else ("", "")
    said: dict[str, Any] = {"path": now.path if now else "", "version": version, "warnings": []}
    if before != version:
        said["before"] = before
        said["warnings"].append(f"claude is {version} for each next process; it was {before} at the daemon's start")
    if _untried(version):
        said["warnings"].append(f"claude {version} is newer than {dotted(TESTED)}, up to which BetCode was tried")
    if known.problem is not None:
        said |= {"problem": str(known.problem), "hint": known.problem.hint}
        said["warnings"].append(f"no new claude is started: {known.problem}")
    return said


def _untried(version: str) -> bool:
    numbers = parsed(version)
    return numbers is not None and numbers > TESTED
