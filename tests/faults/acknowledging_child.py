"""Kills itself at the n-th operation of an acknowledgement, for every n: see test_ack_kill.py.

Usage: python acknowledging_child.py TEMPLATE FOLDER FIRST STEP. For n = FIRST, FIRST + STEP, ... it copies TEMPLATE to
FOLDER/n and forks a process that asks for things there, writes what was acknowledged to FOLDER/n/promises, and is
killed at its n-th operation; until one is not killed any more.
"""

import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path

import msgspec

from betcode.testing.faults import FaultyFiles, FaultyMarkFiles, KillPlan, faulty_disk
from betcode.testing.paper_claude import PaperLauncher
from betcode.testing.promises import Person, Promises
from betcode.testing.small_engine import running_engine


async def life(data: Path, plan: KillPlan) -> None:
    def told(promises: Promises) -> None:
        new = data / "promises.new"
        new.write_bytes(msgspec.json.encode(promises))
        new.replace(data / "promises")

    files, marks = FaultyFiles(plan), FaultyMarkFiles(plan)
    with faulty_disk(plan) as connect:
        launcher = PaperLauncher(data / "sessions")
        async with running_engine(data, launcher, connect=connect, files=files, mark_files=marks) as engine:
            await Person(engine, told=told).talk()


def main(template: Path, folder: Path, first: int, step: int) -> None:
    number = first
    status = -signal.SIGKILL
    while status == -signal.SIGKILL:
        data = folder / str(number)
        shutil.copytree(template, data)
        pid = os.fork()
        if pid == 0:
            asyncio.run(life(data, KillPlan(fail_at=number)))
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        number += step
    sys.exit(status)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
