"""kill -9 of the daemon, of claude and of the keeper at each phase of a turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Final

from betcode.testing.chaos.experiment import Experiment
from betcode.testing.chaos.stage import Stage
from betcode.testing.chaos.talk import Talk, counting_tool
from betcode.testing.installation import until, words
from betcode.testing.limits import NEWS_S

VICTIMS: Final = ("daemon", "keeper", "claude")
DAEMON_TARGET_S: Final = 1.0
CLAUDE_TARGET_S: Final = 2.0
"""Beyond the start of the CLI."""
DRAINED_S: Final = 2.0
"""Until a claude whose keeper died, and which does not end by itself, is ended."""
TEXT: Final = {"words": 30, "prefix": "s", "delta_ms": 30}
LAST: Final = {"words": 12, "prefix": "z", "delta_ms": 30}
ANSWER: Final = words(12).replace("w", "z")


@dataclass(frozen=True, slots=True)
class Phase:
    """A moment of a turn: the script that leads to it, how to wait for it, and what must come of it.

    `calls`: tool calls that the message makes, `calls_of_lost` when keeper or claude die. It is always completed: by
    docs/recovery.md, nothing else comes of a first death at one of these moments.
    """

    id: str
    moment: str
    steps: tuple[dict[str, Any], ...]
    reach: Callable[[Talk, Random], Awaitable[None]]
    expected: str = "the message is sent again and answered once"
    calls: int = 0
    calls_of_lost: int | None = None
    """Where it is another number."""
    allow: bool = True
    """Whether Bash is allowed by a rule, so that no question is asked."""
    answer: str = ANSWER
    steps_of_lost: tuple[dict[str, Any], ...] = ()
    """The script when keeper or claude die, where it is another one."""


async def _pause(rng: Random, low_s: float, high_s: float) -> None:
    await asyncio.sleep(rng.uniform(low_s, high_s))


async def _before_ready(talk: Talk, rng: Random) -> None:
    await until(lambda: talk.run() is not None, within_s=NEWS_S, what="the start of claude")
    await _pause(rng, 0.0, 0.3)  # the CLI needs 0.4 s to be ready


async def _queued(talk: Talk, rng: Random) -> None:
    await talk.until("message_state", state=rng.choice(("delivered", "started")))


async def _streaming(talk: Talk, rng: Random) -> None:
    await talk.until_words("s", rng.randrange(2, 25))


async def _text_complete(talk: Talk, rng: Random) -> None:
    await talk.until("assistant", part="text")
    await _pause(rng, 0.0, 1.0)


async def _asked(talk: Talk, rng: Random) -> None:
    await talk.until("permission_asked")
    await _pause(rng, 0.0, 0.5)


async def _tool_runs(talk: Talk, rng: Random) -> None:
    await until(talk.counters, within_s=NEWS_S, what="the side effect of the tool")
    await _pause(rng, 0.0, 0.5)


async def _result_stored(talk: Talk, rng: Random) -> None:
    await talk.until("tool_result")
    await talk.until_words("z", rng.randrange(1, 8))


async def _idle(talk: Talk, rng: Random) -> None:
    await talk.until("turn_ended")
    await talk.until("message_state", state="completed")
    await _pause(rng, 0.0, 0.5)


PHASES: Final = (
    Phase("before-ready", "claude was started and has not answered", (LAST,), _before_ready),
    Phase("queued", "the message was written, nothing of the answer came", ({**LAST, "delay_s": 1.0},), _queued),
    Phase(
        "streaming",
        "text is being streamed",
        ({**TEXT, "prefix": "s"},),
        _streaming,
        answer=words(30).replace("w", "s"),
    ),
    Phase(
        "text-complete",
        "a text block is complete, the call of a tool is being written",
        ({"words": 5, "prefix": "s", **counting_tool(), "stall_s": 2.0, "after": 5, "times": 1}, LAST),
        _text_complete,
        expected="the message is sent again, the tool is called and runs once, answered once",
        calls=1,
    ),
    Phase(
        "permission-pending",
        "a question is open",
        (counting_tool(), LAST),
        _asked,
        expected="the question is cancelled, its tool does not run, claude is told and goes on; answered once",
        calls=1,
        calls_of_lost=0,
        allow=False,
    ),
    Phase(
        "tool-running",
        "a tool has had its side effect and runs",
        (counting_tool(busy_s=2.0), LAST),
        _tool_runs,
        expected="the tool is ended and not run again; claude is told that the outcome is unknown; answered once",
        calls=1,
        steps_of_lost=(counting_tool(busy_s=60.0), LAST),
    ),
    Phase(
        "result-stored",
        "the tool has ended, the next answer is being streamed",
        (counting_tool(), LAST),
        _result_stored,
        expected="the tool is not run again; claude goes on by itself, or is told to; answered once",
        calls=1,
    ),
    Phase("idle", "the turn is complete", (LAST,), _idle, expected="nothing happens; the next message is answered"),
)


async def _kill_at(phase: Phase, victim: str, stage: Stage) -> str:
    talk = await stage.talk(allow=("Bash",) if phase.allow else ())
    begun_s = time.monotonic()
    steps = phase.steps if victim == "daemon" else phase.steps_of_lost or phase.steps
    key = await talk.send(f"{phase.id} {victim}", *steps, told=LAST if phase.calls else None)
    await phase.reach(talk, stage.rng)
    seen = len(talk.view.events)
    before = talk.run()
    started = [m for e, m in zip(talk.view.events, talk.view.moments_s, strict=True) if e["kind"] == "turn_started"]
    start_s = (started[0] - begun_s) if started else 1.0
    killed_s = talk.strike(victim)
    if victim == "daemon":
        stage.took(await stage.daemon_answers(killed_s), target_s=DAEMON_TARGET_S)
    else:
        await talk.until("notice", after=seen) if phase.id != "idle" else None
    if phase.id == "permission-pending" and victim == "daemon":
        assert await talk.allow(), "the question did not survive the daemon"
    state = await talk.outcome(key, allowing=True)
    if victim != "daemon" and phase.id != "idle":
        drained_s = DRAINED_S if victim == "keeper" else 0.0
        stage.went_on(talk, killed_s, after=seen, target_s=CLAUDE_TARGET_S + drained_s + start_s)
    same = talk.run() == before
    stage.evidence["same_claude"] = same
    _judge(phase, victim, stage, talk, state=state, same=same)
    await talk.goes_on()
    calls = sum(talk.counters().values())
    return f"{state}, {'the same claude' if same else 'another claude'}, {calls} side effects"


def _judge(phase: Phase, victim: str, stage: Stage, talk: Talk, *, state: str, same: bool) -> None:
    """What must be so for this phase and victim, beside what must always be so."""
    unharmed = victim == "daemon" or phase.id == "idle"
    stage.check_outcome(talk, state, phase.answer)
    if victim == "daemon" and phase.id != "before-ready":  # before that the daemon may not have come to start it
        stage.check(same, "claude was replaced although only the daemon died")
    elif phase.id == "idle":
        stage.check(same, "claude was started although nothing needs it")
    elif victim == "claude":
        stage.check(not same, "no other claude was started")
    expected = phase.calls if unharmed or phase.calls_of_lost is None else phase.calls_of_lost
    stage.check(len(talk.counters()) == expected, f"{len(talk.counters())} tool calls were run, not {expected}")
    if phase.id == "tool-running" and not unharmed:
        told = talk.view.of("notice", code="agent.unknown_outcome")
        stage.check(told, "nobody was told of the unknown outcome")
        stage.check(talk.told_unknown(), "claude was not told that the outcome of the tool is unknown")
    if phase.id == "permission-pending" and not unharmed:
        settled = [e["state"] for e in talk.view.of("permission_settled")]
        stage.check(settled[:1] == ["CANCELLED"], f"the question was settled as {settled[:1]}")


async def _kill_with_background_task(victim: str, stage: Stage) -> str:
    talk = await stage.talk(allow=("Bash",))
    busy_s = 4.0 if victim == "daemon" else 60.0
    key = await talk.send("background", counting_tool(busy_s, run_in_background=True), LAST)
    await talk.until("message_state", message_id=key, state="completed")
    await until(talk.counters, within_s=NEWS_S, what="the side effect of the task")
    seen, before = len(talk.view.events), talk.run()
    killed_s = talk.strike(victim)
    if victim == "daemon":
        stage.took(await stage.daemon_answers(killed_s), target_s=DAEMON_TARGET_S)
        await talk.until("turn_ended", after=seen)  # claude's own, when the task has ended
        stage.check(talk.run() == before, "claude was replaced although only the daemon died")
        observed = "the task went on; claude noticed its end"
    else:
        await talk.until("notice", after=seen, code="agent.unknown_outcome")
        await until(talk.told_unknown, within_s=NEWS_S, what="the word to claude that its task is gone")
        observed = "the user was told, and claude: " + talk.notices()[-1]
    await talk.goes_on()
    return observed


async def _kill_in_two_tools(stage: Stage) -> str:
    talk = await stage.talk(allow=("Bash",))
    key = await talk.send("two tools", counting_tool(30.0), told=counting_tool(30.0))
    deaths = 0
    while not talk.finals(key) and deaths < 3:
        await until(
            lambda: len(talk.counters()) > deaths or talk.finals(key),  # noqa: B023
            within_s=NEWS_S,
            what="the side effect of another tool",
        )
        if talk.finals(key):
            break
        seen = len(talk.view.events)
        talk.strike("claude")
        deaths += 1
        await talk.until("notice", after=seen)
    state = await talk.outcome(key)
    stage.check(state == "unknown", f"the message ended as {state}, not unknown")
    stage.check(deaths == 2, f"{deaths} deaths in tools of one message, not 2, came before the user was asked")
    stage.check(talk.view.of("notice", code="agent.unknown_outcome"), "the user was not asked")
    await talk.goes_on()
    return f"after {deaths} deaths the user is asked"


async def _kill_in_two_answers(victim: str, stage: Stage) -> str:
    """The second process of a message has to be told again: what the first one stored is no answer."""
    talk = await stage.talk()
    key = await talk.send("killed twice", {**TEXT, "words": 60}, told={**TEXT, "words": 60})
    for _ in range(2):
        begun_s = time.monotonic()
        await until(
            lambda: talk.finals(key) or talk.view.last_text_s > begun_s,  # noqa: B023
            within_s=NEWS_S,
            what="text",
        )
        await stage.pause(0.0, 0.6)
        if talk.finals(key):
            break
        seen = len(talk.view.events)
        talk.strike(victim)
        await talk.until("notice", after=seen)
    state = await talk.outcome(key)
    stage.check_outcome(talk, state, words(60).replace("w", "s"))
    await talk.goes_on()
    return state


EXPERIMENTS: Final = (
    *(
        Experiment(
            f"phase.{phase.id}.{victim}",
            f"kill -9 of the {victim} while {phase.moment}",
            "the turn goes on under its keeper; answered once" if victim == "daemon" else phase.expected,
            partial(_kill_at, phase, victim),
        )
        for phase in PHASES
        for victim in VICTIMS
    ),
    *(
        Experiment(
            f"phase.background-task.{victim}",
            f"kill -9 of the {victim} while a task of claude runs in the background",
            "the task goes on and its end is noticed"
            if victim == "daemon"
            else "the task is ended; the user is told, and claude; the next message is answered",
            partial(_kill_with_background_task, victim),
        )
        for victim in VICTIMS
    ),
    *(
        Experiment(
            f"phase.streaming.{victim}-again",
            f"kill -9 of the {victim} while text is being streamed, and again in the next try",
            "the message is sent again; the second time claude, which noted it as unanswered, is told; answered once",
            partial(_kill_in_two_answers, victim),
        )
        for victim in ("keeper", "claude")
    ),
    Experiment(
        "phase.tool-running.claude-again",
        "kill -9 of claude in a tool, and again in the next tool of the same message",
        "no tool is run again; claude is told of the first death, the user is asked about the second",
        _kill_in_two_tools,
    ),
)
