"""Ten sessions at work while daemon, claudes and keepers are killed at random moments."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from betcode.keeper.tree import kill
from betcode.model.frames import Release, Retry
from betcode.testing.chaos.experiment import Experiment
from betcode.testing.chaos.stage import Stage
from betcode.testing.chaos.talk import Talk, counting_tool
from betcode.testing.installation import until, words
from betcode.testing.limits import NEWS_S

SESSIONS: Final = 10
STORM_S: Final = 120.0
"""Of kills, at SCALE=1."""
PAUSE_S: Final = (0.3, 2.5)
"""Between two kills: ten CLIs on two cores need about a second each to start again."""
VICTIMS: Final = ("daemon", "claude", "claude", "keeper")
AFTER_S: Final = 75.0
"""For all messages to come to an end after the last kill."""
QUIET_S: Final = 20.0
"""Target of that: a session may wait for its last delay, and ten claudes start, three at a time."""
CRASHES_LOOK_S: Final = 0.5
WORDS: Final = 20


@dataclass(slots=True)
class Person:
    """Keeps one session busy: sends, allows what is asked, lets held messages go on, retries a crashed session."""

    stage: Stage
    talk: Talk
    name: str
    number: int = 0
    with_tools: set[str] = field(default_factory=set)
    """Keys of messages that call tools."""
    retried: int = 0

    async def say(self) -> str:
        """Text alone; a tool that a rule allows or that is asked for; two tools. Each answer is told apart."""
        words = f"{self.prefix()} message"
        last = {"words": WORDS, "prefix": f"{self.prefix()}z", "delta_ms": 60}
        match self.stage.rng.randrange(4):
            case 0:
                key = await self.talk.send(words, counting_tool(self.stage.rng.uniform(0.0, 1.0)), last, told=last)
            case 1:
                key = await self.talk.send(words, counting_tool(), counting_tool(0.3), last, told=last)
            case _:
                return await self.talk.send(words, last, told=last)
        self.with_tools.add(key)
        return key

    def prefix(self) -> str:
        """Of the words of the present message."""
        return f"{self.name}n{self.number}"

    async def live(self, until_s: float) -> None:
        """Send one message after the other until then, and see each to its end."""
        while time.monotonic() < until_s:
            self.number += 1
            key = await self.say()
            while not self.talk.finals(key) and time.monotonic() < until_s:
                await self.care()
                await asyncio.sleep(CRASHES_LOOK_S)

    async def care(self) -> None:
        """Do what a person does about questions, crashes and held messages."""
        await self.talk.allow()
        seen = await self.talk.look()
        if seen["state"] == "CRASHED":
            self.retried += 1
            await self.stage.client.request(Retry(session=self.talk.session))
        elif seen["held"]:
            await self.stage.client.request(Release(session=self.talk.session))


def _strike(stage: Stage, people: list[Person], killed: Counter[str]) -> None:
    victim = stage.rng.choice(VICTIMS)
    if victim == "daemon":
        killed[victim] += bool(stage.made.kill_daemon())
        return
    talk = stage.rng.choice(people).talk
    if talk.run() is not None:
        killed[victim] += kill(talk.process(victim), signal.SIGKILL)


async def _random_kills(stage: Stage) -> str:
    people = [Person(stage, await stage.talk(allow=("Bash",) if n % 2 else ()), f"p{n}") for n in range(SESSIONS)]
    storm_s = STORM_S * stage.scale
    end_s = time.monotonic() + storm_s
    killed: Counter[str] = Counter()
    lives = [asyncio.create_task(person.live(end_s)) for person in people]
    try:
        await until(lambda: any(p.talk.run() for p in people), within_s=NEWS_S, what="the first claude")
        while time.monotonic() < end_s:
            await stage.pause(*PAUSE_S)
            _strike(stage, people, killed)
            failed = [life.exception() for life in lives if life.done() and not life.cancelled() and life.exception()]
            assert not failed, f"a person failed: {failed[0]!r}"
        await asyncio.gather(*lives)
    finally:
        for life in lives:
            life.cancel()
        await asyncio.gather(*lives, return_exceptions=True)
    quiet_s = time.monotonic()
    await _to_the_end(people)
    stage.took(time.monotonic() - quiet_s, target_s=QUIET_S)
    states = _judge(stage, people)
    stage.evidence |= {"killed": dict(killed), "outcomes": dict(states), "retries": sum(p.retried for p in people)}
    stage.evidence["events"] = sum(len(p.talk.view.events) for p in people)
    stage.evidence["claudes_seen"] = len(stage.watch.claudes)
    for person in people[:3]:
        await person.talk.goes_on()
    calls = len(people[0].talk.counters())
    return (
        f"killed {dict(killed)}; {sum(states.values())} messages: {dict(states)}; {calls} tool calls, none twice; "
        f"{stage.evidence['events']} events"
    )


async def _to_the_end(people: list[Person]) -> None:
    """Every message that was acknowledged comes to its end, with a person's care where that is needed."""
    end_s = time.monotonic() + AFTER_S
    while waiting := [p for p in people if any(not p.talk.finals(key) for key in p.talk.sent)]:
        assert time.monotonic() < end_s, (
            f"no outcome for messages of {[p.name for p in waiting]}: {waiting[0].talk.tail()}"
        )
        for person in waiting:
            await person.care()
        await asyncio.sleep(0.1)


def _judge(stage: Stage, people: list[Person]) -> Counter[str]:
    """One answer to each completed message, none to any other; the rest holds for every experiment (`Stage.close`).

    Only a message whose tool died twice may be left to its user.
    """
    states: Counter[str] = Counter()
    for person in people:
        for number, key in enumerate(person.talk.sent, 1):
            state = person.talk.finals(key)[0]
            states[state] += 1
            allowed = ("completed", "unknown") if key in person.with_tools else ("completed",)
            stage.check(state in allowed, f"{person.name} {number} ended as {state}, not {' or '.join(allowed)}")
            wrong = person.talk.unlike_one_answer(state, words(WORDS).replace("w", f"{person.name}n{number}z"))
            stage.check(not wrong, f"{person.name} {number}: {wrong}")
    return states


EXPERIMENTS: Final = (
    Experiment(
        "random-kills",
        f"ten sessions at work; kill -9 of daemon, claudes and keepers at random for {STORM_S:.0f} s (times SCALE)",
        "nothing acknowledged is lost, no tool call starts twice, no event is lost or doubled, no orphan, never two "
        "claudes on a conversation",
        _random_kills,
        apart=True,
        deadline_s=STORM_S + AFTER_S + 45,
        scaled=True,
        env={"BETCODE_DAEMON_SLOTS": str(SESSIONS)},
    ),
)
