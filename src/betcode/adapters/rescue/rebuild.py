"""The ways to build a new database, the best first: all sources; the rows alone; what is in the damaged file; none.

Each builds into a file of its own that nobody uses before it is whole.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import apsw

from betcode.adapters.rescue import gaps, history, merge, settle
from betcode.adapters.rescue.repair import Task, Ways
from betcode.adapters.rescue.salvage import count_rows, salvage
from betcode.adapters.rescue.staging import open_staging
from betcode.adapters.sqlite.errors import RESCUE_HINT, StoreError
from betcode.core.rescue.telling import Found
from betcode.model.rescue import Source


def all_ways() -> Ways:
    """From everything to nothing."""
    return Ways(
        (
            ("all sources", everything),
            ("rows alone", rows_alone),
            ("the damaged database alone", damaged_alone),
            ("an empty database", nothing),
        )
    )


def everything(task: Task, into: Path) -> Found:
    """All sources: rows, events that are missing from journals and transcripts, sessions brought to a sound state."""
    with contextlib.closing(open_staging(into)) as staging:
        merged = merge.merge(task.places, staging, task.progress)
        filled = history.fill_holes(
            staging, task.places, environment_of=task.environment_of, progress=task.progress
        )
        settled = settle.settle(staging, task.places, now=task.now, rng=task.rng, progress=task.progress)
        return _finished(staging, "all sources", task, [merged, filled, settled])
