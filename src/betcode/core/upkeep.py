"""When the database is backed up, checked and tidied, and which backups go (SQ-2, SQ-6, SQ-7).

Periods are measured by a clock that only goes forward, as long as the daemon runs; how old a backup is that another
daemon made, only the wall clock tells, and that may have been set back. So neither alone decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from betcode.core.instant import Instant
from betcode.model import upkeep_limits as bounds


@dataclass(frozen=True, slots=True)
class Backup:
    """One that is there. `name` begins with its time, so that names sort by it."""

    name: str
    at_unix_s: float
    reason: str
    """`auto`, `manual` or `migration`."""
    size: int


@dataclass(frozen=True, slots=True)
class Done:
    """What this daemon did, by its own clock; None: nothing yet."""

    backup_s: float | None = None
    failed_s: float | None = None
    """A backup could not be made."""
    checkpoint_s: float | None = None
    check_s: float | None = None
    check_given_up_s: float | None = None
    """A check of the structure was ended before its end."""


def backup_is_due(newest: Backup | None, done: Done, now: Instant) -> bool:
    """Whether it is time. Whether anything changed since the newest one, the caller knows."""
    if done.failed_s is not None and now.steady_s - done.failed_s < bounds.BACKUP_RETRY_S:
        return False
    if done.backup_s is not None and now.steady_s - done.backup_s < bounds.BACKUP_EVERY_S:
        return False
    if newest is None or done.backup_s is not None:
        return True
    age_s = now.unix_s - newest.at_unix_s
    return age_s >= bounds.BACKUP_EVERY_S or age_s < 0  # from the future: the clock was set back, nobody knows its age


def checkpoint_is_due(done: Done, log_bytes: int, now: Instant) -> bool:
    """Whether the log is to be brought into the file."""
    if log_bytes > bounds.LOG_BYTES_MAX:
        return True
    return done.checkpoint_s is None or now.steady_s - done.checkpoint_s >= bounds.CHECKPOINT_EVERY_S


def check_is_due(last_unix_s: float | None, done: Done, now: Instant) -> bool:
    """Whether the whole structure is to be checked. `last_unix_s`: when it was, by the wall clock, by any daemon."""
    if done.check_given_up_s is not None and now.steady_s - done.check_given_up_s < bounds.CHECK_RETRY_S:
        return False
    if done.check_s is not None:
        return now.steady_s - done.check_s >= bounds.CHECK_EVERY_S
    return last_unix_s is None or not 0 <= now.unix_s - last_unix_s < bounds.CHECK_EVERY_S


def to_remove(backups: Sequence[Backup], now_unix_s: float, space_bytes: float, just_made: str = "") -> list[Backup]:
    """Backups that go, oldest first; the newest one never does.

    Args:
        backups: all that are there.
        now_unix_s: the wall clock.
        space_bytes: free space, with all that the backups take.
        just_made: the name of the newest one, where that is known: after the clock was set back, times do not tell.
    """
    ordered = sorted(
        backups, key=lambda backup: (backup.name == just_made, backup.at_unix_s, backup.name), reverse=True
    )
    kept: list[Backup] = []
    days: set[int] = set()
    for place, backup in enumerate(ordered):
        age_s = now_unix_s - backup.at_unix_s
        day = int(backup.at_unix_s // 86_400)
        longer = backup.reason != "auto" and age_s < bounds.KEPT_DAYS * 86_400
        daily = day not in days and age_s < bounds.BACKUP_DAYS * 86_400
        if place < bounds.BACKUPS_NEWEST or longer or daily:
            kept.append(backup)
            days.add(day)
    budget = bounds.BACKUP_SHARE * space_bytes
    while len(kept) > 1 and sum(backup.size for backup in kept) > budget:
        kept.pop()
    return [backup for backup in reversed(ordered) if backup not in kept]


def fits(size: int, others_bytes: int, space_bytes: float, *, wanted: bool = False) -> bool:
    """Whether a backup of this size may be made; half of what is free then stays free.

    One that is made by itself must have its place in the share of all backups, for which older ones make room once it
    is verified; the very first needs none.

    Args:
        size: of the database.
        others_bytes: of the backups that stay.
        space_bytes: as for `to_remove`.
        wanted: a person asked for it, or a migration waits for it.
    """
    if size > (space_bytes - others_bytes) / 2:
        return False
    return wanted or not others_bytes or size <= bounds.BACKUP_SHARE * space_bytes
