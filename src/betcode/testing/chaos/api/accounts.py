"""(d), (h): credentials that are refused, and one session whose upstream is another one and broken."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Final

from betcode.testing.chaos.api import work
from betcode.testing.chaos.experiment import Experiment
from betcode.testing.chaos.stage import Stage

ALL_S: Final = 180.0
QUIET_S: Final = 20.0
"""Time in which nothing may be sent."""


async def refused_credentials(stage: Stage) -> str:
    """One notice, silence, and everything goes on when the credential has changed."""
    stage.made.model.set_weather({"for_s": 3_600, "step": {"status": 401}})
    first = await stage.talk(allow=("Bash",))
    keys = [(first, await first.send("work 0", *work.STEPS))]
    await work.upstream_becomes(stage, "paused")
    for number in range(1, 4):
        talk = await stage.talk(allow=("Bash",))
        keys.append((talk, await talk.send(f"work {number}", *work.STEPS)))
    before = len(work.seen(stage)[0])
    await asyncio.sleep(QUIET_S)  # what must not happen can only be waited for
    after = len(work.seen(stage)[0])
    stage.check(after == before, f"{after - before} requests were sent after the first refusal")
    notices = [e for talk, _ in keys for e in talk.view.of("notice", code="agent.credentials")]
    stage.check(len(notices) == 1, f"people were told {len(notices)} times")
    stage.made.model.set_weather()
    settings = stage.made.home / ".claude" / "settings.json"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(json.dumps({"env": {"ANTHROPIC_API_KEY": "sk-ant-scripted-another"}}))
    changed_s = time.monotonic()
    await work.finished(stage, keys, within_s=ALL_S)
    return f"{before} requests, then none; all done {time.monotonic() - changed_s:.0f} s after the change"


async def broken_neighbour(stage: Stage) -> str:
    """Nine healthy sessions beside one whose API is not there."""
    account = stage.made.home / "broken"
    account.mkdir()
    (account / "settings.json").write_text(json.dumps({"env": {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}}))
    alone = await work.sessions(stage, 1, allow=("Bash",))
    begun_s = time.monotonic()
    await work.finished(stage, alone, within_s=ALL_S)
    one_s = time.monotonic() - begun_s
    broken = await stage.talk(allow=("Bash",), claude_config_dir=str(account))
    await broken.send("never answered", {"text": "no"})
    await work.upstream_becomes(stage, "open")
    begun_s = time.monotonic()
    healthy = await work.sessions(stage, 9, allow=("Bash",))
    states = await asyncio.gather(*(talk.outcome(key, allowing=True, within_s=ALL_S) for talk, key in healthy))
    took_s = time.monotonic() - begun_s
    stage.check(set(states) == {"completed"}, f"the healthy ones ended as {states}")
    waited = [e for talk, _ in healthy for e in talk.view.of("message_state") if e.get("code")]
    stage.check(not waited, f"healthy sessions waited for the API: {waited[:1]}")
    stage.check((await broken.look())["state"] in ("WAITING_API", "BACKING_OFF", "SPAWNING", "ACTIVE"), "it gave up")
    key = next(iter(broken.sent))
    stage.check(not broken.finals(key), "the message of the broken one has an outcome")
    (account / "settings.json").write_text("{}")
    await work.force(stage, broken)
    state = await broken.outcome(key, within_s=ALL_S)
    stage.check(state == "completed", f"the broken one ended as {state} after its settings were mended")
    return f"nine done in {took_s:.0f} s (one alone takes {one_s:.0f} s), none of them waited; then the tenth"


EXPERIMENTS = (
    Experiment(
        "account.refused",
        "401 for every request, until the key in the settings changes",
        "people are told once, nothing more is sent before the change, then all go on",
        refused_credentials,
        400.0,
    ),
    Experiment(
        "account.broken-neighbour",
        "one session's account points to an address where nobody listens, beside nine healthy ones",
        "the nine do not notice; the tenth waits, and goes on when its settings are mended",
        broken_neighbour,
        400.0,
        env=work.SLOTS,
    ),
)
