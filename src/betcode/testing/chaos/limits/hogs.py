"""Hogs: a tool that uses up memory, a tool that uses up open files; and, in other modules, all that floods."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any, Final

from betcode.keeper.limits import FILES_HARD_MAX, FILES_MAX
from betcode.testing.chaos.experiment import Experiment
from betcode.testing.chaos.limits.company import company, diagnosed, lives
from betcode.testing.chaos.limits.floods import FLOODS
from betcode.testing.chaos.limits.storms import STORMS
from betcode.testing.chaos.stage import Stage
from betcode.testing.installation import until
from betcode.testing.limits import NEWS_S
from betcode.testing.odd_sessions import MIB

MEMORY_MIB: Final = 256
PIECE_MIB: Final = 2
MEMORY_HOG: Final = f"""
import os, time
open("hog.pid", "a").write(f"{{os.getpid()}} ")
held = [b"x" * (100 << 20)]
while True:
    held.append(b"x" * ({PIECE_MIB} << 20))
    time.sleep(0.05)
"""
"""40 MiB a second, so that the looks of the keeper see it on its way."""
FILE_HOGS: Final = 8
HELD_S: Final = 3.0
FILE_HOG: Final = """
import os, resource, sys, time
open("hog.pid", "a").write(f"{os.getpid()} ")
def take():
    try:
        while True: taken.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as error:
        return f"{len(taken) + 3} {error.strerror}"
taken = []
first = take()
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
then = take()
time.sleep(float(sys.argv[1]))
for file in taken[-4:]: os.close(file)
print(first, then)
"""
"""Takes what it may, raises its limit as far as it may, takes that too and keeps it."""


def _bash(command: str) -> dict[str, Any]:
    return {"tool": {"name": "Bash", "input": {"command": command, "description": "uses up"}}}


def _hogs(stage: Stage) -> list[int]:
    """Processes of the hog that were ever started."""
    noted = stage.made.project / "hog.pid"
    return [int(pid) for pid in noted.read_text().split()] if noted.exists() else []


async def _memory(stage: Stage) -> str:
    (stage.made.project / "hog.py").write_text(MEMORY_HOG)
    async with company(stage) as beside:
        talk = await stage.talk(allow=("Bash",))
        key = await talk.send("eat", _bash("python3 hog.py"), {"text": "no"})
        beside.watch(talk)
        await until(lambda: _hogs(stage), within_s=NEWS_S, what="the hog")
        eating_s = time.monotonic()
        state = await talk.outcome(key)
        notice = await talk.until("notice", code="limit.memory")
        stage.evidence["seconds_to_its_end"] = round(time.monotonic() - eating_s, 2)
        await beside.enough()
    stage.check(state == "unknown", f"the message ended as {state}, not unknown: the tool may have had its effect")
    codes = [e["code"] for e in talk.view.of("notice")]
    expected = ["limit.memory_near", "agent.unknown_outcome", "limit.memory"]
    stage.check(codes == expected, f"people were told {codes}, not {expected}")
    [hog] = _hogs(stage)
    stage.check(not lives(hog), "the hog lives")
    named = re.search(rf"python[\d.]* \(pid {hog}\) (\d+) MiB", notice["message"])
    stage.check(named, f"the event does not name process and size: {notice['message']}")
    sizes = re.search(r"used (\d+) MiB of memory, where (\d+) MiB are allowed", notice["message"])
    stage.check(sizes, f"the event does not name what was allowed: {notice['message']}")
    if sizes:
        used, allowed = map(int, sizes.groups())
        stage.check(used < allowed + MEMORY_MIB, f"it was ended at {used} MiB, {allowed} are allowed")
    stage.check("agent.memory_bytes_max" in notice["hint"], f"no hint: {notice['hint']}")
    await asyncio.sleep(2.0)  # longer than the delay before a restart: what must not come cannot be waited for
    view = await talk.look()
    idle = (view["state"], view["claude_pid"], talk.run(2)) == ("IDLE", None, None)
    stage.check(idle, f"something was started again: {view['state']}, claude {view['claude_pid']}")
    told = await diagnosed(stage, talk)
    stage.check(any(f"pid {hog}" in e["what"] for e in told["history"]), "the doctor does not name the hog")
    await talk.goes_on()
    stage.check(talk.told_unknown(), "claude was not told that an outcome is unknown")
    stage.check(_hogs(stage) == [hog], "the hog was run again")
    return f"told: {notice['message']}; {state}; {beside.brief()}"


async def _descriptors(stage: Stage) -> str:
    (stage.made.project / "hog.py").write_text(FILE_HOG)
    hogs = max(1, round(FILE_HOGS * stage.scale))
    each = " & ".join([f"python3 hog.py {HELD_S * max(1.0, stage.scale)}"] * hogs)
    async with company(stage) as beside:
        talk = await stage.talk(allow=("Bash",))
        key = await talk.send("take", _bash(f"{each} & wait"), {"text": "done"})
        beside.watch(talk)
        state = await talk.outcome(key)
        await beside.enough()
    stage.check_outcome(talk, state, "done")
    refused = "Too many open files"
    [result] = [e["text"] for e in talk.view.of("tool_result")]
    line = f"{FILES_MAX} {refused} {FILES_HARD_MAX} {refused}"
    stage.check(result.splitlines() == [line] * hogs, f"the tool does not tell of its limits: {result[:300]}")
    stage.check(len(_hogs(stage)) == hogs, f"{len(_hogs(stage))} hogs of {hogs} were started")
    stage.check(not any(map(lives, _hogs(stage))), "a hog lives")
    stage.check(talk.run(2) is None, "claude was replaced")
    told = await diagnosed(stage, talk)
    stage.check(not told["history"], f"trouble was told where none is: {told['history']}")
    held = hogs * (FILES_HARD_MAX - 3)
    stage.evidence["open_files_held_at_once"] = held
    await talk.goes_on()
    return f"{held} open files were held, the next one refused ({line}), claude worked on; {beside.brief()}"


HOGS: Final = (
    Experiment(
        "hog.memory",
        f"a tool that takes 40 MiB more each second, where agent.memory_bytes_max is {MEMORY_MIB} MiB",
        "a warning, then the end of its claude: process and sizes are named, the outcome is unknown, nothing is started"
        " again; the other session does not notice",
        _memory,
        apart=True,
        env={"BETCODE_AGENT_MEMORY_BYTES_MAX": str(MEMORY_MIB * MIB)},
    ),
    Experiment(
        "hog.descriptors",
        f"{FILE_HOGS} processes of a tool that open files until they may not, beyond the limit that can be raised too",
        f"each is refused at {FILES_MAX} and at {FILES_HARD_MAX}, the result says so, its claude works on; the other"
        " session does not notice",
        _descriptors,
        apart=True,
        scaled=True,
    ),
    *FLOODS,
    *STORMS,
)
"""In the order of their run."""
