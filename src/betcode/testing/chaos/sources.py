"""Copies of the product's source with changes: another version, an older keeper, a clock that can be set."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import betcode

ROOT: Final = Path(betcode.__file__).parents[2]
"""Of the checkout. Chaos is run from one: it needs the keepers of earlier releases, which no package carries."""
NEWER: Final = "9.8.7"
KEEPERS: Final = ROOT / "tests/keepers"
"""A folder for each release whose keepers may still run: what `src/betcode/keeper` was then."""


def copy_source(folder: Path, *changes: tuple[str, str, str]) -> Path:
    """A copy in `folder`, to be used as PYTHONPATH. Each change: a file below `betcode`, old text, new text."""
    shutil.copytree(Path(betcode.__file__).parent, folder / "betcode", ignore=shutil.ignore_patterns("__pycache__"))
    for name, old, new in changes:
        path = folder / "betcode" / name
        text = path.read_text("utf-8")
        if text.count(old) != 1:
            raise ValueError(f"{old!r} stands {text.count(old)} times in {name}, not once")
        path.write_text(text.replace(old, new), "utf-8")
    return folder


def newer_version(folder: Path) -> Path:
    """The same program under a higher version number."""
    return copy_source(folder, ("__init__.py", f'"{betcode.__version__}"', f'"{NEWER}"'))


def with_keeper_of(release: str, folder: Path) -> Path:
    """The same program, which starts the keepers of an earlier release."""
    keeper = folder / "keeper-of" / release / "betcode" / "keeper"
    shutil.copytree(KEEPERS / release, keeper, ignore=shutil.ignore_patterns("__pycache__"))
    here = 'KEEPER = Path(betcode.keeper.__file__).parent / "__main__.py"'
    return copy_source(folder, ("adapters/launcher.py", here, f'KEEPER = Path("{keeper}/__main__.py")'))


def with_clock_of(file: Path, folder: Path) -> Path:
    """The same program, whose wall clock is off by the seconds that stand in `file`: it can be set while it runs."""
    wall = "return Instant(time.time(), steady_s)"
    off = f'with open("{file}") as said:\n            return Instant(time.time() + float(said.read()), steady_s)'
    return copy_source(folder, ("adapters/clock.py", wall, off))


def with_short_silence(folder: Path) -> Path:
    """The same program, whose settings allow to be impatient: no person should have seconds for minutes."""
    return copy_source(
        folder,
        ("config/tree.py", "ge=30,\n            le=900,", "ge=1,\n            le=900,"),
        ("config/tree.py", "ge=60,\n            le=7_200,", "ge=1,\n            le=7_200,"),
    )
