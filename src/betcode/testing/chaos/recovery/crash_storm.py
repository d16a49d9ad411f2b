"""Five deaths within a minute: nothing is started any more, people are told why and what to do, and a retry works."""

from __future__ import annotations

import asyncio
import stat
import time
from itertools import pairwise
from typing import Any, Final

from betcode.testing.chaos.experiment import Experiment
from betcode.testing.chaos.recovery.daemons import said, streamed
from betcode.testing.chaos.stage import Stage
from betcode.testing.chaos.talk import Talk
from betcode.testing.claude_home import bundled_claude
from betcode.testing.installation import until
from betcode.testing.limits import NEWS_S

CRASHES: Final = 5
WORDS: Final = 80
CODE: Final = 7
LAST_WORDS: Final = "out of luck"
WRAPPER: Final = f"""#!/bin/sh
# The real CLI, which ends at once as long as the file beside it is there.
case "$*" in *--version*) exec '{{claude}}' "$@";; esac
if [ -e '{{broken}}' ]; then echo 'first line' >&2; echo '{LAST_WORDS}' >&2; exit {CODE}; fi
exec '{{claude}}' "$@"
"""
"""Of both, the words in the notice come from standard error."""


async def _crashed(stage: Stage, talk: Talk) -> dict[str, Any]:
    """The notice of the last crash, once nothing is started any more."""
    notice = await talk.until("notice", code="agent.crashed")
    stage.check((await talk.look())["state"] == "CRASHED", "the session is not CRASHED")
    runs = len(list(talk.folder.glob("*.run")))
    await asyncio.sleep(2.0)  # longer than any delay of the first crashes: what must not come cannot be waited for
    stage.check(len(list(talk.folder.glob("*.run"))) == runs, "claude was started again")
    return notice


async def _retry(stage: Stage, talk: Talk, key: str, answer: str) -> None:
    done = await asyncio.to_thread(stage.command(), "sessions", "retry", talk.session)
    stage.check(done.status == 0, f"the retry ended with {done.status}: {done.err}")
    state = await talk.outcome(key)
    stage.check_outcome(talk, state, answer)
    await talk.goes_on()


async def _killed(stage: Stage) -> str:
    talk = await stage.talk()
    key = await talk.send("a long answer", streamed(WORDS), told=streamed(WORDS))
    begun_s = time.monotonic()
    for number in range(1, CRASHES + 1):
        await until(lambda: talk.run(number), within_s=NEWS_S, what=f"start {number}")  # noqa: B023
        seen = len(talk.view.events)
        if number % 2:  # in the turn; the others while they start
            begun = frozenset({"turn_started"})
            await until(lambda: talk.finals(key) or talk.view.first_s(seen, begun), within_s=NEWS_S, what="a turn")  # noqa: B023
        await stage.pause(0.0, 0.4)
        assert not talk.finals(key), f"the message ended after {number - 1} deaths as {talk.finals(key)}"
        talk.strike("claude")
    stage.evidence["seconds_of_five_deaths"] = round(time.monotonic() - begun_s, 1)
    notice = await _crashed(stage, talk)
    stage.check("signal 9" in notice["message"], f"the notice does not say how it ended: {notice['message']}")
    stage.check("retry" in notice["hint"], f"no hint: {notice['hint']}")
    await _retry(stage, talk, key, said(WORDS))
    return f"told: {notice['message']} ({notice['hint']}); the retry completed the message"


async def _exits(stage: Stage) -> str:
    broken, wrapper = stage.made.home / "broken", stage.made.home / "claude"
    broken.touch()
    wrapper.write_text(WRAPPER.format(claude=bundled_claude(), broken=broken))
    wrapper.chmod(stat.S_IRWXU)
    await stage.another_daemon(BETCODE_CLAUDE=str(wrapper))
    talk = await stage.talk()
    key = await talk.send("an answer", streamed(10))
    notice = await _crashed(stage, talk)
    runs = len(list(talk.folder.glob("*.run")))
    stage.check(runs == CRASHES, f"claude was started {runs} times, not {CRASHES}")
    for what in (f"exit code {CODE}", LAST_WORDS, "first line"):
        stage.check(what in notice["message"], f"{what!r} is not in {notice['message']!r}")
    stage.check("retry" in notice["hint"], f"no hint: {notice['hint']}")
    moments = [m for e, m in zip(talk.view.events, talk.view.moments_s, strict=True) if e["kind"] == "notice"]
    stage.evidence["seconds_between_crashes"] = [round(b - a, 2) for a, b in pairwise(moments)]
    broken.unlink()
    await _retry(stage, talk, key, said(10))
    return f"told: {notice['message']}; the retry completed the message"


EXPERIMENTS: Final = (
    Experiment(
        "crash-storm.killed",
        f"kill -9 of claude {CRASHES} times within a minute",
        "CRASHED; people are told how it ended and what to do; a user's retry completes the message",
        _killed,
        deadline_s=90,
    ),
    Experiment(
        "crash-storm.exits",
        f"a claude that ends at once with exit code {CODE}, until it is mended",
        f"CRASHED after {CRASHES} starts; exit code, last lines of stderr and a hint are told; a user's retry works",
        _exits,
        deadline_s=90,
    ),
)
