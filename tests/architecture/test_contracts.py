"""The import contracts of pyproject.toml hold, and each of them catches what it is there to catch."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]

LAYERS = "Dependencies point down; siblings joined by | do not know each other"
PURE = "The cores decide; they never do IO, read a clock, start a thread or log"
KEEPER_ALONE = "The keeper stands apart: standard library only"
KEEPER_HIDDEN = "Only the adapters and the test tools know the keeper"
NO_TEST_TOOLS = "The product never imports the test tools"
NO_CYCLES = "No cycles between siblings, at any depth"

Files = dict[str, str]

# For each contract, changes that it must refuse: file in betcode -> text. Folders that do not exist yet are made.
PLANTED: list[tuple[str, Files]] = [
    (LAYERS, {"model/planted.py": "import betcode.core"}),
    (LAYERS, {"core/planted.py": "import betcode.engine"}),
    (LAYERS, {"engine/planted.py": "import betcode.adapters"}),
    (LAYERS, {"client/planted.py": "def later() -> None:\n    import betcode.engine"}),
    (LAYERS, {"wire/planted.py": "import betcode.core"}),
    (LAYERS, {"engine/planted.py": "import betcode.config"}),
    (LAYERS, {"daemon/planted.py": "import betcode.cli"}),
    (LAYERS, {"novelty/__init__.py": ""}),
    (PURE, {"core/planted.py": "import asyncio"}),
    (PURE, {"core/planted.py": "from time import monotonic"}),
    (PURE, {"wire/planted.py": "import os.path"}),
    (PURE, {"model/planted.py": "import logging"}),
    (PURE, {"model/planted.py": "from uuid import uuid4"}),
    (PURE, {"core/planted.py": "import apsw"}),
    (KEEPER_ALONE, {"keeper/planted.py": "import msgspec"}),
    (KEEPER_ALONE, {"keeper/planted.py": "from betcode.model import limits"}),
    (KEEPER_HIDDEN, {"daemon/planted.py": "import betcode.keeper"}),
    (NO_TEST_TOOLS, {"cli/planted.py": "def later() -> None:\n    import betcode.testing"}),
    (NO_CYCLES, {"core/planted.py": "import betcode.core.planted_too", "core/planted_too.py": "from . import planted"}),
]


def copy_of_the_tree(folder: Path, planted: Files) -> Path:
    """Copy the product to `folder` with `planted` added; packages on the way are made."""
    source = folder / "src" / "betcode"
    shutil.copytree(ROOT / "src" / "betcode", source, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    imported = re.findall(r"betcode\.(\w+)", " ".join(planted.values()))
    for package in {*imported, *(Path(name).parent.name for name in planted)}:
        (source / package).mkdir(exist_ok=True)
        (source / package / "__init__.py").touch()
    for name, text in planted.items():
        (source / name).write_text(text + "\n")
    return folder


def broken_contracts(folder: Path) -> set[str]:
    """Run the linter on the copy in `folder` and read from its report which contracts are broken."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--config", "../pyproject.toml", "--no-cache"]
    environment = os.environ | {"PYTHONPATH": str(folder / "src"), "COLUMNS": "200", "NO_COLOR": "1"}
    run = subprocess.run(
        command, cwd=folder / "src", env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    verdicts = dict(re.findall(r"^(.+?) (KEPT|BROKEN)\b.*$", run.stdout, re.MULTILINE))
    assert set(verdicts) == {contract["name"] for contract in CONTRACTS}, run.stdout + run.stderr
    broken = {name for name, verdict in verdicts.items() if verdict == "BROKEN"}
    assert run.returncode == bool(broken)
    return broken


def test_the_real_tree_keeps_every_contract(tmp_path: Path) -> None:
    assert broken_contracts(copy_of_the_tree(tmp_path, {})) == set()


@pytest.mark.parametrize("contract, planted", PLANTED)
def test_a_planted_violation_is_reported_by_the_contract_it_breaks(
    tmp_path: Path, contract: str, planted: Files
) -> None:
    broken = broken_contracts(copy_of_the_tree(tmp_path, planted))
    # An import against the arrows may close a circle too; nothing else may be reported.
    assert contract in broken
    assert broken <= {contract, NO_CYCLES}


def test_every_contract_has_a_planted_violation() -> None:
    assert {contract["name"] for contract in CONTRACTS} == {contract for contract, _ in PLANTED}


def imported_roots(source: str) -> set[str]:
    """First names of all modules that a file imports absolutely."""
    roots = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            roots.add(node.module.partition(".")[0])
    return roots


def test_the_keeper_imports_the_standard_library_and_itself_only() -> None:
    """The contract above lists today's dependencies; this also refuses one that nobody has listed.

    The keeper is started by path, so its modules may know each other by their bare names.
    """
    files = sorted((ROOT / "src/betcode/keeper").rglob("*.py"))
    assert files
    allowed = sys.stdlib_module_names | {"betcode"} | {file.stem for file in files}
    foreign = {file.name: imported_roots(file.read_text("utf-8")) - allowed for file in files}
    assert not any(foreign.values()), foreign
