"""Proves that tests can fail: plants each bug of tools/planted_bugs.toml in a copy of the code and runs its tests.

`make plant` plants all, `make plant BUG=name` one. A bug whose tests pass is reported, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import tomllib
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "tools/planted_bugs.toml"
TESTS_S = 600
"""The longest that the tests of one bug may take; a bug that makes them hang is found by their own limits first."""


@dataclass(frozen=True, slots=True)
class Bug:
    """One change of one file that a test must notice. `old` stands exactly once in `file`."""

    name: str
    req: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def read_table(path: Path = TABLE) -> list[Bug]:
    """All bugs of the table. Raises ValueError for an entry with missing or unknown fields."""
    entries = tomllib.loads(path.read_text("utf-8"))
    try:
        return [Bug(name=name, **{**fields, "tests": tuple(fields["tests"])}) for name, fields in entries.items()]
    except (TypeError, KeyError) as error:
        raise ValueError(f"{path}: {error}") from error


def planted(source: str, bug: Bug) -> str:
    """`source` with the bug in it. Raises ValueError when the place is not found exactly once."""
    if source.count(bug.old) != 1:
        raise ValueError(f"{bug.name}: its old text is {source.count(bug.old)} times in {bug.file}, not once")
    return source.replace(bug.old, bug.new)


def tests_fail(bug: Bug, copy: Path) -> bool:
    """Whether the bug's tests notice it in `copy`, a copy of src and tests that is as before afterwards."""
    file = copy / bug.file
    sound = file.read_text("utf-8")
    file.write_text(planted(sound, bug), "utf-8")
    try:
        done = subprocess.run(
            [copy / ".venv/bin/python", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-n", "0", *bug.tests],
            cwd=copy,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=TESTS_S,
            check=False,
        )
    finally:
        file.write_text(sound, "utf-8")
    if done.returncode not in (0, 1):  # not a failed test, but no test found or broken collection
        raise ValueError(f"{bug.name}: pytest ended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == 1


def make_copy(copy: Path) -> None:
    """Copy what the tests need, with an interpreter that finds the copy of the code in every process it starts."""
    for part in ("src", "tests", "tools", "docs"):
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ROOT.glob("*.*"):
        if file.is_file():
            shutil.copy(file, copy / file.name)
    venv.create(copy / ".venv", with_pip=False, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = copy / ".venv/lib" / version / "site-packages"
    (site / "copy.pth").write_text(f"{copy / 'src'}\n{sysconfig.get_path('purelib')}\n", "utf-8")


def main(argv: Sequence[str]) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="bugs to plant; all without")
    names = parser.parse_args(argv).names
    bugs = [bug for bug in read_table() if not names or bug.name in names]
    missed = []
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory)
        make_copy(copy)
        for number, bug in enumerate(bugs, 1):
            begun = time.monotonic()
            found = tests_fail(bug, copy)
            print(
                f"[{number}/{len(bugs)}] {bug.req:6} {bug.name}: {'found' if found else 'MISSED'}"
                f" ({time.monotonic() - begun:.1f} s)",
                flush=True,
            )
            if not found:
                missed.append(bug.name)
    print(f"{len(bugs) - len(missed)} of {len(bugs)} planted bugs found" + "".join(f"\nmissed: {n}" for n in missed))
    return 1 if missed or not bugs else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
