"""The repository holds nothing of the machine it was written on, and no address of a package registry."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOT_OURS = {".git", ".venv", "build", "dist", "node_modules", "__pycache__", ".hypothesis"}

# Put together from parts, so that this file passes its own test.
PATHS = ["/" + name + "/" for name in ("work", "root", "Users")] + ["/tmp/" + "w/"]
HOSTS = [
    ".".join(parts)
    for parts in [
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("yarnpkg", "com"),
        ("crates", "io"),
        ("rubygems", "org"),
        ("proxy", "golang", "org"),
    ]
]
# A path counts only where it is absolute: "docs/work/" is somebody's own folder.
FOREIGN = re.compile(
    "|".join([rf"(?<![\w.~-]){re.escape(path)}" for path in PATHS] + [re.escape(host) for host in HOSTS])
)


def files() -> Iterator[Path]:
    for folder, subfolders, names in os.walk(ROOT):
        subfolders[:] = [s for s in subfolders if s not in NOT_OURS and not s.endswith(("_cache", ".egg-info"))]
        yield from (Path(folder, name) for name in names)


def findings(text: str) -> list[str]:
    """Each line that holds a foreign word, with its number."""
    return [f"{n}: {line.strip()[:120]}" for n, line in enumerate(text.splitlines(), 1) if FOREIGN.search(line)]


def test_no_file_names_a_developers_machine_or_a_registry() -> None:
    seen = 0
    found: list[str] = []
    for path in files():
        seen += 1
        text = path.read_bytes().decode("utf-8", "replace")
        found += [f"{path.relative_to(ROOT)}:{finding}" for finding in findings(text)]
    assert seen > 20, "the walk did not find the repository"
    assert not found, "\n".join(found)


@pytest.mark.parametrize("word", [*(path + "x" for path in PATHS), *HOSTS])
def test_each_foreign_word_is_found(word: str) -> None:
    assert findings(f"first line\nsee {word} there") == [f"2: see {word} there"]


def test_a_relative_folder_of_the_same_name_is_not_foreign() -> None:
    assert findings("docs" + PATHS[0] + "plan.md") == []
