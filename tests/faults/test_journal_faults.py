"""The keeper's journal and its record of stdin on a disk that fails at any one operation, once or for ever.

Goal: every byte of output is in the journal once, in order, and what is not there yet is told and kept; a record that
could not be written is not found. Method: the keeper's own classes; fail operation 1, then 2, ...; all writes are
short, a failing one leaves half of its bytes behind. test_keeper_faults.py does the same with a whole keeper.
"""

import errno
import itertools
from contextlib import suppress
from pathlib import Path

import pytest

from betcode.keeper.files import Files, write_atomically
from betcode.keeper.journal import Journal, JournalReader
from betcode.keeper.records import StdinRecords, read_records
from betcode.testing.faults import FaultPlan

PIECES = [b"one\n", b"a longer line, in two", b" pieces\n", b"\n", b"x" * 100 + b"\n", b"three\nfour\nfi", b"ve\n"]
WHOLE = b"".join(PIECES)
FAULTS = pytest.mark.parametrize(
    "then_forever, error", [(False, errno.ENOSPC), (False, errno.EIO), (True, errno.ENOSPC), (True, errno.EIO)]
)


class KeeperFiles(Files):
    """The keeper's file operations, failing by plan."""

    def __init__(self, plan: FaultPlan) -> None:
        self.plan = plan

    def open(self, path: str, flags: int) -> int:
        self.plan.check("open")
        return super().open(path, flags)

    def pwrite(self, fd: int, content: bytes, offset: int) -> int:
        half = content[: (len(content) + 1) // 2]
        if self.plan.meet("write"):
            super().pwrite(fd, half[: len(half) // 2], offset)
            raise self.plan.error()
        return super().pwrite(fd, half, offset)

    def fdatasync(self, fd: int) -> None:
        self.plan.check("sync")

    def ftruncate(self, fd: int, length: int) -> None:
        self.plan.check("truncate")
        super().ftruncate(fd, length)

    def replace(self, source: str, target: str) -> None:
        self.plan.check("replace")
        super().replace(source, target)


def written(directory: Path) -> bytes:
    reader = JournalReader(str(directory))
    found = b""
    while piece := reader.read(1, len(found), 50):
        found += piece
    return found


@pytest.mark.req("SQ-9", "INV-2", "INV-8")
@FAULTS
def test_no_byte_of_the_journal_is_lost_or_doubled_and_what_waits_is_told(
    tmp_path: Path, then_forever: bool, error: int
) -> None:
    for fail_at in itertools.count(1):
        directory = tmp_path / str(fail_at)
        directory.mkdir()
        plan = FaultPlan(fail_at=fail_at, then_forever=then_forever, errno=error)
        try:
            journal = Journal(str(directory), 1, segment_bytes=20, files=KeeperFiles(plan))
        except OSError as refused:
            assert (fail_at, refused.errno) == (1, error)  # noqa: PT017
            continue
        given = 0
        for piece in PIECES:
            given += len(piece)
            journal.append(piece)
            if journal.blocked:
                assert journal.blocked == error
                assert journal.unwritten == WHOLE[journal.end : given], "it is kept"
                assert WHOLE.startswith(written(directory)), "what is there is right"
                journal.flush()
                assert bool(journal.blocked) is then_forever
            if journal.blocked:
                plan.then_forever = False  # there is room again
                journal.flush()
            assert (journal.blocked, journal.unwritten, journal.end) == (0, b"", given)
        assert written(directory) == WHOLE
        assert journal.read(0, 4) == b"one\n"
        if not plan.fired:
            assert fail_at > 3 * len(PIECES), "the loop did reach the end"
            return


@pytest.mark.req("INV-1", "SQ-9")
@FAULTS
def test_an_intent_that_was_refused_is_never_found_and_one_that_was_recorded_always(
    tmp_path: Path, then_forever: bool, error: int
) -> None:
    for fail_at in itertools.count(1):
        directory = tmp_path / str(fail_at)
        directory.mkdir()
        plan = FaultPlan(fail_at=fail_at, then_forever=then_forever, errno=error)
        with suppress(OSError):
            records = StdinRecords(str(directory), 1, files=KeeperFiles(plan))
            recorded: list[tuple[object, object]] = []
            for name in ("first", "second line", "3"):
                with suppress(OSError):
                    records.append({"id": name, "state": "intent", "bytes": len(name) * 9})
                    recorded.append((name, "intent"))
                    records.append_sometime({"id": name, "state": "done"})
                    recorded.append((name, "done"))
                found = [(record["id"], record["state"]) for record in read_records(str(directory / "1.in"))]
                assert found == recorded[: len(recorded) - records.late], (fail_at, plan.seen)
            if records.late:
                plan.then_forever = False
                records.append_late()
            found = [(record["id"], record["state"]) for record in read_records(str(directory / "1.in"))]
            assert found == recorded
            assert then_forever or len(recorded) >= 2 * 2, "one failure costs one line"
        if not plan.fired:
            assert len(recorded) == 2 * 3
            assert fail_at > 2 * len(recorded), "the loop did reach the end"
            return


@pytest.mark.req("SQ-9", "PS-11")
@FAULTS
def test_a_report_is_whole_or_the_old_one(tmp_path: Path, then_forever: bool, error: int) -> None:
    path = tmp_path / "1.exit"
    path.write_bytes(b"old")
    for fail_at in itertools.count(1):
        plan = FaultPlan(fail_at=fail_at, then_forever=then_forever, errno=error)
        try:
            write_atomically(KeeperFiles(plan), str(path), b"a new report", durable=True)
        except OSError as refused:
            assert refused.errno == error  # noqa: PT017
            assert path.read_bytes() == b"old"
            assert [file.name for file in tmp_path.iterdir()] == ["1.exit"], "nothing is left behind"
        else:
            assert path.read_bytes() == b"a new report"
            assert not plan.fired
            assert fail_at > 4, "open, writes, sync and replace were met"
            return
