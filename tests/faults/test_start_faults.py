"""A daemon that cannot write its first files, as on a full disk: a plain refusal, and it works once there is room."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from betcode.daemon.lock import DaemonLock, next_generation
from betcode.model.errors import BetcodeError

SOFT, HARD = resource.getrlimit(resource.RLIMIT_FSIZE)


@contextmanager
def full_disk() -> Iterator[None]:
    """No file can grow: a real error of the system at the first byte."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, HARD))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (SOFT, HARD))


@pytest.mark.req("SQ-9", "RS-1", "RS-3")
def test_a_full_disk_refuses_the_lock_with_a_hint_and_leaves_it_free(tmp_path: Path) -> None:
    with full_disk(), pytest.raises(BetcodeError) as refused:
        DaemonLock(tmp_path / "daemon.lock").take()
    assert refused.value.code == "config.unwritable"
    assert "Make room" in refused.value.hint
    lock = DaemonLock(tmp_path / "daemon.lock")
    lock.take()
    lock.release()


@pytest.mark.req("SQ-9", "RS-1")
def test_a_full_disk_refuses_a_generation_with_a_hint_and_keeps_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "generation"
    assert next_generation(path, 100.5) == 100
    with full_disk(), pytest.raises(BetcodeError) as refused:
        next_generation(path, 0.0)
    assert refused.value.code == "config.unwritable"
    assert "Make room" in refused.value.hint
    assert next_generation(path, 0.0) == 101, "a number is never given twice"
