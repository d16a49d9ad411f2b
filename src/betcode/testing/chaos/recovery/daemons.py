"""The daemon ends, is replaced, is started twice, or finds another time: running turns are adopted."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from typing import Any, Final

from betcode.keeper.tree import start_ticks
from betcode.testing.chaos.experiment import Experiment
from betcode.testing.chaos.process_watch import arguments
from betcode.testing.chaos.sources import NEWER, newer_version, with_clock_of, with_keeper_of
from betcode.testing.chaos.stage import Stage
from betcode.testing.chaos.talk import Talk, counting_tool
from betcode.testing.installation import until, words
from betcode.testing.limits import NEWS_S

TURNS: Final = 10
DAEMONS: Final = 4
"""Started at the same moment."""
TARGET_S: Final = 1.0
ANOTHER_S: Final = 4.0
"""For another daemon and another claude, the delay between two claudes included."""
TOLD_S: Final = 0.1
"""News that was under way at a fault comes within this."""
HOUR_S: Final = 3_600


def streamed(count: int, delta_ms: int = 50, prefix: str = "s") -> dict[str, Any]:
    """A text of so many words."""
    return {"words": count, "prefix": prefix, "delta_ms": delta_ms}


def said(count: int, prefix: str = "s") -> str:
    """The answer that it makes."""
    return words(count).replace("w", prefix)


async def running_turn(stage: Stage, count: int = 60) -> tuple[Talk, str]:
    """A session in the middle of an answer, and the key of its message."""
    talk = await stage.talk(allow=("Bash",))
    key = await talk.send("a long answer", streamed(count))
    await talk.until_words("s", stage.rng.randrange(3, max(4, count // 3)))
    return talk, key


async def adopted(stage: Stage, talk: Talk, key: str, *, count: int = 60) -> None:
    """The turn went on under the same keeper and was answered once, by one model request."""
    state = await talk.outcome(key)
    stage.check(state == "completed", f"the message ended as {state}")
    stage.check(talk.answers(said(count)) == 1, f"{talk.answers(said(count))} whole answers")
    stage.check(talk.run(2) is None, "claude was replaced")
    stage.check(not talk.notices(), f"the user was troubled: {talk.notices()}")
    requests = stage.made.model.stats()["requests_total"]
    stage.check(requests == len(stage.talks), f"{requests} model requests for {len(stage.talks)} messages")


async def streaming_again(stage: Stage, talk: Talk, since_s: float) -> None:
    """Note how long it took until text came again."""
    await until(lambda: talk.view.last_text_s > since_s + TOLD_S, within_s=NEWS_S, what="text again")
    stage.took(talk.view.last_text_s - since_s, target_s=TARGET_S)


async def _kill_with_ten_turns(stage: Stage) -> str:
    talks = [await stage.talk() for _ in range(TURNS)]
    keys = [await talk.send("a long answer", streamed(250, 100)) for talk in talks]
    await until(lambda: all(t.view.words_of("s") for t in talks), within_s=90, what="ten streams")
    took = []
    for _ in range(3):
        await stage.pause(0.5, 1.5)
        killed_s = stage.kill_daemon()
        first_s: dict[str, float] = {}

        def all_stream() -> bool:
            for talk in talks:
                if talk.view.last_text_s > killed_s + TOLD_S:  # noqa: B023
                    first_s.setdefault(talk.session, talk.view.last_text_s)  # noqa: B023
            return len(first_s) == TURNS  # noqa: B023

        await until(all_stream, within_s=NEWS_S, what="all streaming again")
        took.append(max(first_s.values()) - killed_s)
        stage.took(took[-1], target_s=TARGET_S)
    for talk, key in zip(talks, keys, strict=True):
        await adopted(stage, talk, key, count=250)
    stage.evidence["all_streaming_again_s"] = [round(t, 3) for t in took]
    return f"all ten streaming again after {', '.join(f'{t:.2f}' for t in took)} s (target {TARGET_S:.0f} s)"


async def _terminate(stage: Stage) -> str:
    talk, key = await running_turn(stage)
    pid = stage.made.daemon_pid()
    assert pid
    begun_s = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    await until(lambda: start_ticks(pid) is None, within_s=NEWS_S, what="the end of the daemon")
    ended_s = time.monotonic() - begun_s
    stage.check(not stage.made.paths.socket.exists(), "its socket was left behind")
    await stage.made.start_daemon()  # nobody does so by himself after a daemon that was stopped on purpose
    stage.took(await stage.daemon_answers(begun_s), target_s=2 * TARGET_S)
    await adopted(stage, talk, key)
    await talk.goes_on()
    return f"the daemon ended in {ended_s:.2f} s, the next one went on with the same claude"


async def _upgrade(stage: Stage) -> str:
    talk, key = await running_turn(stage, 80)
    other = newer_version(stage.made.home / "newer")
    begun_s = time.monotonic()
    done = await asyncio.to_thread(stage.command().with_env(PYTHONPATH=str(other)), "daemon", "upgrade")
    assert done.status == 0, f"daemon upgrade ended with {done.status}: {done.err}"
    stage.took(await stage.daemon_answers(begun_s), target_s=2 * TARGET_S)
    version = (await stage.client.welcome()).version
    stage.check(version == NEWER, f"version {version} runs, not {NEWER}")
    await adopted(stage, talk, key, count=80)
    await talk.goes_on()
    return f"version {version} went on with the same claude"


async def _older_keeper(stage: Stage) -> str:
    old = with_keeper_of("0.1", stage.made.home / "older")
    await stage.another_daemon(PYTHONPATH=str(old))
    talk, key = await running_turn(stage, 80)
    keeper = arguments(talk.process("keeper").pid)
    assert str(old).encode() in keeper, f"this is no keeper of the first release: {keeper!r}"
    stage.took(await stage.another_daemon(PYTHONPATH=None), target_s=TARGET_S)
    await adopted(stage, talk, key, count=80)
    again = await talk.send("a tool under the old keeper", counting_tool(), {"text": "counted"})
    state = await talk.outcome(again)
    stage.check(state == "completed" and list(talk.counters().values()) == [1], f"{state}, {talk.counters()}")
    stage.check(talk.run(2) is None, "claude was replaced")
    talk.strike("claude")  # and its report is understood
    await talk.goes_on()
    return "adopted from a keeper of release 0.1; a tool ran under it, and its end was understood"


def _another_daemon(stage: Stage) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "betcode", "daemon", "run"]
    null = subprocess.DEVNULL
    return subprocess.Popen(command, env=stage.made.env, stdin=null, stdout=null, stderr=null, start_new_session=True)


async def _start_many(stage: Stage) -> str:
    talk, key = await running_turn(stage, 80)
    killed_s = stage.kill_daemon()
    started = [_another_daemon(stage) for _ in range(DAEMONS)]
    try:
        await streaming_again(stage, talk, killed_s)
        await until(
            lambda: sum(p.poll() is not None for p in started) >= DAEMONS - 1,
            within_s=NEWS_S,
            what="the end of the rest",
        )
        await adopted(stage, talk, key, count=80)
        ended = sorted(status for p in started if (status := p.poll()) is not None)
        stage.check(set(ended) <= {2}, f"exit statuses {ended}, not 2")
        living = [p.pid for p in started if p.poll() is None]
        holder = stage.made.daemon_pid()
        stage.check(len(living) <= 1 and holder, f"{len(living)} of them live, {holder} holds the lock")
        await talk.goes_on()
        return f"one serves, {len(ended)} ended with status 2"
    finally:
        for process in started:
            process.kill()
            process.wait()


def _set_clock(by_s: int, stage: Stage) -> Any:
    file = stage.made.home / "clock"
    file.write_text(str(by_s))
    return file


async def _step_clock(by_s: int, stage: Stage) -> str:
    settable = with_clock_of(_set_clock(0, stage), stage.made.home / "settable")
    await stage.another_daemon(PYTHONPATH=str(settable))
    talk, key = await running_turn(stage)
    asking = await stage.talk()
    question = await asking.send("ask", counting_tool(), {"text": "counted"})
    await asking.until("permission_asked")
    _set_clock(by_s, stage)
    await stage.pause(0.2, 0.6)
    stage.took(await stage.daemon_answers(stage.kill_daemon()), target_s=TARGET_S)
    later = await talk.send("sent at another hour", {"text": "read at this one"})
    _set_clock(0, stage)
    await stage.pause(0.2, 0.6)
    stage.took(await stage.daemon_answers(stage.kill_daemon()), target_s=TARGET_S)
    stage.check(await asking.allow(), f"the question did not survive: {asking.tail()}")
    state = await asking.outcome(question)
    stage.check(state == "completed" and list(asking.counters().values()) == [1], f"{state}, {asking.counters()}")
    state = await talk.outcome(key)
    stage.check(state == "completed" and talk.answers(said(60)) == 1, f"the turn ended as {state}")
    state = await talk.outcome(later)
    stage.check(state == "completed" and talk.answers("read at this one") == 1, f"the second message ended as {state}")
    stage.check(talk.run(2) is None, "claude was replaced")
    await talk.goes_on()
    hours = {e["time"][:13] for e in asking.view.events + talk.view.events}
    stage.check(len(hours) > 1, f"the clock was not set: {hours}")
    stage.evidence["hours_of_the_events"] = sorted(hours)
    return "turn and question went on; the daemon's wall clock was set through a file that it reads (no root needed)"


def _clock(name: str, by_s: int, words: str) -> Experiment:
    async def run(stage: Stage) -> str:
        return await _step_clock(by_s, stage)

    return Experiment(
        f"adopt.clock-{name}",
        f"the daemon's wall clock is set {words} in a turn, the daemon killed, the clock set back, the daemon killed",
        "turn and question go on; no number of a daemon or an event goes back",
        run,
    )


EXPERIMENTS: Final = (
    Experiment(
        "adopt.kill-ten-turns",
        "kill -9 of the daemon with ten running turns, three times",
        f"all stream again within {TARGET_S:.0f} s; nothing lost, nothing doubled, the same claudes",
        _kill_with_ten_turns,
        apart=True,
        deadline_s=120,
        env={"BETCODE_DAEMON_SLOTS": str(TURNS)},
    ),
    Experiment(
        "adopt.sigterm",
        "SIGTERM of the daemon in a turn, then another daemon",
        "the turn goes on and is adopted",
        _terminate,
    ),
    Experiment(
        "adopt.upgrade",
        "`betcode daemon upgrade` to a newer version in a turn",
        "the newer daemon adopts the turn",
        _upgrade,
    ),
    Experiment(
        "adopt.older-keeper",
        "kill -9 of a daemon that started keepers of the first release; today's daemon follows",
        "today's daemon speaks the old keeper's protocol and goes on",
        _older_keeper,
    ),
    Experiment(
        "adopt.two-daemons",
        f"kill -9 of the daemon in a turn, then {DAEMONS} daemons started at once",
        "one serves and adopts, the others end with status 2",
        _start_many,
    ),
    _clock("forward", 12 * HOUR_S, "twelve hours forward"),
    _clock("back", -12 * HOUR_S, "twelve hours back"),
)
