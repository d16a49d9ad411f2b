"""The data directory that every experiment damages a copy of, made by the program itself."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import shutil
import signal
import sys
import time
import uuid
from pathlib import Path
from typing import Any, Final

import msgspec

from betcode.client.client import Client
from betcode.keeper.report import read_report
from betcode.keeper.tree import Process, kill
from betcode.model.errors import BetcodeError
from betcode.model.frames import Answer, Create, Delete, GetStatus, Permissions, Queue, Send
from betcode.model.states import AT_REST
from betcode.testing.chaos.storage import writer
from betcode.testing.chaos.storage.oracle import Picture, picture
from betcode.testing.command import Command
from betcode.testing.installation import Installation, installation

SESSIONS: Final = 20
TURNS: Final = 10
"""Of about 330 events each."""
PLACE: Final = Path("build/chaos/storage-image")
"""Data directory `data`, and the directory `project` that its sessions work in."""
_WAIT_S: Final = 240.0


def prepare() -> None:
    """Make it, unless it is there already: about half a minute."""
    shutil.rmtree(PLACE, ignore_errors=True)
    make(PLACE, sessions=SESSIONS, turns=TURNS)


def before() -> Picture:
    """What was in it."""
    return msgspec.msgpack.decode((PLACE / "picture").read_bytes(), type=Picture)


def make(place: Path, *, sessions: int, turns: int, blocks: int = writer.BLOCKS) -> None:
    """Have a daemon and writers fill a data directory, and end all of them as a machine ends that loses its power."""
    place.mkdir(parents=True)
    project = (place / "project").absolute()
    project.mkdir()
    begun_s = time.monotonic()
    with installation() as made:
        claude = made.home / "writer"
        command = [sys.executable, "-I", "-S", str(Path(writer.__file__).resolve())]
        claude.write_text(f'#!/bin/sh\nWRITER_BLOCKS={blocks} exec {shlex.join(command)} "$@"\n', encoding="utf-8")
        claude.chmod(0o700)
        made.env["BETCODE_CLAUDE"] = str(claude)
        asyncio.run(_fill(made, project, sessions, turns))
        _end_at_once(made)
        shutil.copytree(made.paths.data, place / "data", ignore=_no_sockets)
        seen = picture(made.paths.database)  # with SQLite, which brings the log in: of what is not kept
        (place / "picture").write_bytes(msgspec.msgpack.encode(seen))
    print(f"the database that is damaged: {seen.rows:,} rows, made in {time.monotonic() - begun_s:.0f} s", flush=True)


async def _fill(made: Installation, project: Path, count: int, turns: int) -> None:
    async with made.client() as client:
        ids = []
        for _ in range(count + 1):
            body = await client.request(Create(directory=str(project), options=made.options()))
            ids.append(str(body["session"]["id"]))
        for turn in range(turns):
            if turn == turns // 2:
                done = await asyncio.to_thread(Command(made.env, project), "db", "backup", "--json")
                assert done.status == 0, done
            await asyncio.gather(*(_say(client, session, f"turn {turn}") for session in ids))
            await _quiet(client, ids)
            if turn == turns - 2:  # so that all of what follows is in the log when the daemon is killed
                await client.request(Delete(session=ids.pop(), force=True))
                for verb in ("stop", "start"):
                    done = await asyncio.to_thread(Command(made.env, project), "daemon", verb)
                    assert done.status == 0, done
                ids = ids[: max(1, len(ids) // 3)]


async def _say(client: Client, session: str, text: str) -> None:
    await client.request(Send(session=session, key=str(uuid.uuid4()), text=text))


async def _quiet(client: Client, ids: list[str]) -> None:
    """Answer what is asked, until nothing waits any more."""
    end = time.monotonic() + _WAIT_S
    while time.monotonic() < end:
        for number, question in enumerate((await client.request(Permissions()))["permissions"]):
            with contextlib.suppress(BetcodeError):
                await client.request(Answer(permission=question["id"], allow=number % 2 == 0))
        waiting = [len((await client.request(Queue(session=session)))["messages"]) for session in ids]
        sessions = (await client.request(GetStatus()))["sessions"]
        if not any(waiting) and all(s["state"] in AT_REST for s in sessions if s["id"] in ids):
            await asyncio.sleep(1.0)  # what is decided is stored within milliseconds
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"the writers are not done after {_WAIT_S:.0f} s: {await client.request(GetStatus())}")


def _end_at_once(made: Installation) -> None:
    made.kill_daemon()
    for path in made.paths.sessions.glob("*/*.run"):
        run: dict[str, Any] = read_report(str(path)) or {}
        for who in ("keeper", "claude"):
            if isinstance(run.get(f"{who}_start"), int):
                kill(Process(run[f"{who}_pid"], 0, run[f"{who}_start"]), signal.SIGKILL)


def _no_sockets(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name.endswith(".sock")]
