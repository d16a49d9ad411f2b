"""A thousand small databases, each damaged at random in several places: never a crash, never a wrong row."""

from __future__ import annotations

import asyncio
import shutil
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from betcode.adapters.rescue import rebuild
from betcode.adapters.rescue.opening import open_whole
from betcode.adapters.rescue.places import Places
from betcode.adapters.rescue.repair import Task, Ways, repair
from betcode.adapters.sqlite.store import SqliteStore
from betcode.core.instant import Instant
from betcode.model.rescue import RescueReport
from betcode.testing.chaos.experiment import Experiment
from betcode.testing.chaos.stage import Stage
from betcode.testing.chaos.storage import damages
from betcode.testing.chaos.storage.image import make
from betcode.testing.chaos.storage.oracle import Picture, compare, picture

SEEDS: Final = 250
"""In each of four parts."""
SMALL: Final = {"sessions": 4, "turns": 5, "blocks": 90}
"""2,000 rows."""
SPLICES: Final = frozenset({0, 3})
"""Damages that journals are spared: claude's lines have no checksum, so a letter changed in a text, or two lines that
make a third one where bytes were cut out between them, look like what claude printed."""
_NOW: Final = Instant(1_800_000_000.0, 0.0)


def corrupt(data: Path, rng: Random) -> str:
    """One to four damages at random, of the database, its log, a backup, the intake log and journals; in words."""
    done = []
    for _ in range(rng.choice((1, 1, 2, 4))):
        files = [data / "daemon.db"] * 6 + [data / "daemon.db-wal"] * 2
        files += [*data.glob("backups/*.db"), *data.glob("intake/*.log"), *list(data.glob("sessions/*/*.out"))[:1]]
        path = rng.choice([path for path in files if path.exists() and path.stat().st_size])
        size = path.stat().st_size
        at = rng.randrange(size)
        kind = rng.randrange(6)
        if path.suffix == ".out" and kind in SPLICES:
            kind = 1
        match kind:
            case 0:
                damages.overwrite(path, at, rng.randbytes(rng.choice((1, 16, 100, 5_000))))
            case 1:
                damages.overwrite(path, at // 4096 * 4096, bytes(4096))
            case 2:
                damages.overwrite(path, at // 4096 * 4096, rng.randbytes(4096))
            case 3:
                data_ = path.read_bytes()
                path.write_bytes(data_[:at] + data_[min(size, at + rng.choice((1, 512, 4096))) :])
            case 4:
                damages.overwrite(path, 0, rng.randbytes(rng.choice((16, 100, 4096))))
            case _:
                with path.open("r+b") as file:
                    file.truncate(at)
        done.append(f"{path.name} at {at}")
    return "; ".join(done)


async def part(stage: Stage, number: int) -> str:
    """A quarter of the seeds, in this process."""
    place = stage.made.home / "small"
    await asyncio.to_thread(make, place, sessions=SMALL["sessions"], turns=SMALL["turns"], blocks=SMALL["blocks"])
    before = await asyncio.to_thread(_picture_of, place)
    lost = repaired = 0
    for seed in range(number, round(4 * SEEDS * stage.scale), 4):
        outcome = await asyncio.to_thread(_one, stage, place, before, seed)
        lost += outcome[0]
        repaired += outcome[1]
        if len(stage.failures) > 10:
            break
    return f"{repaired} repairs, {lost} rows of {before.rows} each lost in all, none of them held anywhere"


def _picture_of(place: Path) -> Picture:
    copy = place / "look"
    shutil.copytree(place / "data", copy)
    return picture(copy / "daemon.db")


def _one(stage: Stage, place: Path, before: Picture, seed: int) -> tuple[int, int]:
    data = stage.made.home / "seed"
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(place / "data", data)
    what = corrupt(data, Random(f"{stage.evidence.get('seed', 1)} {seed}"))
    try:
        report = asyncio.run(_open_and_read(data))
        after = picture(data / "daemon.db")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        stage.failures.append(f"seed {seed} ({what}) broke: {error!r}")
        return 0, 0
    words = " ".join(report.sentences) if report else ""
    found = compare(before, after, told=words, at_rest=False)
    if found.wrong:
        stage.failures.append(f"seed {seed} ({what}): {found.wrong[:2]}")
    told = bool(report and report.missing)
    if any(kind not in ("status", "notice") for _, (kind, _) in found.missing) and not told:
        stage.failures.append(f"seed {seed} ({what}): {len(found.missing)} rows are missing and nobody was told")
    return len(found.missing), int(report is not None)


async def _open_and_read(data: Path) -> RescueReport | None:
    """As a daemon starts, with all rows read afterwards."""
    path = data / "daemon.db"
    places = Places(path, data)

    def mend(cause: str) -> RescueReport:
        def failed(name: str, error: Exception) -> None:
            raise AssertionError(f"the way {name!r} failed") from error

        return repair(Task(places, _NOW, Random(1), lambda row: {}), cause, Ways(rebuild.ALL, failed))

    store, report = await open_whole(places, partial(SqliteStore.open, path, rng=Random(1)), mend)
    try:
        for transaction in store.unstored:  # each goes on where the database ends, or it would have been repaired
            await store.commit(transaction)
        for row in await store.sessions():
            await store.events(row.id, row.epoch, 0, 100_000)
            await store.open_messages(row.id)
    except Exception as error:  # noqa: BLE001 - damage that only a read shows
        await store.close()
        return await asyncio.to_thread(mend, str(error))
    await store.close()
    return report


EXPERIMENTS = tuple(
    Experiment(
        f"seeds.{number}",
        f"{SEEDS} databases of 2,000 rows, damaged at random in one to four places",
        "never a crash, never a wrong row shown as right, nothing missing untold",
        partial(part, number=number),
        240.0,
        scaled=True,
    )
    for number in range(4)
)
