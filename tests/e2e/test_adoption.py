"""What a daemon finds after another one ended in every possible way: experiments of `make chaos-recovery` as tests.

The experiment says what is done and what must come of it; beside that each checks what must hold whatever was done:
`betcode.testing.chaos.stage`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from betcode.testing.chaos.__main__ import experiments_of
from betcode.testing.chaos.runner import Series

KNOWN = {experiment.id: experiment for experiment in experiments_of("recovery")}


def succeeds(folder: Path, id: str) -> None:
    series = Series([KNOWN[id]], folder / "report.json", seed=20261124)
    assert series.run() == 0, f"{series.results[0].observed}\n{series.results[0].evidence}"


@pytest.mark.req("PS-6", "INV-2")
def test_todays_daemon_adopts_a_turn_under_a_keeper_of_the_first_release(tmp_path: Path) -> None:
    succeeds(tmp_path, "adopt.older-keeper")


@pytest.mark.req("PS-6", "PS-7")
def test_a_daemon_that_is_told_to_end_leaves_its_turns_to_the_next_one(tmp_path: Path) -> None:
    succeeds(tmp_path, "adopt.sigterm")


@pytest.mark.req("RS-3", "PS-6")
def test_of_several_daemons_started_at_once_one_adopts_the_turn(tmp_path: Path) -> None:
    succeeds(tmp_path, "adopt.two-daemons")


@pytest.mark.req("RS-2", "PS-5")
def test_after_a_reboot_each_session_goes_on_from_where_it_was_and_an_idle_one_is_left_alone(tmp_path: Path) -> None:
    succeeds(tmp_path, "adopt.reboot")


@pytest.mark.req("RS-2", "RS-3")
def test_left_over_sockets_and_files_are_taken_over_or_passed_over(tmp_path: Path) -> None:
    succeeds(tmp_path, "adopt.stale-files")


@pytest.mark.req("PS-6", "INV-7")
def test_a_stopped_claude_whose_keeper_died_is_ended_before_another_one_starts(tmp_path: Path) -> None:
    succeeds(tmp_path, "adopt.keeper-killed-claude-stopped")


@pytest.mark.req("PS-6", "INV-2")
def test_a_stopped_keeper_that_goes_on_in_time_is_adopted(tmp_path: Path) -> None:
    succeeds(tmp_path, "adopt.keeper-stopped-then-adopted")


@pytest.mark.req("PS-6")
def test_a_journal_that_was_deleted_under_its_keeper_costs_no_answer(tmp_path: Path) -> None:
    succeeds(tmp_path, "adopt.journal-deleted-under-keeper")


@pytest.mark.req("PS-6", "RS-2")
def test_a_journal_that_was_cut_in_the_middle_of_a_line_is_told(tmp_path: Path) -> None:
    succeeds(tmp_path, "adopt.journal-cut")


@pytest.mark.req("PS-6")
def test_a_turn_and_a_question_survive_a_wall_clock_that_is_set(tmp_path: Path) -> None:
    succeeds(tmp_path, "adopt.clock-back")
