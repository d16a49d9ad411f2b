"""The fuzzer finds what there is to find, says where it is, and begins with the recordings."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from betcode.testing.fuzz import RECORDINGS, damage_at_random, main, seeds
from betcode.testing.fuzz_targets import TARGETS, target


def naive(data: bytes) -> None:
    """A reader with a defect: it takes all for UTF-8."""
    data.decode()


@pytest.mark.req("ND-10")
def test_a_defect_is_found_and_saved_and_can_be_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = damage_at_random(naive, seeds(RECORDINGS), seconds=60, rng=Random(1), into=tmp_path / "found")
    assert status == 1
    [file] = (tmp_path / "found").iterdir()
    with pytest.raises(UnicodeDecodeError):
        naive(file.read_bytes())
    said = capsys.readouterr()
    assert str(file) in said.out
    assert "UnicodeDecodeError" in said.err
    assert main(["--repeat", str(file)]) == 0, "the product bears it"


@pytest.mark.req("ND-10")
def test_the_readers_of_foreign_bytes_bear_recorded_inputs_and_damaged_ones(tmp_path: Path) -> None:
    inputs = seeds(RECORDINGS)
    assert {data[0] % len(TARGETS) for data in inputs} == {0, 2, 3, 4, 5}
    for data in inputs[::20]:
        target(data)
    assert damage_at_random(target, inputs, seconds=60, rng=Random(2), into=tmp_path, runs=1_000) == 0
    for number in range(len(TARGETS)):
        target(bytes([number]))
    target(b"")
