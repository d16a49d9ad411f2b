"""Forty open sessions on four slots: each comes to its ten turns, none waits much longer than those before it need.

Every session has a turn at the beginning and one at the end, all forty at once. Between them people come in groups that
fit the places for processes, and each sends all its messages at once. So claude is started three times for a session,
not for each turn; and a slot that is kept until a session has no more messages shows.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import Final

from betcode.model import limits
from betcode.testing.chaos.experiment import Experiment
from betcode.testing.chaos.limits.pool import becomes, bounds, check_lived, check_most
from betcode.testing.chaos.recovery.daemons import said, streamed
from betcode.testing.chaos.stage import Stage
from betcode.testing.chaos.talk import Talk

SESSIONS: Final = 40
SLOTS: Final = 4
PLACES: Final = SLOTS * limits.PROCESSES_PER_SLOT
TURNS: Final = 10
WORDS: Final = 10
GIVEN: Final = ("delivering", "delivered", "started")
"""States of a message that claude has, or is being given."""
SLACK: Final = 2 * SLOTS
"""Turns that may begin before one that came first: those on the other slots while its process ends or lacks a place."""
IDLE_S: Final = 8.0
"""A process that rests so long is given back."""
OUTCOME_S: Final = 240.0
"""For a turn behind 39 others; all need a start of claude, 1 s of processor each."""
WAIT_S: Final = 40.0
"""The longest wait: 40 starts, two at a time, and 10 turns of half a second on each slot."""
DEADLINE_S: Final = 420.0


@dataclass(slots=True)
class Person:
    """One of the forty."""

    talk: Talk
    keys: list[str] = field(default_factory=list)
    ready_s: list[float] = field(default_factory=list)
    """When each of its messages was sent."""

    async def send(self, words: str) -> None:
        """Send a message."""
        self.ready_s.append(time.monotonic())
        self.keys.append(await self.talk.send(words, streamed(WORDS)))

    async def answered(self) -> None:
        """Wait until all messages have their outcome."""
        for key in self.keys:
            assert await self.talk.outcome(key, within_s=OUTCOME_S) == "completed", "a turn was not completed"


@dataclass(frozen=True, slots=True)
class Wait:
    """One message's wait for a slot: from the moment when nothing but a slot was missing."""

    who: int
    ready_s: float
    granted_s: float


def waits_of(number: int, person: Person) -> list[Wait]:
    """How long each of its messages waited; the slot was there when claude was started for it, or handed it."""
    found: list[Wait] = []
    free_s = 0.0
    starts_s: float | None = None
    sent = dict(zip(person.keys, person.ready_s, strict=True))
    for event, moment_s in zip(person.talk.view.events, person.talk.view.moments_s, strict=True):
        if event["kind"] == "status" and event["state"] == "SPAWNING":
            starts_s = moment_s
        elif event["kind"] != "message_state":
            continue
        elif event["state"] in GIVEN and event["message_id"] in sent:
            granted_s = moment_s if starts_s is None else starts_s
            found.append(Wait(number, min(granted_s, max(free_s, sent.pop(event["message_id"]))), granted_s))
            starts_s = None
        elif event["state"] == "completed":
            free_s = moment_s
    return found


async def _forty(stage: Stage) -> str:
    burst = max(1, round(TURNS * stage.scale) - 2)
    people = [Person(await stage.talk()) for _ in range(SESSIONS)]
    bounds_s: list[tuple[float, int]] = []
    """Beginning of each phase, and how many people it has."""

    async def phase(group: list[Person], messages: int, name: str) -> None:
        bounds_s.append((time.monotonic(), len(group)))
        for number in range(messages):
            for person in group:
                await person.send(f"{name} {number}")
        await asyncio.gather(*(person.answered() for person in group))

    await phase(people, 1, "first")
    for first in range(0, SESSIONS, PLACES):
        await phase(people[first : first + PLACES], burst, f"group {first // PLACES}")
    await phase(people, 1, "last")
    begun_s = time.monotonic()
    await becomes(stage, processes=0, working=0, waiting=0)
    stage.evidence["processes_given_back_s"] = round(time.monotonic() - begun_s, 1)
    return _judge(stage, people, bounds_s, turns=burst + 2)


def _judge(stage: Stage, people: list[Person], phases: list[tuple[float, int]], *, turns: int) -> str:
    for number, person in enumerate(people):
        answers = person.talk.answers(said(WORDS))
        stage.check(answers == turns, f"session {number} has {answers} answers for {turns} messages")
    waits = [wait for number, person in enumerate(people) for wait in waits_of(number, person)]
    stage.check(len(waits) == turns * len(people), f"{len(waits)} of {turns * len(people)} turns were seen to begin")
    granted = sorted(wait.granted_s for wait in waits)
    more: list[int] = []
    """For each wait, how many more turns began in it than there are people in the crowd."""
    for wait in waits:
        before = bisect_left(granted, wait.granted_s) - bisect_right(granted, wait.ready_s)
        crowd = [size for begun_s, size in phases if begun_s <= wait.ready_s][-1]
        more.append(before - crowd)
    starved = sum(count > SLACK for count in more)
    stage.check(not starved, f"{starved} turns had to wait for up to {max(more)} more than there are people")
    longest_s = max(wait.granted_s - wait.ready_s for wait in waits)
    stage.took(longest_s, target_s=WAIT_S)
    most = check_most(stage, SLOTS)
    lived = check_lived(stage, SLOTS)
    starts = len(stage.made.runs())
    stage.evidence |= {
        "longest_wait_s": round(longest_s, 2),
        "waits_s": [round(w, 2) for w in sorted((w.granted_s - w.ready_s for w in waits), reverse=True)[:10]],
        "claudes_started": starts,
        "more_turns_than_people_before_one": max(more),
    }
    return (
        f"{len(waits)} turns of {len(people)} sessions; the longest wait was {longest_s:.1f} s; {most} turns and "
        f"{lived} claudes at once, {starts} started, all given back"
    )


CROWD: Final[tuple[Experiment, ...]] = (
    Experiment(
        "pool.forty-on-four",
        f"{SESSIONS} open sessions with {TURNS} messages each on {SLOTS} slots and {PLACES} places for processes",
        f"all answered, nobody starves, never more than {SLOTS} turns and {PLACES} claudes; idle ones are given back",
        _forty,
        deadline_s=DEADLINE_S,
        scaled=True,
        apart=True,
        env=bounds(SLOTS, supervision_idle_process_s=IDLE_S),
    ),
)
