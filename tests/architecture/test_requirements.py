"""docs/requirements.md tells the truth: what it calls built has a test, and tests cite only what it lists."""

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STATES = ("built", "part", "planned")
COLUMNS = 6
TEST_NAME = re.compile(r"`(tests/[\w/.-]+\.py)(?:::(\w+))?`")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the tables."""

    id: str
    requirement: str
    state: str
    test: str
    command: str
    planted_bug: str


def rows(document: str) -> list[Row]:
    """All requirements of the document. Raises ValueError for a line with too few or too many cells."""
    found = []
    for line in document.splitlines():
        if not re.match(r"\| [A-Z]+-\d+ \|", line):
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) != COLUMNS:
            raise ValueError(f"{cells[0]} has {len(cells)} cells, not {COLUMNS}")
        found.append(Row(*cells))
    return found


def citations(source: str) -> set[str]:
    """The ids that `pytest.mark.req("...")` names in one test file."""
    cited: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "req":
            for argument in node.args:
                if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
                    raise TypeError(f"line {node.lineno}: cite requirements as plain strings")
                cited.add(argument.value)
    return cited


def complaints(listed: Iterable[Row], cited: set[str], tests: dict[str, str]) -> list[str]:
    """What is wrong with the tables, given the cited ids and the test files (path -> text)."""
    found = []
    for row in listed:
        if row.state not in STATES:
            found.append(f"{row.id}: state is {row.state!r}, not one of {', '.join(STATES)}")
        for path, name in TEST_NAME.findall(row.test):
            if path not in tests:
                found.append(f"{row.id}: {path} does not exist")
            elif name and f"def {name}(" not in tests[path]:
                found.append(f"{row.id}: {path} has no {name}")
        if row.state == "built":
            if row.id not in cited:
                found.append(f"{row.id}: called built, and no test cites it")
            if not TEST_NAME.search(row.test):
                found.append(f"{row.id}: called built, and the test column names no test")
            if not row.command or not row.planted_bug:
                found.append(f"{row.id}: called built, and the command or the planted bug is missing")
    known = {row.id for row in listed}
    found += [f"{id}: cited by a test, and not in the tables" for id in sorted(cited - known)]
    return found


def test_the_tables_and_the_tests_agree() -> None:
    listed = rows((ROOT / "docs/requirements.md").read_text("utf-8"))
    tests = {p.relative_to(ROOT).as_posix(): p.read_text("utf-8") for p in (ROOT / "tests").rglob("*.py")}
    cited = {id for source in tests.values() for id in citations(source)}
    found = complaints(listed, cited, tests)
    assert not found, "\n".join(found)


def test_the_numbers_of_each_family_run_from_one_without_a_hole() -> None:
    families: dict[str, list[int]] = {}
    for row in rows((ROOT / "docs/requirements.md").read_text("utf-8")):
        family, number = row.id.split("-")
        families.setdefault(family, []).append(int(number))
    assert set(families) == {"INV", "ND", "PS", "SQ", "RL", "CB", "PM", "OB", "RS", "RE", "CF", "SE"}
    for family, numbers in families.items():
        assert sorted(numbers) == list(range(1, len(numbers) + 1)), family


GOOD = Row("ND-1", "Lines.", "built", "`tests/a.py::test_x`", "make test", "do this")
TESTS = {"tests/a.py": '@pytest.mark.req("ND-1")\ndef test_x(): ...\n'}


def test_a_built_requirement_with_its_test_is_accepted() -> None:
    assert complaints([GOOD], {"ND-1"}, TESTS) == []
    assert citations(TESTS["tests/a.py"]) == {"ND-1"}


@pytest.mark.parametrize(
    "row, cited, complaint",
    [
        (GOOD, set(), "ND-1: called built, and no test cites it"),
        (GOOD, {"ND-1", "ND-2"}, "ND-2: cited by a test, and not in the tables"),
        (Row("ND-1", "x", "done", "", "", ""), set(), "ND-1: state is 'done', not one of built, part, planned"),
        (Row("ND-1", "x", "part", "`tests/b.py`", "", ""), set(), "ND-1: tests/b.py does not exist"),
        (Row("ND-1", "x", "part", "`tests/a.py::test_y`", "", ""), set(), "ND-1: tests/a.py has no test_y"),
        (
            Row("ND-1", "x", "built", "", "c", "b"),
            {"ND-1"},
            "ND-1: called built, and the test column names no test",
        ),
        (
            Row("ND-1", "x", "built", "`tests/a.py`", "c", ""),
            {"ND-1"},
            "ND-1: called built, and the command or the planted bug is missing",
        ),
    ],
)
def test_each_untruth_is_found(row: Row, cited: set[str], complaint: str) -> None:
    assert complaints([row], cited, TESTS) == [complaint]


def test_a_line_with_a_missing_cell_is_an_error() -> None:
    with pytest.raises(ValueError, match="ND-1 has 5 cells"):
        rows("| ND-1 | Lines. | planned | | |")


def test_a_citation_that_is_not_a_plain_string_is_an_error() -> None:
    with pytest.raises(TypeError, match="plain strings"):
        citations("@pytest.mark.req(f'ND-{n}')\ndef test_x(): ...")
