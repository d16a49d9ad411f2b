"""The experiments: each damages a copy of the image in one way, and looks at what a daemon makes of it."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

from betcode.model.frames import Events, GetStatus
from betcode.model.states import AT_REST
from betcode.testing.chaos.experiment import Experiment
from betcode.testing.chaos.stage import Stage
from betcode.testing.chaos.storage import damages, image, load, seeds
from betcode.testing.chaos.storage.damages import Damage
from betcode.testing.chaos.storage.laid import copy_image, stop
from betcode.testing.chaos.storage.oracle import PASSING, compare, picture, still_held
from betcode.testing.command import Command, Ended
from betcode.testing.installation import Installation

EXPECTED: Final = "all that any file still holds is back in its order, nothing is there that never was, and it is told"
REST_S: Final = 30.0
"""Until all sessions have come to rest."""
SERVES_S: Final = 5.0
"""Target from the start of a daemon to its first answer, with a repair of 60,000 rows between."""


async def run(stage: Stage, damage: Damage) -> str:
    """A daemon has been started over what `lay_out` left: compare."""
    stage.took(stage.evidence["served_s"], target_s=SERVES_S)
    rescue = await _rescue(stage, damage)
    await _at_rest(stage)
    await stop(stage)
    return await asyncio.to_thread(judge, stage, damage, rescue)


def lay_out(made: Installation, rng: Random, damage: Damage) -> dict[str, Any]:
    """A copy of the image, damaged. Returns what `betcode db salvage` says of it, which must never break."""
    copy_image(made)
    if not damage.log:
        damages.checkpoint(made.paths.data)
    damage.do(made.paths.data, rng)
    target = made.home / "salvaged.db"
    done = Command(made.env, made.project)("db", "salvage", str(made.paths.database), str(target), "--json")
    assert done.status in (0, 5), f"db salvage ended with {done.status}: {done.err[-300:]}"
    return {"salvage_alone": _rows_of(done)}


def _rows_of(done: Ended) -> str:
    body: dict[str, Any] = done.json()
    return f"{sum(body['rows'].values())} rows" if done.status == 0 else str(body["error"]["code"])


async def _rescue(stage: Stage, damage: Damage) -> dict[str, Any] | None:
    """The report. Damage inside a row shows when it is read, so all is read."""
    found = await _report(stage)
    if found is not None:
        stage.evidence["detected"] = f"at the start: {found['cause']}"
        return found
    for path in stage.made.paths.sessions.iterdir():
        after, more = 0, True
        while more:
            body = await stage.client.request(Events(session=path.name, after=after, limit=500))
            after, more = after + len(body["events"]), bool(body["more"])
    found = await _report(stage)
    if found is not None:
        stage.evidence["detected"] = f"at a read: {found['cause']}"
    stage.check(found is not None or damage.silent, "the damage was not noticed")
    return found


async def _at_rest(stage: Stage) -> None:
    """What the journals still had of a run is read again after the start: wait for that."""
    end_s = time.monotonic() + REST_S
    while time.monotonic() < end_s:
        body = await stage.client.request(GetStatus())
        if all(session["state"] in AT_REST for session in body["sessions"]):
            return
        await asyncio.sleep(0.1)
    stage.failures.append(f"sessions are still at work {REST_S:.0f} s after the start")


async def _report(stage: Stage) -> dict[str, Any] | None:
    done = await asyncio.to_thread(stage.command(), "status", "--json")
    found: dict[str, Any] | None = done.json()["database"].get("rescue")
    return found


def judge(stage: Stage, damage: Damage, rescue: dict[str, Any] | None) -> str:
    """Hold the database against the picture of before. Returns what was seen, in words."""
    before, after = image.before(), picture(stage.made.paths.database)
    words = " ".join(rescue["sentences"]) if rescue else ""
    found = compare(before, after, deletions=damage.deletions, told=words)
    stage.check(not found.wrong, f"{len(found.wrong)} things are wrong: {'; '.join(found.wrong[:3])}")
    lost = len(found.missing)
    seen = [row for row in found.missing if row[1][0] not in PASSING]
    if damage.all_back:
        stage.check(not seen, f"{len(seen)} rows are missing: {seen[:3]}")
    else:
        held = still_held(found.missing, _left(stage.made.paths.data))
        stage.check(not held, f"{len(held)} rows that are missing were still held: {held[:2]}")
    told = rescue["missing"] if rescue else []
    untold = len(seen) if damage.silent else lost
    stage.check(bool(told) or not untold, f"{untold} rows are missing and nobody was told")
    stage.evidence |= {
        "rows_before": before.rows,
        "rows_restored": before.rows - lost,
        "rows_lost": lost,
        "rows_lost_that_matter": len(seen),
        "told": rescue["sentences"][:12] if rescue else [],
        "rescue_s": rescue["seconds"] if rescue else None,
        "sources": rescue["sources"] if rescue else [],
    }
    words = rescue["outcome"] if rescue else "nothing had to be repaired"
    return f"{words}, {lost} of {before.rows} rows lost, repaired in {rescue['seconds'] if rescue else 0:.1f} s"


def _left(data: Path) -> list[Path]:
    kept = [path for path in data.glob("daemon.db.corrupt.*") if not path.name.endswith("-shm")]
    return [*kept, *data.glob("backups/*.db"), *data.glob("intake/*.log"), *data.glob("sessions/*/*.out")]


EXPERIMENTS = (
    *(
        Experiment(
            f"way.{d.id}",
            d.injected,
            EXPECTED,
            partial(run, damage=d),
            120.0,
            lays_out=partial(lay_out, damage=d),
        )
        for d in damages.WAYS
    ),
    *load.EXPERIMENTS,
    *seeds.EXPERIMENTS,
)
