"""The ways to build a new database, the best first: all sources; the rows alone; what is in the damaged file; none.

Each builds into a file of its own that nobody uses before it is whole.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import apsw

from betcode.adapters.rescue import gaps, orphans, questions
from betcode.adapters.rescue.from_transcripts import fill_from_transcripts
from betcode.adapters.rescue.given import note_given
from betcode.adapters.rescue.history import fill_holes
from betcode.adapters.rescue.merge import merge
from betcode.adapters.rescue.repair import Task, Way
from betcode.adapters.rescue.salvage import count_rows, salvage
from betcode.adapters.rescue.settle import settle_all
from betcode.adapters.rescue.staging import open_staging
from betcode.adapters.sqlite import checked
from betcode.adapters.sqlite.errors import RESCUE_HINT, StoreError
from betcode.core.rescue.telling import Found
from betcode.model.rescue import Source


def everything(task: Task, into: Path) -> Found:
    """Rows of all sources; sessions without a row from their files; those with holes in a new epoch."""
    with contextlib.closing(open_staging(into)) as staging:
        merged = merge(task.places, staging, task.progress)
        with staging:
            found = orphans.adopt(staging, task.places, now=task.now)
            given = note_given(task.places, staging)
            rev = checked.next_rev(staging)
            lost = questions.settle(staging, rev=rev, at=task.now.iso)
            questions.tell(staging, lost, rev=rev, at=task.now.iso)
        filled = fill_holes(staging, task.places, progress=task.progress)
        with staging:
            said = fill_from_transcripts(staging, task.places, task.environment_of)
        settled = settle_all(staging, task.places, now=task.now, rng=task.rng, progress=task.progress)
        sources = [Source(given.name, given.detail, given.rows) for given in merged.given]
        sources.append(Source("journals", f"of {len(filled.sessions)} sessions", filled.events))
        sources.append(Source("transcripts", f"of {len(said)} sessions", sum(said.values())))
        sources.append(Source("files of sessions", "", found.made))
        remarks = [*merged.problems, *found.without_files]
        if given:
            remarks.append(f"{given} messages had been given to claude since; they are not given to it again.")
        if lost:
            remarks.append(f"{len(lost)} questions for permission had lost their record; none counts as allowed.")
        if settled.sessions:
            remarks.append(f"{settled.sessions} sessions number their events anew; the notices in them say why.")
        missing = [*found.lost, *merged.still_lost(staging), *settled.missing]
        backup_age_s = None if merged.backup is None else max(0.0, task.now.unix_s - merged.backup.stat().st_mtime)
        return _finished(staging, Found("all sources", {}, sources, missing, remarks, backup_age_s))


def damaged_alone(task: Task, into: Path) -> Found:
    """Every whole row of the damaged file and its log, and nothing else."""
    with contextlib.closing(open_staging(into)) as staging:
        salvaged = salvage(task.places.database, staging, progress=task.progress)
        with staging:
            gaps.forget_deleted(staging)
            gaps.drop_orphans(staging)
        missing = [f"{count} rows of {table} are damaged." for table, count in salvaged.damaged.items()]
        source = Source("damaged database", str(task.places.database), sum(salvaged.rows.values()))
        return _finished(staging, Found("the damaged database alone", {}, [source], missing))


def nothing(task: Task, into: Path) -> Found:
    """An empty database. What is in the others stays where it is."""
    with contextlib.closing(open_staging(into)) as staging:
        return _finished(staging, Found("an empty database", {}, [], []))


def _finished(staging: apsw.Connection, built: Found) -> Found:
    """Checked as a whole. Raises StoreError when the new database is damaged itself."""
    found = staging.execute("PRAGMA integrity_check(1)").get
    if found != "ok":
        raise StoreError(f"the new database is damaged itself: {found}", hint=RESCUE_HINT, error_type="corrupt")
    wrong = staging.execute("SELECT count(*) FROM pragma_foreign_key_check").get
    if wrong:
        raise StoreError(f"{wrong} rows of the new database have no session", hint=RESCUE_HINT, error_type="corrupt")
    return replace(built, rows=count_rows(staging))


ALL: Final[Sequence[tuple[str, Way]]] = (
    ("all sources", everything),
    ("the damaged database alone", damaged_alone),
    ("an empty database", nothing),
)
"""From all sources to none."""
