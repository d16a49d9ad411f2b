"""The record of stdin, the atomic files and the small parts of the keeper."""

import json
import os
from pathlib import Path

import pytest

from betcode.keeper.files import Files, write_atomically
from betcode.keeper.limits import STDERR_LINE_BYTES_MAX, STDERR_TAIL_BYTES_MAX, STDERR_TAIL_LINES_MAX
from betcode.keeper.records import StdinRecords, read_records
from betcode.keeper.report import read_report
from betcode.keeper.reserve import Reserve
from betcode.keeper.spec import BadSpec, parse_spec
from betcode.keeper.stderr_tail import StderrTail
from betcode.keeper.timers import Timers

SPEC: dict[str, object] = {
    "session_dir": "/d",
    "run": 1,
    "argv": ["claude"],
    "env": {"A": "b"},
    "cwd": "/",
    "socket": "/d/s",
    "generation": 1,
    "mark": "m",
}


class Failing(Files):
    """Writes `healthy` bytes, then nothing."""

    def __init__(self, healthy: int, *, cut: bool = True) -> None:
        self.healthy = healthy
        self.cut = cut

    def pwrite(self, fd: int, content: bytes, offset: int) -> int:
        if not self.healthy:
            raise OSError(28, "full")
        taken = super().pwrite(fd, content[: self.healthy], offset)
        self.healthy -= taken
        return taken

    def ftruncate(self, fd: int, length: int) -> None:
        if not self.cut:
            raise OSError(5, "broken")
        super().ftruncate(fd, length)


@pytest.mark.req("INV-1")
@pytest.mark.parametrize("cut", [True, False])
def test_a_record_that_failed_half_way_is_not_found_later(tmp_path: Path, cut: bool) -> None:
    files = Failing(20, cut=cut)
    records = StdinRecords(str(tmp_path), 1, files=files)
    with pytest.raises(OSError, match="full"):
        records.append({"id": "a long id that does not fit", "state": "intent"})
    assert read_records(str(tmp_path / "1.in")) == []
    files.healthy = 1000
    records.append({"id": "b"})
    assert read_records(str(tmp_path / "1.in")) == [{"id": "b"}]
    records.append({"id": "c", "state": "something longer than what was torn"})
    assert [record["id"] for record in read_records(str(tmp_path / "1.in"))] == ["b", "c"]


@pytest.mark.req("INV-1")
def test_what_has_happened_is_recorded_as_soon_as_the_disk_takes_it_and_before_any_new_intent(tmp_path: Path) -> None:
    files = Failing(0)
    records = StdinRecords(str(tmp_path), 1, files=files)
    records.append_sometime({"id": "a", "state": "done"})
    assert records.late == 1
    with pytest.raises(OSError, match="full"):
        records.append({"id": "b", "state": "intent"})
    files.healthy = 1000
    records.append({"id": "b", "state": "intent"})
    assert records.late == 0
    assert [record["id"] for record in read_records(str(tmp_path / "1.in"))] == ["a", "b"]


@pytest.mark.req("INV-1")
def test_an_intent_that_could_not_be_synced_is_taken_back(tmp_path: Path) -> None:
    records = StdinRecords(str(tmp_path), 1, files=Files())
    records.append({"id": "a"})
    records.append({"id": "b"})
    records.take_back()
    assert read_records(str(tmp_path / "1.in")) == [{"id": "a"}]


@pytest.mark.req("INV-1")
def test_a_torn_last_record_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "1.in").write_bytes(b'{"id":"a"}\n{"id":"b"')
    assert read_records(str(tmp_path / "1.in")) == [{"id": "a"}]


@pytest.mark.req("PS-6")
@pytest.mark.parametrize("healthy", range(6))
def test_a_report_is_replaced_whole_or_not_at_all(tmp_path: Path, healthy: int) -> None:
    path = str(tmp_path / "1.exit")
    write_atomically(Files(), path, b'{"a":1}', durable=True)
    with pytest.raises(OSError, match="full"):
        write_atomically(Failing(healthy), path, b'{"a":2}', durable=True)
    assert read_report(path) == {"a": 1}


