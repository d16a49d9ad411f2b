"""The rebuilt database takes the place of the damaged one, which is kept aside; a kill at any step leaves no harm.

Steps: (1) the new file gets the name `daemon.db.rescued.<stamp>` when it is complete and on the disk; (2) the damaged
files get the names `daemon.db.corrupt.<stamp>` with `-wal` and `-shm`; (3) the new file gets the name `daemon.db`. A
file of step 1 that is found at a start was not put back: steps 2 and 3 are repeated, with its stamp, before anything
else looks at the database.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from betcode.adapters.durable import sync
from betcode.model import rescue_limits

SUFFIXES: Final = ("", "-wal", "-shm")
"""Of the files that make a database."""
_RESCUED: Final = ".rescued."
_CORRUPT: Final = ".corrupt."


def part_of(database: Path) -> Path:
    """Where a rescue builds: thrown away by the next one."""
    return database.with_name(database.name + ".rescue-part")


def unused_stamp(database: Path, stamp: str) -> str:
    """The stamp, or the first like it under which nothing is kept yet."""
    number, unused = 1, stamp
    while any(_corrupt(database, unused, suffix).exists() for suffix in SUFFIXES):
        number += 1
        unused = f"{stamp}-{number}"
    return unused


def will_be_kept(database: Path, stamp: str) -> list[Path]:
    """Where `put_back` will keep the damaged files that are there."""
    return [_corrupt(database, stamp, x) for x in SUFFIXES if database.with_name(database.name + x).exists()]


def put_back(database: Path, built: Path, stamp: str) -> None:
    """Exchange the files. Raises OSError; `finish` then goes on.

    Args:
        database: where it belongs.
        built: complete, closed, without a log of its own.
        stamp: part of the names of what is kept, such as `20261127T101500Z`.
    """
    sync(built)
    rescued = database.with_name(f"{database.name}{_RESCUED}{stamp}")
    built.rename(rescued)
    sync(database.parent)
    _exchange(database, rescued, stamp)


def finish(database: Path) -> None:
    """Go on with an exchange that was interrupted, if there was one. Raises OSError."""
    found = sorted(database.parent.glob(f"{database.name}{_RESCUED}*"))
    if not found:
        return
    for older in found[:-1]:  # a rescue after it knew more
        older.unlink()
    newest = found[-1]
    _exchange(database, newest, newest.name.removeprefix(database.name + _RESCUED))


def _exchange(database: Path, rescued: Path, stamp: str) -> None:
    for suffix in SUFFIXES:
        with contextlib.suppress(FileNotFoundError):
            database.with_name(database.name + suffix).rename(_corrupt(database, stamp, suffix))
    sync(database.parent)
    rescued.rename(database)
    sync(database.parent)
    _forget_oldest(database)


def _corrupt(database: Path, stamp: str, suffix: str) -> Path:
    return database.with_name(f"{database.name}{_CORRUPT}{stamp}{suffix}")


def _forget_oldest(database: Path) -> None:
    """Of the damaged databases the first one and the newest ones are kept: a dying disk must not fill itself."""
    start = len(database.name + _CORRUPT)
    stamps = sorted({_stamp(path.name[start:]) for path in database.parent.glob(f"{database.name}{_CORRUPT}*")})
    for stamp in stamps[1 : -(rescue_limits.CORRUPT_KEPT_MAX - 1)]:
        for suffix in SUFFIXES:
            _corrupt(database, stamp, suffix).unlink(missing_ok=True)


def _stamp(rest: str) -> str:
    return rest.removesuffix("-wal").removesuffix("-shm")
