"""Repairs a damaged database: builds a new one from all that is left, puts it in place, and reports what came of it.

It may be killed at any moment: what is half built is thrown away, and what is half put back is finished at the next
start (`put_back`). If a way to build fails through a defect of ours, a simpler one is tried; a disk that is full or
fails ends the repair, since less would come of every other way.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import apsw
import msgspec

from betcode.adapters.durable import sync
from betcode.adapters.rescue.places import Places
from betcode.adapters.rescue.put_back import part_of, put_back, unused_stamp, will_be_kept
from betcode.adapters.rescue.salvage import Progress
from betcode.adapters.sqlite.errors import DAMAGE, StoreError, cannot_open, translate
from betcode.core.instant import Instant, iso
from betcode.core.rescue.telling import Found, report
from betcode.model.rescue import RescueReport
from betcode.model.rows import SessionRow

REPORT: Final = "rescue.json"
"""In the data directory: the newest report."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a way of building is given."""

    places: Places
    now: Instant
    rng: Random
    environment_of: Callable[[SessionRow], Mapping[str, str]]
    """The environment in which claude runs for a session: where its transcripts are."""
    progress: Progress = lambda phase, done, of: None


Way = Callable[[Task, Path], Found]
"""Builds a whole database at the path. Raises apsw.Error, OSError; anything else is a defect."""


@dataclass(frozen=True, slots=True)
class Ways:
    """How it is tried, the best first: name and function."""

    all: Sequence[tuple[str, Way]]
    failed: Callable[[str, Exception], None]
    """Told of a way that failed through a defect."""


def repair(task: Task, cause: str, ways: Ways) -> RescueReport:
    """Have a whole database in the place of the damaged one. No connection to it may be open. Blocks.

    Args:
        task: what is to be repaired.
        cause: what was found, for people.
        ways: how.

    Raises:
        StoreError: the disk is full or fails; nothing was changed, or the next start goes on with it.
    """
    begun = time.monotonic()
    part = part_of(task.places.database)
    try:
        found = _build(task, part, ways)
        stamp = unused_stamp(task.places.database, iso(task.now.unix_s)[:19].replace("-", "").replace(":", "") + "Z")
        made = report(
            found,
            at=iso(task.now.unix_s),
            cause=cause,
            seconds=round(time.monotonic() - begun, 3),
            kept=[str(path) for path in will_be_kept(task.places.database, stamp)],
        )
        write_report(task.places.data, made)  # before the exchange: after a kill the next start only finishes that
        put_back(task.places.database, part, stamp)
    except apsw.Error as error:
        raise translate(error) from error
    except OSError as error:
        raise cannot_open(error) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    return made


def _build(task: Task, part: Path, ways: Ways) -> Found:
    for name, way in ways.all[:-1]:
        try:
            return way(task, part)
        except (apsw.FullError, apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError, OSError, MemoryError):
            raise
        except StoreError as error:
            if error.error_type not in DAMAGE | {"defect", "other"}:
                raise
            ways.failed(name, error)
        except Exception as error:  # noqa: BLE001 - a defect here must not cost people what a simpler way still finds
            ways.failed(name, error)
    return ways.all[-1][1](task, part)


def write_report(data: Path, made: RescueReport) -> None:
    """Keep it for `betcode status`. Raises OSError."""
    new = data / f"{REPORT}.new"
    new.touch(mode=0o600)
    new.write_bytes(msgspec.json.format(msgspec.json.encode(made)))
    sync(new)
    new.replace(data / REPORT)


def read_report(data: Path) -> RescueReport | None:
    """The report of the newest rescue, if there was one and it can be read."""
    try:
        return msgspec.json.decode((data / REPORT).read_bytes(), type=RescueReport)
    except (OSError, msgspec.DecodeError):
        return None
