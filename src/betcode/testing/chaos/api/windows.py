"""(b) A usage window is used up until a time: nothing before it, all after it, whatever restarts meanwhile."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from betcode.testing.chaos.api import work
from betcode.testing.chaos.experiment import Experiment
from betcode.testing.chaos.stage import Stage

SESSIONS: Final = 4
AHEAD_S: Final = 45.0
"""From the beginning to the end of the window; an answer that says so takes a few seconds to come to all."""
ALL_S: Final = 240.0
TOKEN: Final = {"ANTHROPIC_AUTH_TOKEN": "", "ANTHROPIC_API_KEY": "", "CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-scripted"}
"""Of a subscription: only then claude tells of windows."""


def rejected(window: str, resets_at: float) -> dict[str, Any]:
    """The answer of the API when a window is used up."""
    name = "5h" if window == "five_hour" else "7d"
    headers = {
        "anthropic-ratelimit-unified-status": "rejected",
        "anthropic-ratelimit-unified-reset": str(int(resets_at)),
        "anthropic-ratelimit-unified-representative-claim": window,
        f"anthropic-ratelimit-unified-{name}-status": "rejected",
        f"anthropic-ratelimit-unified-{name}-reset": str(int(resets_at)),
        f"anthropic-ratelimit-unified-{name}-utilization": "1.0",
    }
    return {"status": 429, "headers": headers, "message": "usage limit reached"}


async def waits_for_its_end(stage: Stage, *, restart: bool) -> str:
    """All sessions wait for the time that the API named."""
    resets_at = float(int(time.time() + AHEAD_S))
    stage.made.model.set_weather({"for_s": resets_at - time.time(), "step": rejected("five_hour", resets_at)})
    turns = await work.sessions(stage, SESSIONS, allow=("Bash",))
    shown = await work.upstream_becomes(stage, "open")
    stage.check("usage limit" in shown["reason"], f"people are told: {shown['reason']}")
    asked_s = time.time()
    if restart:
        await asyncio.sleep(1)  # what is known of the upstream is stored at once
        await stage.daemon_answers(stage.kill_daemon())
        known = await work.upstreams(stage)
        stage.check([one["state"] for one in known] == ["open"], f"after the restart: {known}")
    await work.finished(stage, turns, within_s=ALL_S)
    requests, _ = work.seen(stage)
    early = [one.at_s - resets_at for one in requests if asked_s + 3 < one.at_s < resets_at]
    stage.check(not early, f"requests were sent {early} s before the window's end")
    first = min(one.at_s for one in requests if one.at_s >= resets_at)
    refused = sum(one.refused for one in requests)
    return f"{refused} refused, then none before its end; the first {first - resets_at:.1f} s after it"


async def ends(stage: Stage) -> str:
    """Without a restart."""
    return await waits_for_its_end(stage, restart=False)


async def ends_after_a_restart(stage: Stage) -> str:
    """The daemon is killed meanwhile."""
    return await waits_for_its_end(stage, restart=True)


async def another_model_goes_on(stage: Stage) -> str:
    """The window is one of a family of models."""
    resets_at = float(int(time.time() + AHEAD_S))
    step = rejected("seven_day_opus", resets_at)
    stage.made.model.set_weather({"for_s": resets_at - time.time(), "step": step, "model": "opus"})
    opus = await work.sessions(stage, 2, allow=("Bash",), model="opus")
    await asyncio.gather(*(talk.until("notice", code="agent.rate_limited") for talk, _ in opus[:1]))
    sonnet = await stage.talk(allow=("Bash",), model="sonnet")
    key = await sonnet.send("another model", {"text": "went on"})
    await sonnet.outcome(key, within_s=60)
    stage.check(time.time() < resets_at, "the other model waited for the window")
    states = await asyncio.gather(*(talk.outcome(key, allowing=True, within_s=ALL_S) for talk, key in opus))
    stage.check(set(states) == {"completed"}, f"the messages ended as {states}")
    requests, _ = work.seen(stage)
    early = [one for one in requests if "opus" in one.model and one.at_s < resets_at and not one.refused]
    stage.check(not early, "a request for the model was answered before the window's end")
    return "another model was answered before the window's end"


EXPERIMENTS = (
    Experiment(
        "window.until-its-end",
        f"the five-hour window is used up for {AHEAD_S:.0f} s, with four sessions",
        "nothing is sent before its end, all go on after it",
        ends,
        400.0,
        env=TOKEN,
    ),
    Experiment(
        "window.daemon-killed",
        "the same, and the daemon is killed while they wait",
        "the next one waits for the same time",
        ends_after_a_restart,
        400.0,
        env=TOKEN,
    ),
    Experiment(
        "window.of-one-model",
        "the weekly window of one family of models is used up",
        "sessions with another model go on",
        another_model_goes_on,
        400.0,
        env=TOKEN,
    ),
)
