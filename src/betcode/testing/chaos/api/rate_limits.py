"""(a) Ten sessions meet a rate limit in the same minute."""

from __future__ import annotations

import time
from typing import Any, Final

from betcode.testing.chaos.api import work
from betcode.testing.chaos.api.requests import begun_after, refused_beyond, sent_in, too_fast
from betcode.testing.chaos.experiment import Experiment
from betcode.testing.chaos.stage import Stage

SESSIONS: Final = 10
LIMITED_S: Final = 60.0
ALL_S: Final = 300.0
REFUSES: Final[dict[str, Any]] = {"status": 429, "headers": {"retry-after": "20"}}


async def ten_at_once(stage: Stage) -> str:
    """The bound of RL-5, nothing between opening and probe, the slow start, and all ten by themselves."""
    weather = [{"for_s": LIMITED_S, "step": REFUSES}]
    compared = await work.plain(stage, SESSIONS, weather)
    stage.made.model.set_weather(*weather)
    begun_s = time.monotonic()
    turns = await work.sessions(stage, SESSIONS, allow=("Bash",))
    await work.upstream_becomes(stage, "open")
    told = [talk for talk, _ in turns if (await talk.look())["state"] == "WAITING_API"]
    stage.check(told, "no session says that it waits for the API")
    await work.finished(stage, turns, within_s=ALL_S)
    mine = work.ours(stage, begun_s)
    check_bounds(stage)
    return f"{mine}; {compared}"


def check_bounds(stage: Stage) -> None:
    """What RL-5 and RL-4 say, measured at the model server."""
    requests, pauses = work.seen(stage)
    stage.evidence["pauses"] = [round(pause.over_s - pause.opened_s, 1) for pause in pauses]
    stage.check(pauses, "the breaker never opened")
    for pause in pauses:
        meanwhile = sent_in(pause, requests)
        stage.check(not meanwhile, f"{len(meanwhile)} requests were sent while it was open")
    beyond = refused_beyond(requests, pauses)
    stage.check(not beyond, f"{beyond} more requests were refused than may be")
    if pauses:
        stage.evidence["begun_after_s"] = [round(at_s, 1) for at_s in begun_after(pauses[-1], requests)]
        herd = too_fast(pauses[-1], requests)
        stage.check(not herd, f"no slow start: {herd}")


EXPERIMENTS = (
    Experiment(
        "rate.ten-at-once",
        "429 with retry-after 20 s for one minute, while ten sessions work in ten slots",
        "at most the requests under way and one for each pause are refused, nothing is sent in a pause, all ten go on",
        ten_at_once,
        700.0,
        env=work.SLOTS,
        apart=True,
    ),
)
