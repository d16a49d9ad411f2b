"""Damage while the daemon works, and rescues that are killed or cannot write."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from pathlib import Path
from random import Random
from typing import Any, Final

import apsw

from betcode.testing.chaos.experiment import Experiment
from betcode.testing.chaos.stage import Stage
from betcode.testing.chaos.storage import damages, image
from betcode.testing.chaos.storage.laid import copy_image, stop
from betcode.testing.chaos.storage.oracle import PASSING, compare, picture
from betcode.testing.command import Command
from betcode.testing.installation import Installation

TALKS: Final = 3
WORDS: Final = 150
KILLS: Final = 6
_REPAIRED_S: Final = 60.0


async def under_load(stage: Stage) -> str:
    """Pages are damaged under a daemon whose sessions stream, with 60,000 rows in its database."""
    talks = [await stage.talk() for _ in range(TALKS)]
    for talk in talks:
        await talk.send("go", {"words": WORDS, "delta_ms": 30})
    await stage.pause(0.5, 1.5)
    begun_s = time.monotonic()
    await asyncio.to_thread(_damage_live, stage)
    late = [await talk.send("late", {"words": 5}) for talk in talks]
    acknowledged_s = time.monotonic() - begun_s
    while (body := await _database(stage))["state"] != "ok" or "rescue" not in body:
        assert time.monotonic() - begun_s < _REPAIRED_S, f"it is not repaired: {body}"
        await asyncio.sleep(0.05)
    stage.took(time.monotonic() - begun_s, target_s=5.0)
    for talk, key in zip(talks, late, strict=True):
        await talk.outcome(key)
        for sent in talk.sent:
            state = await talk.outcome(sent)
            stage.check(state == "completed", f"a message ended as {state}")
    found = compare(image.before(), picture(stage.made.paths.database))
    own = {talk.session for talk in talks}
    wrong = [what for what in found.wrong if not any(session in what for session in own) and "message" not in what]
    stage.check(not wrong, f"wrong: {wrong[:3]}")
    missing = [row for row in found.missing if row[1][0] not in PASSING]
    stage.check(not missing, f"{len(missing)} rows are missing: {missing[:2]}")
    stage.evidence["acknowledged_s"] = round(acknowledged_s, 3)
    return f"{body['rescue']['outcome']}; messages sent meanwhile were acknowledged within {acknowledged_s:.1f} s"


def _damage_live(stage: Stage) -> None:
    """The root of the messages' table, so that the next message meets it; and some pages of rows."""
    data = stage.made.paths.data
    with contextlib.closing(apsw.Connection(str(damages.database(data)))) as connection:
        connection.set_busy_timeout(5_000)
        connection.execute("UPDATE meta SET value = value")  # or the daemon would go on with what is in its memory
    damages.checkpoint(data)
    damages.overwrite(damages.database(data), (damages.root_of(data, "messages") - 1) * damages.PAGE, b"\xa5" * 4096)
    for _ in range(20):
        damages.leaf_page(data, stage.rng)


async def _database(stage: Stage) -> dict[str, Any]:
    done = await asyncio.to_thread(stage.command(), "status", "--json")
    body: dict[str, Any] = done.json()["database"]
    return body


def lay_out_whole(made: Installation, _rng: Random) -> dict[str, Any]:
    """As it is."""
    copy_image(made)
    return {}


def lay_out_and_kill(made: Installation, rng: Random) -> dict[str, Any]:
    """A tenth of all pages damaged, and the daemon killed again and again while it repairs."""
    copy_image(made)
    damages.checkpoint(made.paths.data)
    damages.tenth_of_pages(made.paths.data, rng)
    kills = 0
    for _ in range(KILLS):
        starting = Command(made.env, made.project).start("daemon", "start")
        time.sleep(rng.uniform(0.3, 2.5))
        kills += bool(made.kill_daemon())
        starting.communicate(timeout=60)
        made.kill_daemon()
    return {"kills": kills}


async def killed_rescue(stage: Stage) -> str:
    """The start after the kills comes to the same end."""
    await stop(stage)
    found = compare(image.before(), picture(stage.made.paths.database))
    stage.check(not found.wrong, f"wrong: {found.wrong[:3]}")
    missing = [row for row in found.missing if row[1][0] not in PASSING]
    stage.check(not missing, f"{len(missing)} rows are missing: {missing[:2]}")
    return f"{stage.evidence['kills']} kills, then served; nothing is missing"


def lay_out_read_only(made: Installation, rng: Random) -> dict[str, Any]:
    """A daemon over a damaged database on a disk that cannot be written."""
    copy_image(made)
    data, command = made.paths.data, Command(made.env, made.project)
    damages.checkpoint(data)
    damages.header_zeroed(data, rng)
    before = _sizes(data)
    bind = f"mount --bind {data} {data} && mount -o remount,ro,bind {data} {data}"
    script = f"{bind} && exec {' '.join(command.argv('daemon', 'start'))}"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        env=dict(command.env), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return {"status": done.returncode, "said": done.stderr[-500:], "unchanged": _sizes(data) == before}


def _sizes(data: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in data.iterdir() if path.name != "daemon.stderr"}


async def read_only_disk(stage: Stage) -> str:
    """It was refused with words and changed nothing; a disk that can be written has all."""
    said = str(stage.evidence["said"])
    if "unshare:" in said or "mount:" in said:
        return f"not possible on this machine: {said[:120]}"
    stage.check(stage.evidence["status"] != 0, "it started on a disk that cannot be written")
    stage.check("write" in said or "writable" in said, f"no word of what to do: {said}")
    stage.check(stage.evidence["unchanged"], "files were changed")
    await stop(stage)
    found = compare(image.before(), picture(stage.made.paths.database))
    stage.check(not found.wrong and not found.missing, f"{found.wrong[:2]} {found.missing[:2]}")
    return f"refused with status {stage.evidence['status']}: {said.strip()[-160:]}"


EXPERIMENTS = (
    Experiment(
        "load.damage-while-streaming",
        "21 pages damaged under a daemon with three streaming turns",
        "turns and messages sent meanwhile end once; all 60,000 rows are there",
        under_load,
        120.0,
        apart=True,
        lays_out=lay_out_whole,
    ),
    Experiment(
        "load.rescue-killed",
        "kill -9 of the daemon, six times, while it repairs",
        "the next start comes to the same end",
        killed_rescue,
        120.0,
        lays_out=lay_out_and_kill,
    ),
    Experiment(
        "load.read-only-disk",
        "the data directory on a disk that cannot be written",
        "refused with words; nothing changed; then all is back",
        read_only_disk,
        120.0,
        lays_out=lay_out_read_only,
    ),
)
