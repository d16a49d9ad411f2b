"""The ways to build a new database, the best first: all sources; the rows alone; what is in the damaged file; none.

Each builds into a file of its own that nobody uses before it is whole.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import apsw

from betcode.adapters.rescue import gaps
from betcode.adapters.rescue.repair import Task, Way
from betcode.adapters.rescue.salvage import count_rows, salvage
from betcode.adapters.rescue.staging import open_staging
from betcode.adapters.sqlite.errors import RESCUE_HINT, StoreError
from betcode.core.rescue.telling import Found
from betcode.model.rescue import Source


def damaged_alone(task: Task, into: Path) -> Found:
    """Every whole row of the damaged file and its log, and nothing else."""
    with contextlib.closing(open_staging(into)) as staging:
        salvaged = salvage(task.places.database, staging, progress=task.progress)
        with staging:
            gaps.forget_deleted(staging)
        missing = [f"{count} rows of {table} are damaged." for table, count in salvaged.damaged.items()]
        source = Source("damaged database", str(task.places.database), sum(salvaged.rows.values()))
        return _finished(staging, "the damaged database alone", [source], missing, [])


def nothing(task: Task, into: Path) -> Found:
    """An empty database. What is in the others stays where it is."""
    with contextlib.closing(open_staging(into)) as staging:
        return _finished(staging, "an empty database", [], [], [])


def _finished(
    staging: apsw.Connection, way: str, sources: Sequence[Source], missing: Sequence[str], remarks: Sequence[str]
) -> Found:
    """Checked as a whole. Raises StoreError when the new database is damaged itself."""
    found = staging.execute("PRAGMA integrity_check(1)").get
    if found != "ok":
        raise StoreError(f"the new database is damaged itself: {found}", hint=RESCUE_HINT, error_type="corrupt")
    return Found(way, count_rows(staging), sources, missing, remarks)


ALL: Final[Sequence[tuple[str, Way]]] = (
    ("the damaged database alone", damaged_alone),
    ("an empty database", nothing),
)
"""From all sources to none."""
