"""Disks that are not fit for a database: of another machine, failing, full."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from betcode.adapters.disk_probe import probe
from betcode.adapters.mounts import mounts, refuse_network_disk
from betcode.core.disk_health import ERRORS_MAX, OPERATIONS_MIN, DiskHealth
from betcode.core.disk_kind import NETWORK, Mount, is_network, mount_of, parse_mountinfo
from betcode.model.errors import BetcodeError

MOUNTINFO = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:34 / /home rw - nfs4 server:/home rw,vers=4.2
41 40 8:2 / /home/ada/local\040disk rw - xfs /dev/sdb1 rw
42 22 0:40 / /mnt/cloud rw - fuse.sshfs ada@host: rw
43 22 0:41 / /host rw - virtiofs host rw
not a line
"""


@pytest.mark.req("SQ-1")
@pytest.mark.parametrize(
    "path, kind, refused",
    [
        ("/var/lib/betcode", "ext4", False),
        ("/home/ada/.local/state/betcode", "nfs4", True),
        ("/home/ada/local disk/betcode", "xfs", False),
        ("/home", "nfs4", True),
        ("/homes/ada", "ext4", False),
        ("/mnt/cloud/x", "fuse.sshfs", True),
        ("/host/x", "virtiofs", False),
    ],
)
def test_a_directory_is_refused_when_another_machine_keeps_it(path: str, kind: str, refused: bool) -> None:
    found = mount_of(path, parse_mountinfo(MOUNTINFO))
    assert found is not None
    assert (found.kind, is_network(found)) == (kind, refused)


@pytest.mark.req("SQ-1")
def test_the_refusal_names_the_disk_and_the_way_around_it(tmp_path: Path) -> None:
    with pytest.raises(BetcodeError) as refused:
        refuse_network_disk(tmp_path, [Mount("/", "nfs4")])
    assert refused.value.code == "config.network_disk"
    assert "nfs4 at /" in str(refused.value)
    assert "storage.allow_network_disk" in refused.value.hint
    refuse_network_disk(tmp_path, [])
    refuse_network_disk(tmp_path)  # this machine's own


def test_of_two_disks_at_the_same_place_the_later_one_counts_and_nonsense_is_passed_over() -> None:
    both = [Mount("/data", "nfs"), Mount("/data", "ext4")]
    assert mount_of("/data/x", both) == both[1]
    assert mount_of("relative", both) is None
    assert any(mount.point == "/" for mount in mounts())


@given(st.text(max_size=200))
def test_no_text_breaks_the_reading_of_mounts(text: str) -> None:
    assert all(mount.kind for mount in parse_mountinfo(text))
    assert not is_network(None)
    assert "nfs4" in NETWORK


@pytest.mark.req("SQ-3")
def test_more_than_three_errors_of_the_disk_in_a_minute_are_told_until_the_minute_is_over() -> None:
    health = DiskHealth()
    for number in range(ERRORS_MAX):
        health.failed("io", 10.0 * number)
    assert (health.must_look(30.0), health.warning(30.0)) == (False, "")
    health.failed("intake_io", 31.0)
    assert health.must_look(31.0)
    assert "failed 4 times within a minute" in health.warning(31.0)
    assert (health.must_look(92.0), health.warning(92.0)) == (False, "")


@pytest.mark.req("SQ-3")
def test_more_than_one_in_a_hundred_operations_failing_is_told() -> None:
    health = DiskHealth()
    for number in range(3 * OPERATIONS_MIN):
        health.worked(number / 10)
    health.failed("busy", 30.0)
    health.failed("full", 30.0)
    health.failed("defect", 30.0)
    assert health.warning(30.0) == ""
    health.failed("busy", 30.0)
    health.failed("busy", 30.0)
    assert "4 of the last 304 operations" in health.warning(30.0)
    assert health.warning(400.0) == ""


@pytest.mark.req("INV-8", "SQ-3")
@given(st.lists(st.floats(0, 5.0), max_size=500))
def test_what_is_remembered_of_operations_is_bounded(pauses: list[float]) -> None:
    health, now_s = DiskHealth(), 0.0
    for pause in pauses:
        now_s += pause
        health.worked(now_s)
    assert len(health._seconds) <= 303


@pytest.mark.req("SQ-3")
def test_a_disk_is_tried_by_writing_and_reading_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert probe(tmp_path) == ""
    assert list(tmp_path.iterdir()) == []
    assert "cannot be written" in probe(tmp_path / "nowhere")
    monkeypatch.setattr(os, "pread", lambda fd, count, at: bytes(count))
    assert "something else" in probe(tmp_path)
    monkeypatch.undo()

    def full(_fd: int, _content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    assert "No space left" in probe(tmp_path)
    assert list(tmp_path.iterdir()) == []
