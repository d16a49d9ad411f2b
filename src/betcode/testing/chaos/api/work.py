"""The work that sessions do here, and the same work done by as many plain `claude -p`, for comparison."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from pathlib import Path
from typing import Any, Final

from betcode.model.frames import GetStatus, Retry
from betcode.testing.chaos.api.requests import Pause, Sent, pauses, sent
from betcode.testing.chaos.stage import Stage
from betcode.testing.chaos.talk import Talk, counting_tool
from betcode.testing.claude_home import bundled_claude, clean_env, model_server
from betcode.testing.installation import scripted

SLOTS: Final = {"BETCODE_DAEMON_SLOTS": "10"}
PLAIN_S: Final = 240.0
"""The plain ones that are not done by then are ended: a person would have given up."""
STEPS: Final = (counting_tool(), {"words": 30, "prefix": "done", "delta_ms": 20})
"""A tool call with an effect that can be counted, then an answer."""
LOOK_S: Final = 0.1


async def sessions(stage: Stage, count: int, **options: Any) -> list[tuple[Talk, str]]:
    """So many sessions that begin the same work at the same time; each with the key of its message."""
    talks = [await stage.talk(**options) for _ in range(count)]
    keys = await asyncio.gather(*(talk.send(f"work {n}", *STEPS) for n, talk in enumerate(talks)))
    return list(zip(talks, keys, strict=True))


async def finished(stage: Stage, work: list[tuple[Talk, str]], *, within_s: float) -> None:
    """All of them come to their end by themselves, completed; each tool call had its effect once."""
    states = await asyncio.gather(*(talk.outcome(key, allowing=True, within_s=within_s) for talk, key in work))
    stage.check(set(states) == {"completed"}, f"the messages ended as {states}")
    counted = [sum(talk.counters().values()) for talk, _ in work[:1]]
    stage.check(counted == [len(work)], f"the tools of {len(work)} sessions ran {counted} times in all")


def log_of(stage: Stage) -> list[dict[str, Any]]:
    """The lines of the daemon's log."""
    found = []
    for line in stage.made.paths.log.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def seen(stage: Stage) -> tuple[list[Sent], list[Pause]]:
    """What the model server saw, and the pauses."""
    return sent(stage.made.model.stats()), pauses(log_of(stage))


async def upstreams(stage: Stage) -> list[dict[str, Any]]:
    """As `betcode status` shows them."""
    found: list[dict[str, Any]] = (await stage.client.request(GetStatus()))["upstreams"]
    return found


async def upstream_becomes(stage: Stage, state: str, *, within_s: float = 60.0) -> dict[str, Any]:
    """Wait until one of them is in this state."""
    end_s = time.monotonic() + within_s
    while True:
        known = await upstreams(stage)
        if found := next((one for one in known if one["state"] == state), None):
            return found
        assert time.monotonic() < end_s, f"no upstream became {state} within {within_s:.0f} s: {known}"
        await asyncio.sleep(LOOK_S)


async def plain(stage: Stage, count: int, weather: list[dict[str, Any]], *, repeat: bool = False) -> str:
    """The same work by plain processes, each retrying alone; in words."""
    with model_server() as model:
        model.set_weather(*weather, repeat=repeat)
        begun_s = time.monotonic()
        ended = await asyncio.gather(*(_one(stage, number, model.url) for number in range(count)))
        took_s = time.monotonic() - begun_s
        requests = sent(model.stats())
    refused = sum(one.refused for one in requests)
    stage.evidence["plain"] = {
        "requests": len(requests),
        "refused": refused,
        "done": sum(ended),
        "of": count,
        "seconds": round(took_s, 1),
    }
    return f"plain: {len(requests)} requests, {refused} refused, {sum(ended)} of {count} done in {took_s:.0f} s"


def ours(stage: Stage, begun_s: float) -> str:
    """The figures of our sessions, in the same words."""
    requests, _ = seen(stage)
    refused = sum(one.refused for one in requests)
    took_s = time.monotonic() - begun_s
    stage.evidence["ours"] = {"requests": len(requests), "refused": refused, "seconds": round(took_s, 1)}
    return f"ours: {len(requests)} requests, {refused} refused, all done in {took_s:.0f} s"


async def _one(stage: Stage, number: int, url: str) -> bool:
    """One plain claude; whether it did its work."""
    home, project = stage.made.home / f"plain{number}", stage.made.home / f"plain{number}" / "project"
    project.mkdir(parents=True)
    prompt = scripted(f"work {number}", *STEPS, keep=True)
    process = await asyncio.create_subprocess_exec(
        str(bundled_claude()),
        *("-p", "--allowedTools", "Bash", "--output-format", "json", prompt),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=project,
        env=clean_env(Path(home), url),
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(PLAIN_S):
            out, _ = await process.communicate()
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        return False
    return process.returncode == 0 and b"done29" in out


async def force(stage: Stage, talk: Talk) -> None:
    """A person has the session try at once."""
    await stage.client.request(Retry(session=talk.session))
