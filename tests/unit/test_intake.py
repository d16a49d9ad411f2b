"""The intake log: what was promised is found again, whatever the disk did."""

import asyncio
import contextlib
import stat
from itertools import chain
from pathlib import Path
from random import Random

import pytest

from betcode.adapters import intake
from betcode.adapters.intake import IntakeLog, Problem, Record
from betcode.adapters.sqlite.errors import StoreError
from betcode.adapters.sqlite.store import SqliteStore
from betcode.model.rows import Transaction
from betcode.testing.faults import FaultPlan, FaultyFiles
from betcode.testing.sample_rows import creation, event_row, message_row, permission_row, session_row

A = "aaaaaaaaaa"


def payload(name: str, *, size: int = 0) -> bytes:
    made = intake.encode(Transaction(session_row(A), messages=(message_row(A, name, text="t" * size),)))
    assert made is not None
    return made


def names(directory: Path, problems: list[Problem] | None = None) -> list[str]:
    """The message ids of all records that can be read."""
    records = intake.read_all(directory, problems if problems is not None else [])
    return [message.id for record in records for message in record.messages]


def filled(directory: Path, *groups: list[str], segment_bytes: int = 10**6) -> None:
    log = IntakeLog(directory, segment_bytes=segment_bytes)
    for group in groups:
        log.append([payload(name) for name in group])
    log.close()


def damage(path: Path, offset: int, *, by: bytes = b"#") -> None:
    content = bytearray(path.read_bytes())
    content[offset : offset + len(by)] = by
    path.write_bytes(content)


@pytest.mark.req("SQ-11")
def test_what_people_were_promised_is_recorded_and_nothing_else() -> None:
    row = session_row(A)
    promises = [
        creation(A),
        Transaction(row, messages=(message_row(A, "m"),)),
        Transaction(row, permissions=(permission_row(A, "p"),)),
    ]
    for promise in promises:
        made = intake.encode(promise)
        assert made is not None
        assert intake._decode(made) == Record(promise.session, promise.creates, promise.messages, promise.permissions)
    assert intake.encode(Transaction(session_row(A, seq=1), (event_row(A, 1),))) is None


@pytest.mark.req("SQ-11")
def test_records_are_read_back_in_order_across_segments_and_reopenings(tmp_path: Path) -> None:
    directory = tmp_path / "intake"
    expected: list[str] = []
    for opening in range(5):
        groups = [[f"m{opening}.{group}.{n}" for n in range(3)] for group in range(4)]
        filled(directory, *groups, segment_bytes=3_000)
        expected += chain.from_iterable(groups)
    problems: list[Problem] = []
    assert names(directory, problems) == expected
    assert problems == []
    assert len(list(directory.iterdir())) > 2
    assert {path.stem for path in directory.iterdir()} == {str(n + 1) for n in range(len(list(directory.iterdir())))}


@pytest.mark.req("SQ-11")
def test_segments_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    directory = tmp_path / "intake"
    expected = [f"m{n}" for n in range(12)]
    filled(directory, *([name] for name in expected), segment_bytes=1)
    assert names(directory) == expected, "10.log comes after 9.log"


def test_the_log_is_private(tmp_path: Path) -> None:
    filled(tmp_path / "intake", ["m1"])
    assert stat.S_IMODE((tmp_path / "intake").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "intake/1.log").stat().st_mode) == 0o600


