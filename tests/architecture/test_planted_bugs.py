"""The table of planted bugs fits the code and the requirements, so `make plant` and the requirements stay true."""

import re
from pathlib import Path

import pytest
from tools import plant_chaos
from tools.plant import Bug, planted, read_table

from betcode.testing.chaos.__main__ import TARGETS, experiments_of

ROOT = Path(__file__).resolve().parents[2]
BUGS = read_table()
ROWS = [
    [cell.strip() for cell in line.strip().strip("|").split("|")]
    for line in (ROOT / "docs/requirements.md").read_text("utf-8").splitlines()
    if re.match(r"\| [A-Z]+-\d+ \|", line)
]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_has_its_place_and_its_tests(bug: Bug) -> None:
    assert planted((ROOT / bug.file).read_text("utf-8"), bug)
    for test in bug.tests:
        path, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / path).read_text("utf-8") if name else (ROOT / path).exists()


@pytest.mark.parametrize("bug", plant_chaos.read_table(), ids=lambda bug: bug.name)
def test_a_bug_for_the_experiments_has_its_place_and_its_experiments(bug: Bug) -> None:
    assert planted((ROOT / bug.file).read_text("utf-8"), bug)
    assert any({e.id for e in experiments_of(target)}.issuperset(bug.tests) for target in TARGETS)


def test_a_bug_whose_place_is_gone_is_told() -> None:
    bug = BUGS[0]
    with pytest.raises(ValueError, match="0 times"):
        planted("something else\n", bug)


def test_each_built_requirement_names_a_bug_that_is_planted_for_it() -> None:
    planted_for = {(bug.req, bug.name) for bug in BUGS}
    for id, _, state, _, _, cell in ROWS:
        if state == "built":
            named = re.findall(r"`([a-z0-9-]+)`", cell)
            assert any((id, name) in planted_for for name in named), f"{id}: {cell!r} names no bug of {id}"
