"""The machine ends: daemon, keepers, claudes and tools at once; and ten sessions that come back after it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Final

from betcode.keeper.tree import start_ticks
from betcode.model import limits
from betcode.testing.chaos.experiment import Experiment
from betcode.testing.chaos.recovery.daemons import ANOTHER_S, said, streamed
from betcode.testing.chaos.stage import Stage, newest_run
from betcode.testing.chaos.talk import counting_tool
from betcode.testing.installation import until
from betcode.testing.limits import NEWS_S

SESSIONS: Final = 10
GENTLE_S: Final = 20.0
"""For ten claudes to start, three at a time, and to answer."""


async def _reboot(stage: Stage) -> str:
    """One session streams, one asks, one runs a tool, one is idle."""
    streams = await stage.talk()
    asks = await stage.talk()
    works = await stage.talk(allow=("Bash",))
    rests = await stage.talk()
    done = await rests.send("short", {"text": "short"})
    await rests.outcome(done)
    keys = {
        "streaming": (streams, await streams.send("a long answer", streamed(60))),
        "asking": (asks, await asks.send("ask", counting_tool(), {"text": "counted"})),
        "tool": (works, await works.send("work", counting_tool(30.0), told={"text": "worked"})),
    }
    await streams.until_words("s", stage.rng.randrange(2, 30))
    await asks.until("permission_asked")
    await until(works.counters, within_s=NEWS_S, what="the side effect")
    seen, killed_s = len(streams.view.events), stage.kill_everything()
    await stage.daemon_answers(killed_s)
    states = {name: await talk.outcome(key, allowing=True) for name, (talk, key) in keys.items()}
    stage.went_on(streams, killed_s, after=seen, target_s=3 * ANOTHER_S)  # three claudes start at once
    stage.check_outcome(streams, states["streaming"], said(60))
    stage.check_outcome(asks, states["asking"], "counted")
    stage.check_outcome(works, states["tool"], "worked")
    stage.check(works.told_unknown(), "claude was not told that the outcome of the tool is unknown")
    stage.check(rests.run(2) is None, "an idle session was started although nobody needs it")
    for talk in (streams, asks, works, rests):
        await talk.goes_on()
    return ", ".join(f"{name}: {state}" for name, state in states.items()) + ", idle: left alone"


async def _gently(stage: Stage) -> str:
    talks = [await stage.talk() for _ in range(SESSIONS)]
    keys = [await talk.send("a long answer", streamed(40, 50)) for talk in talks]
    await until(
        lambda: all(t.view.words_of("s") or t.finals(k) for t, k in zip(talks, keys, strict=True)),
        within_s=90,
        what="ten turns",
    )
    keys = [await talk.send("the next", streamed(20)) for talk in talks]
    for talk in talks:
        await talk.until("message_state", state="queued")
    killed_s = stage.kill_everything()
    peak = 0

    async def count() -> None:
        nonlocal peak
        while True:
            peak = max(peak, _starting(stage))
            await asyncio.sleep(0.02)

    counting = asyncio.create_task(count())
    try:
        await stage.daemon_answers(killed_s)
        for talk, key in zip(talks, keys, strict=True):
            stage.check_outcome(talk, await talk.outcome(key, within_s=90), said(20))
    finally:
        counting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await counting
    took_s = time.monotonic() - killed_s
    stage.check(peak <= limits.STARTS_AT_ONCE, f"{peak} claudes were starting at once")
    stage.check(peak, "no claude was seen starting")
    stage.evidence["starting_at_once"] = peak
    stage.took(took_s, target_s=GENTLE_S)
    return f"at most {peak} of {SESSIONS} claudes starting at once; all messages answered after {took_s:.1f} s"


def _starting(stage: Stage) -> int:
    """How many claudes live and have not printed a byte yet: the answer to the first question is their first."""
    count = 0
    for folder in stage.made.paths.sessions.glob("*"):
        run = newest_run(folder)
        if run is None or start_ticks(int(run["claude_pid"])) != run["claude_start"]:
            continue
        number = max(int(file.stem) for file in folder.glob("*.run") if file.stem.isdecimal())
        journal = folder / f"{number}.0.out"
        count += not (journal.exists() and journal.stat().st_size)
    return count


EXPERIMENTS: Final = (
    Experiment(
        "adopt.reboot",
        "daemon, keepers, claudes and tools end at once; one session streams, one asks, one runs a tool, one is idle",
        "streaming: sent again, answered once; asking and tool: as after the death of claude; idle: nothing",
        _reboot,
        deadline_s=90,
    ),
    Experiment(
        "adopt.reboot-ten-sessions",
        f"the same with {SESSIONS} sessions in a turn and with another message waiting",
        f"never more than {limits.STARTS_AT_ONCE} claudes are starting; all messages are answered",
        _gently,
        apart=True,
        deadline_s=150,
        env={"BETCODE_DAEMON_SLOTS": str(SESSIONS)},
    ),
)