@pytest.mark.req("SQ-11")
@pytest.mark.parametrize("keep_zeros", [False, True])
def test_a_torn_end_is_cut_off_and_told(tmp_path: Path, keep_zeros: bool) -> None:
    directory, file = tmp_path / "intake", tmp_path / "intake/1.log"
    filled(directory, ["m1"], ["m2"])
    end = 2 * (12 + len(payload("m1")))
    content = file.read_bytes()
    file.write_bytes(content[: end - 5] + bytes(5) + content[end:] if keep_zeros else content[: end - 5])
    log = IntakeLog(directory)
    (problem,) = log.problems
    assert problem.torn_end
    assert (problem.segment, problem.offset) == (1, end // 2)
    assert file.stat().st_size == end // 2
    log.append([payload("m3")])
    log.close()
    problems: list[Problem] = []
    assert names(directory, problems) == ["m1", "m3"]
    assert problems == []


@pytest.mark.req("SQ-11")
def test_damage_that_whole_records_follow_is_kept_and_told(tmp_path: Path) -> None:
    directory, file = tmp_path / "intake", tmp_path / "intake/1.log"
    filled(directory, ["m1"], ["m2"], ["m3"])
    record = 12 + len(payload("m1"))
    damage(file, record + 20)
    before = file.read_bytes()
    log = IntakeLog(directory)
    log.append([payload("m4")])
    log.close()
    assert file.read_bytes() == before, "somebody may want to salvage it"
    problems: list[Problem] = []
    assert names(directory, problems) == ["m1", "m3", "m4"]
    assert [(p.segment, p.offset, p.torn_end) for p in problems] == [(1, record, False)]
    assert problems[0].lost_bytes == record
    assert tuple(problems) == log.problems


@pytest.mark.parametrize("offset", [0, 3, 5, 9, 15])
def test_damage_anywhere_in_a_record_is_noticed_and_costs_that_record(tmp_path: Path, offset: int) -> None:
    directory = tmp_path / "intake"
    filled(directory, ["m1"], ["m2"], ["m3"])
    damage(directory / "1.log", offset)
    problems: list[Problem] = []
    assert names(directory, problems) == ["m2", "m3"]
    assert len(problems) == 1


def test_a_whole_record_that_is_not_understood_is_told_and_passed_over(tmp_path: Path) -> None:
    directory = tmp_path / "intake"
    log = IntakeLog(directory)
    log.append([payload("m1"), b'{"of": "another version"}', b"\xff", payload("m2")])
    log.close()
    problems: list[Problem] = []
    assert names(directory, problems) == ["m1", "m2"]
    assert ["not understood" in problem.detail for problem in problems] == [True, True]


@pytest.mark.req("SQ-11", "INV-6")
def test_a_segment_that_the_disk_does_not_give_is_not_passed_over(tmp_path: Path) -> None:
    """A start without it would go on from a database that may lack what it holds, and then nobody looks again."""
    directory = tmp_path / "intake"
    filled(directory, ["m1"], ["m2"], ["m3"], segment_bytes=1)
    (directory / "2.log").rename(directory / "aside")
    (directory / "2.log").mkdir()
    with pytest.raises(IsADirectoryError):
        names(directory)
    with pytest.raises(StoreError) as refused:
        asyncio.run(SqliteStore.open(tmp_path / "daemon.db", rng=Random(1)))
    assert "move it out of the intake folder" in refused.value.hint
    (directory / "2.log").rmdir()
    assert names(directory) == ["m1", "m3"]


@pytest.mark.req("SQ-11")
def test_an_append_that_was_taken_back_is_not_found(tmp_path: Path) -> None:
    directory = tmp_path / "intake"
    log = IntakeLog(directory)
    log.append([payload("m1")])
    log.undo(log.append([payload("m2"), payload("m3")]))
    log.append([payload("m4")])
    log.close()
    assert names(directory) == ["m1", "m4"]


@pytest.mark.req("SQ-11")
@pytest.mark.parametrize("then_forever", [False, True])
def test_what_was_appended_survives_any_failing_operation(tmp_path: Path, then_forever: bool) -> None:
    """Fail operation 1, 2, ... until a run passes unharmed; what `append` returned from is there, nothing else is.

    Nothing else: but for a record that could be neither completed nor cut off, which nobody was promised.
    """
    groups = [[f"m{g}.{n}" for n in range(1 + g % 2)] for g in range(6)]
    fail_at = 0
    while True:
        fail_at += 1
        directory = tmp_path / str(fail_at)
        plan = FaultPlan(fail_at=fail_at, then_forever=then_forever)
        appended: list[str] = []
        log = None
        with contextlib.suppress(OSError):
            log = IntakeLog(directory, files=FaultyFiles(plan), segment_bytes=1_500, step_bytes=1_000)
        if log:
            for group in groups:
                with contextlib.suppress(OSError):
                    log.append([payload(name) for name in group])
                    appended += group
            log.close()
        IntakeLog(directory).close()
        found = names(directory)
        assert [name for name in found if name in appended] == appended
        if not then_forever:
            assert found == appended
            assert log is None or len(appended) >= sum(map(len, groups)) - 2, "one failure costs one group"
        if not plan.fired:
            assert appended == list(chain.from_iterable(groups))
            assert fail_at > 2 * len(groups)
            return


@pytest.mark.req("SQ-11")
def test_after_a_failed_sync_the_file_is_trusted_no_more(tmp_path: Path) -> None:
    """The system may have dropped the pages and call the next sync a success."""
    plan = FaultPlan()
    log = IntakeLog(tmp_path / "intake", files=FaultyFiles(plan))
    log.append([payload("m1")])
    before = (tmp_path / "intake/1.log").read_bytes().rstrip(b"\0")
    plan.fail_at = len(plan.seen) + 2
    with pytest.raises(OSError, match="No space"):
        log.append([payload("m2")])
    assert plan.seen[plan.fail_at - 1] == "intake sync"
    log.append([payload("m3")])
    log.close()
    assert (tmp_path / "intake/1.log").read_bytes() == before
    assert names(tmp_path / "intake") == ["m1", "m3"]
    assert sorted(path.name for path in (tmp_path / "intake").iterdir()) == ["1.log", "2.log"]


@pytest.mark.req("SQ-11")
def test_a_disk_that_stays_broken_does_not_fill_the_folder(tmp_path: Path) -> None:
    plan = FaultPlan(fail_at=4, then_forever=True)
    log = IntakeLog(tmp_path / "intake", files=FaultyFiles(plan))
    for _ in range(20):
        with pytest.raises(OSError, match="No space"):
            log.append([payload("m")])
    log.close()
    assert len(list((tmp_path / "intake").iterdir())) <= 1
