"""The report on a recording."""

import json
from pathlib import Path

import pytest

from betcode.model import limits
from betcode.wire.check import Check, Report

RECORDINGS = Path(__file__).parents[1] / "recordings"
NO_ERRORS = {"invalid_utf8": 0, "invalid_json": 0, "schema": 0, "oversize": 0}
ALIVE = b'{"type":"keep_alive"}\n'


def checked(data: bytes, line_bytes_max: int = limits.LINE_BYTES_MAX) -> Report:
    check = Check(line_bytes_max)
    check.feed(data)
    return check.finish()


@pytest.mark.req("ND-10")
def test_a_recording_is_counted() -> None:
    data = (RECORDINGS / "02_allow.ndjson").read_bytes()
    report = checked(data)
    assert (report.lines, report.bytes, report.tail) == (data.count(b"\n"), len(data), "complete")
    assert report.errors == NO_ERRORS
    assert report.unknown == {}
    assert report.events["permission_request"] == 1
    assert report.events["turn_result"] == 2
    assert report.events["lifecycle"] == 6


@pytest.mark.req("ND-2", "ND-3", "ND-5", "ND-7")
def test_each_kind_of_error_is_counted_and_bad_lines_are_no_events() -> None:
    long = b'{"type":"keep_alive","pad":"' + b"x" * 300 + b'"}\n'
    report = checked(ALIVE + b"\xff\n" + b"{\n" + b'{"type":"result"}\n' + long + b"\n", line_bytes_max=200)
    assert report.errors == {"invalid_utf8": 1, "invalid_json": 1, "schema": 1, "oversize": 1}
    assert report.events == {"turn_result": 1}
    assert report.lines == 6


@pytest.mark.req("ND-4")
def test_unknown_kinds_are_counted_by_name_up_to_a_bound() -> None:
    kinds = [f'{{"type":"kind{n}"}}\n'.encode() for n in range(limits.WARNED_KINDS_MAX + 5)]
    report = checked(b"".join(kinds) + kinds[0] + b'{"type":"system","subtype":"new"}\n')
    assert len(report.unknown) == limits.WARNED_KINDS_MAX + 1
    assert report.unknown["kind0"] == 2
    assert report.unknown["(other)"] == 6
    assert report.events == {"unknown": limits.WARNED_KINDS_MAX + 7}
    assert report.errors == NO_ERRORS


@pytest.mark.req("ND-3")
@pytest.mark.parametrize(
    "tail, lines, state",
    [
        (b"", 1, "complete"),
        (b'{"type":"keep_alive"}', 2, "complete"),
        (b'{"type":"keep_al', 1, "partial"),
        (b"[1]", 1, "partial"),
        (b'{"type":"\xff"}', 1, "partial"),
        (b'{"type":"x","pad":"' + b"x" * 300 + b'"}', 1, "partial"),
    ],
)
def test_a_half_written_last_line_is_no_line_and_no_error(tail: bytes, lines: int, state: str) -> None:
    report = checked(ALIVE + tail, line_bytes_max=200)
    assert (report.lines, report.tail, report.errors) == (lines, state, NO_ERRORS)
    assert report.bytes == len(ALIVE + tail)


@pytest.mark.req("ND-10")
def test_the_report_does_not_depend_on_the_chunks() -> None:
    data = (RECORDINGS / "12_subagent_permission.ndjson").read_bytes()[:-10]
    check = Check()
    for start in range(0, len(data), 97):
        check.feed(data[start : start + 97])
    assert check.finish() == checked(data)
    assert json.loads(json.dumps(checked(data).events))["task"] == 4
