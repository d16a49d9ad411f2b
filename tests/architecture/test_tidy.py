"""Size and names: what keeps the code readable and is easy to lose one line at a time.

A file or function that must be longer for now goes into RATCHET with its present length. The list holds at most
five entries, each must match exactly, and an entry that is no longer needed must go: so it can only shrink.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("src", "tests", "bench", "tools")

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
"""Without the docstring: documentation is never taxed."""
MATCH_FUNCTION_LINES_MAX = 100
"""A pure function of `core` that is one table of cases is easier to read whole."""

RATCHET: dict[str, int] = {}
RATCHET_LENGTH_MAX = 5

UNFINISHED = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3]) + r")\b")
EMPTY_WORDS = ("manager", "helper", "helpers", "util", "utils", "utility", "utilities")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def python_files() -> Iterator[tuple[str, str]]:
    """Every Python file of ours: its path in the repository and its text."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8")


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, Function]]:
    for node in ast.iter_child_nodes(tree):
        inside = prefix
        if isinstance(node, Function):
            yield f"{prefix}{node.name}", node
        if isinstance(node, Function | ast.ClassDef):
            inside = f"{prefix}{node.name}."
        yield from functions(node, inside)


def length(function: Function) -> int:
    """Lines from `def` to the end, the docstring left out."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function, clean=False) is not None:
        first = function.body[0]
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def function_limit(path: str, function: Function) -> int:
    pure = path.startswith("src/betcode/core/") and isinstance(function, ast.FunctionDef)
    has_match = any(isinstance(node, ast.Match) for node in ast.walk(function))
    return MATCH_FUNCTION_LINES_MAX if pure and has_match else FUNCTION_LINES_MAX


def oversized(path: str, source: str) -> dict[str, int]:
    """What is too long in one file: `path` or `path::function`, with the length."""
    found = {}
    if (lines := len(source.splitlines())) > FILE_LINES_MAX:
        found[path] = lines
    for name, function in functions(ast.parse(source)):
        if (lines := length(function)) > function_limit(path, function):
            found[f"{path}::{name}"] = lines
    return found


def words(name: str) -> list[str]:
    """The words of a CamelCase or snake_case name, in lower case."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def empty_names(path: str, source: str) -> list[str]:
    """Modules, folders, classes and functions whose name says nothing about what they do."""
    definitions = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    names = [n.name for n in ast.walk(ast.parse(source)) if isinstance(n, definitions)]
    names += Path(path).with_suffix("").parts
    return [f"{path}: {name}" for name in names if any(word in EMPTY_WORDS for word in words(name))]


def unfinished(path: str, source: str) -> list[str]:
    return [f"{path}:{n}" for n, line in enumerate(source.splitlines(), 1) if UNFINISHED.search(line)]


def test_files_and_functions_are_short_and_the_list_of_exceptions_only_shrinks() -> None:
    found: dict[str, int] = {}
    for path, source in python_files():
        found |= oversized(path, source)
    assert found == RATCHET, "split what is new here; take out of RATCHET what is no longer too long"
    assert len(RATCHET) <= RATCHET_LENGTH_MAX


def test_every_module_says_what_it_is_for() -> None:
    silent = [path for path, source in python_files() if ast.get_docstring(ast.parse(source)) is None]
    assert not silent, f"no docstring at the top of {silent}"


def test_every_name_says_what_the_thing_does() -> None:
    found = [finding for path, source in python_files() for finding in empty_names(path, source)]
    assert not found, "name it after what it does: " + ", ".join(found)


def test_nothing_is_left_for_later_in_a_comment() -> None:
    found = [finding for path, source in python_files() for finding in unfinished(path, source)]
    assert not found, "do it or write an issue: " + ", ".join(found)


def _function(statements: int, *, docstring: int = 0, match: bool = False) -> str:
    """A function of 1 + `statements` lines of code below a docstring of that many lines."""
    doc = ['    """Doc', *["    line"] * (docstring - 2), '    """'] if docstring else []
    body = ["    match a:", "        case _:"] if match else []
    indent = " " * (12 if match else 4)
    return "\n".join(["def f(a):", *doc, *body, *[f"{indent}a += 1"] * (statements - len(body))])


@pytest.mark.parametrize(
    "path, source, expected",
    [
        ("src/a.py", "a = 1\n" * 400, {}),
        ("src/a.py", "a = 1\n" * 401, {"src/a.py": 401}),
        ("src/a.py", _function(59), {}),
        ("src/a.py", _function(60), {"src/a.py::f": 61}),
        ("src/a.py", _function(59, docstring=30), {}),
        ("src/a.py", _function(60, docstring=30), {"src/a.py::f": 61}),
        ("src/betcode/core/a.py", _function(60), {"src/betcode/core/a.py::f": 61}),
        ("src/betcode/core/a.py", _function(99, match=True), {}),
        ("src/betcode/core/a.py", _function(100, match=True), {"src/betcode/core/a.py::f": 101}),
        ("src/betcode/engine/a.py", _function(60, match=True), {"src/betcode/engine/a.py::f": 61}),
        ("src/betcode/core/a.py", "async " + _function(60, match=True), {"src/betcode/core/a.py::f": 61}),
        ("src/a.py", "class C:\n    def g(self):\n" + "        g()\n" * 60, {"src/a.py::C.g": 61}),
    ],
)
def test_length_is_counted_without_docstrings(path: str, source: str, expected: dict[str, int]) -> None:
    assert oversized(path, source) == expected


@pytest.mark.parametrize(
    "path, source",
    [
        ("src/a.py", "class SessionManager: ..."),
        ("src/a.py", "class HTTPUtil: ..."),
        ("src/a.py", "def helper_for_x(): ..."),
        ("src/a.py", "class A:\n    def path_utils(self): ..."),
        ("src/utils.py", ""),
        ("src/helpers/a.py", ""),
    ],
)
def test_each_empty_name_is_found(path: str, source: str) -> None:
    assert len(empty_names(path, source)) == 1


def test_a_name_that_only_contains_the_letters_is_fine() -> None:
    assert empty_names("src/futile.py", "class Utilisation: ...\ndef mutilate(): ...") == []


def test_each_unfinished_mark_is_found() -> None:
    marks = ["TO" + "DO", "FIX" + "ME"]
    assert unfinished("a.py", "\n".join(f"# {mark}: later" for mark in marks)) == ["a.py:1", "a.py:2"]
