"""The errors of the store: in words, with something to do, and with few labels."""

import errno

import apsw
import pytest

from betcode.adapters.sqlite import errors
from betcode.adapters.sqlite.errors import ERROR_TYPES, StoreError, cannot_open, translate
from betcode.adapters.sqlite.health import Health

FOREIGN = [kind for kind in vars(apsw).values() if isinstance(kind, type) and issubclass(kind, apsw.Error)]


@pytest.mark.req("OB-3")
@pytest.mark.parametrize("foreign", FOREIGN)
def test_every_error_of_sqlite_gets_words_a_hint_and_one_of_few_labels(foreign: type[apsw.Error]) -> None:
    original = foreign("what sqlite said")
    error = translate(original)
    assert error.code == ("store.damaged" if error.error_type in errors.DAMAGE else "store.failed")
    assert error.error_type in ERROR_TYPES
    assert str(error).endswith(": what sqlite said")
    assert error.hint
    assert error.__cause__ is original


@pytest.mark.parametrize(
    "number, written, opened",
    [
        (errno.ENOSPC, "intake_full", "full"),
        (errno.EDQUOT, "intake_full", "full"),
        (errno.EIO, "intake_io", "cantopen"),
    ],
)
def test_a_full_disk_is_told_from_a_broken_one(number: int, written: str, opened: str) -> None:
    error = OSError(number, "words")
    assert translate(error).error_type == written
    assert cannot_open(error).error_type == opened
    assert ("Make room" in translate(error).hint) == (number != errno.EIO)
    assert {written, opened} <= ERROR_TYPES


@pytest.mark.req("SQ-3")
@pytest.mark.parametrize("error_type", sorted(ERROR_TYPES))
def test_trouble_passes_and_damage_does_not(error_type: str) -> None:
    counted: list[str] = []
    health = Health(counted.append)
    assert health.refusal() is None
    health.commit_failed(StoreError("x", hint="y", error_type=error_type))
    damaged = error_type in errors.DAMAGE
    assert health.state == ("damaged" if damaged else "degraded")
    health.committed()
    assert health.state == ("damaged" if damaged else "ok")
    assert (health.refusal() is not None) == damaged
    assert counted == [error_type]
