"""When the database is backed up and checked, whatever the clock does, and which backups are kept."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from betcode.core.instant import Instant
from betcode.core.upkeep import Backup, Done, backup_is_due, check_is_due, checkpoint_is_due, fits, to_remove
from betcode.model import upkeep_limits as bounds

DAY_S = 86_400.0
JUMPS = st.sampled_from([0.0, 0.0, 0.0, 3_600.0, -3_600.0, 30 * DAY_S, -30 * DAY_S])
SLEEPS = st.sampled_from([60.0, 60.0, 60.0, 7_200.0, 3 * DAY_S])


@given(st.lists(st.tuples(SLEEPS, JUMPS), max_size=400), st.booleans())
def test_a_backup_is_made_once_a_period_however_the_clock_jumps(moves: list[tuple[float, float]], had: bool) -> None:
    unix_s, steady_s = 1_800_000_000.0, 0.0
    newest = Backup("old", unix_s - bounds.BACKUP_EVERY_S / 2, "auto", 1) if had else None
    done, made = Done(), []
    for sleep_s, jump_s in moves:
        steady_s += sleep_s
        unix_s += sleep_s + jump_s
        if backup_is_due(newest, done, Instant(unix_s, steady_s)):
            made.append(steady_s)
            newest, done = Backup("new", unix_s, "auto", 1), Done(backup_s=steady_s)
    assert all(later - earlier >= bounds.BACKUP_EVERY_S for earlier, later in itertools.pairwise(made))
    longest = max((sleep_s for sleep_s, _ in moves), default=0.0)
    ends = [0.0, *made, steady_s]
    waited = max(later - earlier for earlier, later in itertools.pairwise(ends))
    jumped_forward = sum(jump_s for _, jump_s in moves if jump_s > 0)
    assert waited <= bounds.BACKUP_EVERY_S + longest or (not made and jumped_forward == 0.0 and waited < 2 * DAY_S)


BACKUPS = st.lists(
    st.builds(
        Backup,
        name=st.uuids().map(str),
        at_unix_s=st.floats(1_790_000_000.0, 1_800_000_000.0),
        reason=st.sampled_from(["auto", "manual", "migration"]),
        size=st.integers(1, 1_000),
    ),
    max_size=60,
)


@given(BACKUPS, st.floats(1_800_000_000.0, 1_801_000_000.0), st.integers(0, 100_000))
def test_thinning_keeps_the_newest_and_stays_in_its_share(found: list[Backup], now: float, space: int) -> None:
    gone = to_remove(found, now, space)
    kept = [backup for backup in found if backup not in gone]
    assert bool(kept) == bool(found)
    if not found:
        return
    newest = max(found, key=lambda backup: (backup.at_unix_s, backup.name))
    assert newest in kept
    assert len(kept) == 1 or sum(backup.size for backup in kept) <= bounds.BACKUP_SHARE * space
    if space >= 100_000 * 5:
        order = sorted(found, key=lambda backup: (backup.at_unix_s, backup.name), reverse=True)
        assert set(order[: bounds.BACKUPS_NEWEST]) <= set(kept)


@given(BACKUPS, st.floats(1_800_000_000.0, 1_801_000_000.0))
def test_with_room_each_of_the_last_days_keeps_one_and_those_by_hand_stay_a_month(
    found: list[Backup], now: float
) -> None:
    kept = {backup.name for backup in found} - {backup.name for backup in to_remove(found, now, 1e9)}
    for backup in found:
        age_s = now - backup.at_unix_s
        if backup.reason != "auto" and age_s < bounds.KEPT_DAYS * DAY_S:
            assert backup.name in kept
        if age_s < bounds.BACKUP_DAYS * DAY_S:
            day = [b for b in found if b.at_unix_s // DAY_S == backup.at_unix_s // DAY_S]
            assert any(b.name in kept for b in day)


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**10))
def test_a_backup_that_fits_leaves_most_of_the_disk_free(size: int, others: int, space: int) -> None:
    if fits(size, others, space):
        assert size <= space / 2
        assert not others or size <= bounds.BACKUP_SHARE * space


def test_a_failed_backup_is_tried_again_after_a_while_and_not_at_once() -> None:
    failed = Done(failed_s=1_000.0)
    assert not backup_is_due(None, failed, Instant(0.0, 1_000.0 + bounds.BACKUP_RETRY_S - 1))
    assert backup_is_due(None, failed, Instant(0.0, 1_000.0 + bounds.BACKUP_RETRY_S))


def test_the_log_is_brought_in_every_five_minutes_and_at_once_when_it_is_long() -> None:
    done = Done(checkpoint_s=100.0)
    assert not checkpoint_is_due(done, 0, Instant(0.0, 399.0))
    assert checkpoint_is_due(done, 0, Instant(0.0, 400.0))
    assert checkpoint_is_due(done, bounds.LOG_BYTES_MAX + 1, Instant(0.0, 101.0))


def test_the_structure_is_checked_once_a_week_also_across_daemons_and_set_back_clocks() -> None:
    now = Instant(1_800_000_000.0, 50.0)
    assert check_is_due(None, Done(), now)
    assert not check_is_due(now.unix_s - 6 * DAY_S, Done(), now)
    assert check_is_due(now.unix_s - 7 * DAY_S, Done(), now)
    assert check_is_due(now.unix_s + 1, Done(), now)
    assert not check_is_due(now.unix_s + 1, Done(check_s=0.0), now)
