"""What the source says beside what it does: docstrings of modules and attributes, trailing comments, headings."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

HEADING = re.compile(r"# (?:-+ )?(?P<title>[^-].*?)(?: -+)?$")


@dataclass(frozen=True, slots=True)
class Constant:
    """A module's constant: its name, the heading it stands under, and the sentence that explains it."""

    name: str
    heading: str
    reason: str


def source_of(thing: ModuleType | type) -> str:
    """The text of the file that defines it."""
    return Path(inspect.getfile(thing)).read_text("utf-8")


def introduction(module: ModuleType) -> str:
    """The module's docstring."""
    return inspect.getdoc(module) or ""


def meaning(thing: type) -> str:
    """A class's docstring."""
    return inspect.cleandoc(thing.__doc__ or "")


def attribute_docs(cls: type) -> dict[str, str]:
    """Name of an attribute -> the docstring below its assignment. Inherited ones are not looked at."""
    for node in ast.walk(ast.parse(source_of(cls))):
        if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
            return {name: text for name, text, _ in _explained(node.body) if text}
    raise LookupError(f"{cls.__name__} is not in {inspect.getfile(cls)}")


def constants(source: str) -> list[Constant]:
    """Every constant of a module, explained by the docstring below it or the comment behind it."""
    lines = source.splitlines()
    found = []
    for name, text, node in _explained(ast.parse(source).body):
        if not name.isupper():
            continue
        end = node.end_lineno or node.lineno
        behind = lines[end - 1][node.end_col_offset or 0 :].strip()
        found.append(Constant(name, _heading(lines[: node.lineno - 1]), text or behind.lstrip("# ")))
    return found


def _explained(body: Sequence[ast.stmt]) -> Iterator[tuple[str, str, ast.stmt]]:
    """Each assignment to one name: the name, the text below it (may be empty), the assignment."""
    for node, below in zip(body, [*body[1:], None], strict=True):
        match node:
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                yield name, _text(below), node
            case _:
                pass


def _text(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return inspect.cleandoc(node.value.value)
    return ""


def _heading(before: list[str]) -> str:
    """The nearest line above that is a comment of its own."""
    for line in reversed(before):
        if found := HEADING.match(line):
            return found["title"]
    return ""