@pytest.mark.req("PS-6")
@pytest.mark.parametrize("content", [None, b"", b"{", b"[]"])
def test_a_report_that_is_absent_or_damaged_is_none(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "1.exit").write_bytes(content)
    assert read_report(str(tmp_path / "1.exit")) is None


@pytest.mark.req("SQ-9")
def test_the_reserve_holds_space_until_it_is_given_up(tmp_path: Path) -> None:
    reserve = Reserve(str(tmp_path), 1)
    assert not reserve.give_up()
    reserve.take()
    assert (tmp_path / "1.reserve").stat().st_blocks * 512 >= 16 * 1024 * 1024
    assert reserve.give_up()
    assert not reserve.give_up()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.req("PS-3", "INV-8")
def test_the_tail_of_stderr_is_bounded_in_bytes_lines_and_length_of_a_line() -> None:
    tail = StderrTail()
    for number in range(1000):
        tail.add(b"%d " % number + b"x" * 10_000 + b"\n")
    assert len(tail._bytes) == STDERR_TAIL_BYTES_MAX
    lines = tail.lines()
    assert lines[-1].startswith("999 ")
    assert len(lines[-1]) == STDERR_LINE_BYTES_MAX
    tail.add(b"short\n" * 100)
    assert tail.lines() == ["short"] * STDERR_TAIL_LINES_MAX
    tail.add(b"\xff no newline")
    assert tail.lines()[-1] == "\ufffd no newline"


@pytest.mark.req("INV-5")
def test_timers_fall_due_in_order_and_once() -> None:
    timers = Timers()
    assert timers.wait_s(0.0) is None
    timers.set("b", 2.0)
    timers.set("a", 1.0)
    timers.set_once("a", 9.0)
    timers.set("c", 3.0)
    timers.clear("c")
    assert timers.wait_s(0.5) == 0.5
    assert timers.take_due(0.9) == []
    assert timers.take_due(2.0) == ["a", "b"]
    assert timers.take_due(99.0) == []
    timers.set("late", 1.0)
    assert timers.wait_s(5.0) == 0.0


@pytest.mark.req("PS-6")
def test_a_whole_spec_is_taken_with_its_defaults() -> None:
    spec = parse_spec(json.dumps(SPEC).encode())
    assert (spec.run, spec.argv, spec.env, spec.silence_s_max, spec.segment_bytes) == (
        1,
        ["claude"],
        {"A": "b"},
        86_400,
        1 << 26,
    )
    assert spec.path("exit") == "/d/1.exit"


@pytest.mark.req("PS-6")
@pytest.mark.parametrize(
    "change",
    [
        {"session_dir": "relative"},
        {"session_dir": ""},
        {"run": -1},
        {"run": True},
        {"run": "1"},
        {"argv": []},
        {"argv": "claude"},
        {"argv": ["claude", 1]},
        {"argv": ["a\0b"]},
        {"env": {"A=B": "c"}},
        {"env": {"A": 1}},
        {"env": None},
        {"cwd": None},
        {"socket": "s"},
        {"generation": None},
        {"mark": "two\nlines"},
        {"mark": ""},
        {"silence_s_max": 0},
        {"silence_s_max": "1"},
        {"segment_bytes": False},
    ],
)
def test_a_spec_that_cannot_work_is_refused_by_name(change: dict[str, object]) -> None:
    with pytest.raises(BadSpec, match=next(iter(change))) as refused:
        parse_spec(json.dumps({**SPEC, **change}).encode())
    assert refused.value.code == "bad_spec"
    assert refused.value.hint


@pytest.mark.req("PS-6")
@pytest.mark.parametrize("raw", [b"", b"[]", b"{"])
def test_a_spec_that_is_no_json_object_is_refused(raw: bytes) -> None:
    with pytest.raises(BadSpec):
        parse_spec(raw)


@pytest.mark.req("SE-3")
def test_new_files_are_readable_by_their_owner_only_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_atomically(Files(), str(tmp_path / "1.run"), b"{}", durable=False)
    finally:
        os.umask(before)
    assert (tmp_path / "1.run").stat().st_mode & 0o777 == 0o600
