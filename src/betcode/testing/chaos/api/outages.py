"""(c), (e), (f), (g): overload that comes and goes, an API that is away, silent, or breaks off in the middle."""

from __future__ import annotations

import time
from typing import Any, Final

from betcode.testing.chaos.api import work
from betcode.testing.chaos.api.requests import sent_in
from betcode.testing.chaos.experiment import Experiment
from betcode.testing.chaos.stage import Stage
from betcode.testing.chaos.talk import counting_tool

SESSIONS: Final = 5
AWAY_S: Final = 120.0
ALL_S: Final = 420.0
OVERLOADED: Final[dict[str, Any]] = {"status": 529}
FLAPPING: Final[list[dict[str, Any]]] = [
    {"for_s": 15, "step": OVERLOADED, "share": 0.7},
    {"for_s": 10},
    {"for_s": 15, "step": {"status": 500}, "share": 0.9},
    {"for_s": 20, "step": OVERLOADED, "share": 0.3},
    {"for_s": 10},
    {"for_s": 20, "step": OVERLOADED},
]
"""90 s of it."""
STALL_S: Final = 30


async def flaps(stage: Stage) -> str:
    """A mix of 529, 500 and answers."""
    compared = await work.plain(stage, SESSIONS, FLAPPING)
    stage.made.model.set_weather(*FLAPPING)
    begun_s = time.monotonic()
    turns = await work.sessions(stage, SESSIONS, allow=("Bash",))
    await work.finished(stage, turns, within_s=ALL_S)
    check_pauses(stage)
    return f"{work.ours(stage, begun_s)}; {compared}"


async def away(stage: Stage) -> str:
    """Every connection is reset for two minutes."""
    weather = [{"for_s": AWAY_S, "step": {"reset": "before_headers"}}]
    compared = await work.plain(stage, SESSIONS, weather)
    stage.made.model.set_weather(*weather)
    begun_s = time.monotonic()
    turns = await work.sessions(stage, SESSIONS, allow=("Bash",))
    shown = await work.upstream_becomes(stage, "open")
    stage.check("network" in shown["reason"], f"people are told: {shown['reason']}")
    await work.finished(stage, turns, within_s=ALL_S)
    check_pauses(stage)
    return f"{work.ours(stage, begun_s)}; {compared}"


async def breaks_off(stage: Stage) -> str:
    """Each answer is cut in the middle for half a minute."""
    cut = {"reset": "mid_stream", "after": 5, "words": 30}
    stage.made.model.set_weather({"for_s": 30, "step": cut})
    begun_s = time.monotonic()
    turns = await work.sessions(stage, 3, allow=("Bash",))
    await work.finished(stage, turns, within_s=ALL_S)
    return work.ours(stage, begun_s)


async def silent(stage: Stage) -> str:
    """Answers stop in the middle and do not go on."""
    words = {"words": 30, "prefix": "done"}
    steps = (counting_tool(), words | {"stall_s": 600, "after": 3})
    begun_s = time.monotonic()
    turns = []
    for number in range(2):
        talk = await stage.talk(allow=("Bash",))
        turns.append((talk, await talk.send(f"work {number}", *steps, told=words)))
    await work.finished(stage, turns, within_s=ALL_S)
    stalls = [e for talk, _ in turns for e in talk.view.of("notice", code="agent.stall")]
    stage.check(stalls, "nobody was told of the silence")
    return work.ours(stage, begun_s)


def check_pauses(stage: Stage) -> None:
    """Nothing is sent while the breaker is open."""
    requests, pauses = work.seen(stage)
    stage.evidence["pauses"] = [round(pause.over_s - pause.opened_s, 1) for pause in pauses]
    for pause in pauses:
        meanwhile = sent_in(pause, requests)
        stage.check(not meanwhile, f"{len(meanwhile)} requests were sent while it was open")


EXPERIMENTS = (
    Experiment(
        "overload.flapping",
        "529 and 500 for some requests or all, on and off for 90 s",
        "all turns complete by themselves, nothing is sent in a pause, each tool runs once",
        flaps,
        900.0,
        env=work.SLOTS,
    ),
    Experiment(
        "down.two-minutes",
        "every connection to the API is reset for two minutes",
        "all turns complete by themselves, nothing is sent in a pause, each tool runs once",
        away,
        900.0,
        env=work.SLOTS,
    ),
    Experiment(
        "stall.streams",
        "answers stop in the middle and stay silent",
        "the turns are interrupted, and go on when the API answers",
        silent,
        600.0,
        env={"BETCODE_SUPERVISION_STALL_S": str(STALL_S)},
    ),
    Experiment(
        "reset.mid-stream",
        "the connection breaks in the middle of each answer for half a minute",
        "the turns go on with what was done, each tool runs once",
        breaks_off,
        600.0,
    ),
)
