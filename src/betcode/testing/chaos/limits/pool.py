"""The pool of slots and its queue, full: who waits, in which order, who is refused, and what a killed daemon leaves."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Final

from betcode.model import limits
from betcode.model.errors import BetcodeError, Exit
from betcode.model.frames import GetStatus, Interrupt, ListSessions
from betcode.testing.chaos.experiment import Experiment
from betcode.testing.chaos.recovery.daemons import said, streamed
from betcode.testing.chaos.stage import Stage
from betcode.testing.chaos.talk import Talk, counting_tool
from betcode.testing.installation import scripted
from betcode.testing.limits import NEWS_S

SLOTS: Final = 2
QUEUE: Final = 3
"""Where it has to be full."""
FULL: Final = 8
"""Sessions of `pool.full`."""
ASKERS: Final = 5
QUEUED: Final = 3
LONG: Final = 600
"""Words of an answer that is interrupted: 30 s."""
TURNS_S: Final = 120.0
"""For all turns of one experiment, of which two run at a time; they need 15 s on a machine without other work."""
LOOK_S: Final = 0.1
REFUSED_S: Final = 0.1
CONTINUED_S: Final = 1.0
RESTARTED_S: Final = 1.0
FULL_CODE: Final = "session.queue_full"


def bounds(slots: int, **more: object) -> dict[str, str]:
    """The daemon's variables for so many slots. Where a session works on should not depend on this machine."""
    named = {"daemon_slots": slots} | more
    return {f"BETCODE_{name.upper()}": str(value) for name, value in named.items()}


async def pool_of(stage: Stage) -> dict[str, int]:
    """The pool as the daemon shows it."""
    found: dict[str, int] = (await stage.client.request(GetStatus()))["pool"]
    return found


async def places(stage: Stage) -> dict[str, int]:
    """Session -> its place in the queue, of those that wait."""
    found = (await stage.client.request(ListSessions()))["sessions"]
    return {s["id"]: s["place"] for s in found if s["place"]}


async def becomes(stage: Stage, *, within_s: float = NEWS_S, **wanted: int) -> None:
    """Wait until the pool shows these numbers."""
    end_s = time.monotonic() + within_s
    while not wanted.items() <= (seen := await pool_of(stage)).items():
        if time.monotonic() >= end_s:
            raise AssertionError(f"the pool did not come to {wanted} within {within_s:.0f} s; it is {seen}")
        await asyncio.sleep(LOOK_S)


@contextlib.asynccontextmanager
async def queue_watched(stage: Stage) -> AsyncIterator[list[dict[str, int]]]:
    """Looks at the queue all the time; nobody may fall back in it. Yields what is seen."""
    seen: list[dict[str, int]] = []

    async def look() -> None:
        while True:
            seen.append(await places(stage))
            await asyncio.sleep(LOOK_S)

    looking = asyncio.create_task(look())
    try:
        yield seen
    finally:
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking
    for before, after in pairwise(seen):
        back = [s for s in before if s in after and after[s] > before[s]]
        stage.check(not back, f"{back} fell back in the queue: {before}, then {after}")


def order_of(stage: Stage, step: int = 0) -> list[str]:
    """First words of the messages in the order in which the model was asked for this step of them."""
    asked: dict[str, None] = {}
    for request in stage.made.model.stats()["requests"]:
        if not request["background"] and request["step"] == step:
            asked.setdefault(request["prompt"].partition(" @")[0])
    return list(asked)


def check_lived(stage: Stage, slots: int, *, asking: int = 0) -> int:
    """No more claudes lived at once than there are places, and one more for each session that asked a person."""
    allowed = slots * limits.PROCESSES_PER_SLOT + asking
    stage.evidence["claudes_at_once"] = stage.watch.most
    stage.check(stage.watch.most <= allowed, f"{stage.watch.most} claudes lived at the same time, {allowed} may")
    return stage.watch.most


def check_most(stage: Stage, allowed: int) -> int:
    """So many turns, and no more, were answered by the model at the same time."""
    most: int = stage.made.model.stats()["active_max"]
    stage.evidence["answered_at_once"] = most
    stage.check(most <= allowed, f"{most} turns ran at the same time, {allowed} may")
    return most


async def busy(stage: Stage, count: int = LONG) -> list[tuple[Talk, str]]:
    """All slots taken by answers of so many words, which are being streamed."""
    found = []
    for number in range(SLOTS):
        talk = await stage.talk()
        found.append((talk, await talk.send(f"busy {number}", streamed(count))))
    for talk, _ in found:
        await talk.until_words("s", 1)
    return found


async def waiting(stage: Stage, count: int, words: int = 20) -> list[tuple[Talk, str]]:
    """So many sessions behind them in the queue."""
    found = []
    for number in range(count):
        talk = await stage.talk()
        found.append((talk, await talk.send(f"queued {number}", streamed(words))))
    await becomes(stage, working=SLOTS, waiting=count)
    return found


async def ended(stage: Stage, turns: list[tuple[Talk, str]], count: int) -> None:
    """Each of these messages is completed, with one answer of so many words."""
    for talk, key in turns:
        stage.check_outcome(talk, await talk.outcome(key, within_s=TURNS_S), said(count))


async def refused(stage: Stage, talk: Talk, *, what: str = "a message") -> float:
    """A message is refused since the queue is full; seconds until its sender was told."""
    begun_s = time.monotonic()
    try:
        await talk.send(what, streamed(20))
    except BetcodeError as error:
        took_s = time.monotonic() - begun_s
        stage.check(error.code == FULL_CODE, f"refused as {error.code}, not {FULL_CODE}: {error}")
        stage.check(error.exit_status == Exit.RATE_LIMITED, f"refused with exit status {error.exit_status}")
        stage.check(error.hint, "the refusal says nothing of what to do")
        return took_s
    raise AssertionError("a full queue took one more session")


# --- experiments --------------------------------------------------------------------------------------------------


async def _full(stage: Stage) -> str:
    talks = [await stage.talk() for _ in range(FULL)]
    turns = [(talk, await talk.send(f"turn {n}", streamed(60))) for n, talk in enumerate(talks)]
    async with queue_watched(stage) as seen:
        now = await places(stage)
        expected = {talk.session: n for n, talk in enumerate(talks[FULL - len(now) :], 1)}
        stage.check(len(now) >= FULL // 2, f"only {len(now)} of {FULL} sessions wait for a slot")
        stage.check(now == expected, f"the places are {now}, not as they came: {expected}")
        told = await asyncio.to_thread(stage.command(), "sessions", "queue", talks[-1].session)
        stage.check("waits for a slot: place" in told.out, f"`sessions queue` does not tell the place: {told.out!r}")
        told = await asyncio.to_thread(stage.command(), "status")
        stage.check(f"of {SLOTS} slots taken" in told.out, f"`status` does not tell of the slots: {told.out!r}")
        await ended(stage, turns, 60)
    order = order_of(stage)
    late = [word for n, word in enumerate(order) if abs(n - int(word.split()[1])) > SLOTS]  # starts differ in length
    stage.check(not late, f"{late} did not come in the order in which they were sent: {order}")
    most = check_most(stage, SLOTS)
    check_lived(stage, SLOTS)
    await becomes(stage, working=0, waiting=0)
    stage.evidence["looks_at_the_queue"] = len(seen)
    return f"places {sorted(now.values())}, {most} turns at once, in order: {', '.join(w.split()[1] for w in order)}"


async def _queue_full(stage: Stage) -> str:
    long = await busy(stage)
    behind = await waiting(stage, QUEUE)
    late = await stage.talk()
    took_s = max([await refused(stage, late) for _ in range(5)])
    stage.took(took_s, target_s=REFUSED_S)
    script = scripted("by command", {"text": "by command"})
    done = await asyncio.to_thread(stage.command(), "send", late.session, script)
    stage.check(done.status == Exit.RATE_LIMITED, f"`betcode send` ended with {done.status}: {done.err}")
    stage.check("as many as may wait" in done.err, f"`betcode send` does not say why: {done.err!r}")
    another = behind[0][0]
    behind.append((another, await another.send("its second", streamed(20, prefix="z"))))  # it waits already
    held = await late.stored()
    stage.check(not [e for e in held if e["kind"] == "user_message"], "a refused message stands in the session")
    stage.check((await pool_of(stage))["waiting"] == QUEUE, f"the queue is {await pool_of(stage)}")
    for talk, _ in long:
        await stage.client.request(Interrupt(session=talk.session))
    for talk, key in long:
        stage.check(await talk.outcome(key) == "cancelled", "an interrupted message was not cancelled")
    key = await _accepted(stage, late)
    stage.check_outcome(late, await late.outcome(key, within_s=TURNS_S), said(20))
    await ended(stage, behind[:-1], 20)
    second = await another.outcome(behind[-1][1], within_s=TURNS_S)
    stage.check_outcome(another, second, said(20, "z"))
    check_most(stage, SLOTS)
    await becomes(stage, working=0, waiting=0)
    return f"refused after {1000 * took_s:.0f} ms, 6 times; later accepted and answered; nothing lost"


async def _accepted(stage: Stage, talk: Talk) -> str:
    """Send again and again, as a client does that is told to come later; the key once it is accepted."""
    end_s = time.monotonic() + TURNS_S
    while True:
        try:
            return await talk.send("once more", streamed(20))
        except BetcodeError as error:
            if error.code != FULL_CODE or time.monotonic() >= end_s:
                raise
        await asyncio.sleep(LOOK_S)


async def _asking(stage: Stage, count: int) -> list[tuple[Talk, str]]:
    """So many sessions with an open question; after it the answer is 20 words long."""
    found = []
    for number in range(count):
        talk = await stage.talk()
        found.append((talk, await talk.send(f"asks {number}", counting_tool(), streamed(20))))
    for talk, _ in found:
        await talk.until("permission_asked", within_s=TURNS_S)
    return found


async def _waiting_for_people(stage: Stage) -> str:
    asks = await _asking(stage, ASKERS)
    await becomes(stage, working=0, waiting=0)
    others = []
    for number in range(2 * SLOTS):
        talk = await stage.talk()
        others.append((talk, await talk.send(f"works {number}", streamed(20))))
    await ended(stage, others, 20)
    check_most(stage, SLOTS)
    open_now = [talk for talk, key in asks if not talk.finals(key)]
    stage.check(len(open_now) == ASKERS, f"only {len(open_now)} of {ASKERS} questions stayed open")
    long = await busy(stage)
    queued = await waiting(stage, QUEUED)
    answered_s = time.monotonic()
    for talk, _ in asks:
        assert await talk.allow(), "a question did not wait for its answer"
    await asks[0][0].until("tool_result")
    stage.took(time.monotonic() - answered_s, target_s=CONTINUED_S)
    stage.check(not any(talk.finals(key) for talk, key in long), "no slot was taken when the answers came")
    await asks[0][0].outcome(asks[0][1], within_s=TURNS_S)  # beyond the slots; the others need one of these
    for talk, _ in long:
        await stage.client.request(Interrupt(session=talk.session))
    await ended(stage, asks, 20)
    await ended(stage, queued, 20)
    _check_answers_first(stage)
    check_most(stage, SLOTS + 1)
    check_lived(stage, SLOTS, asking=ASKERS)
    stage.check(sum(asks[0][0].counters().values()) == ASKERS, "not each tool ran once")
    await becomes(stage, working=0, waiting=0)
    return f"{ASKERS} questions held no slot; answered beside {SLOTS} running turns they went on before {QUEUED} others"


def _check_answers_first(stage: Stage) -> None:
    """The model was asked for the rest of each answered turn before it was asked for any of the queued ones."""
    asked = [r for r in stage.made.model.stats()["requests"] if not r["background"]]
    rest = [n for n, r in enumerate(asked) if r["prompt"].startswith("asks ") and r["step"] == 1]
    others = [n for n, r in enumerate(asked) if r["prompt"].startswith("queued ")]
    stage.check(len(rest) == ASKERS and len(others) == QUEUED, f"{len(rest)} answered turns, {len(others)} queued ones")
    overtaken = [n for n in rest if n > min(others, default=0)]
    stage.check(not overtaken, f"{len(overtaken)} answered turns were overtaken by sessions of the queue")


async def _daemon_killed(stage: Stage) -> str:
    [(asks, question)] = await _asking(stage, 1)
    long = await busy(stage, 160)
    behind = await waiting(stage, QUEUE)
    late = await stage.talk()
    await refused(stage, late)
    claudes = [talk.run() for talk, _ in long]
    took_s = []
    for _ in range(2):  # the second daemon has to build the same queue again
        await stage.pause(0.0, 0.5)
        took_s.append(await stage.daemon_answers(stage.kill_daemon()))
    stage.took(max(took_s), target_s=RESTARTED_S)
    seen = await pool_of(stage)
    stage.check(seen["working"] <= SLOTS, f"more work than there are slots: {seen}")
    assert await asks.allow(), "the question did not survive the daemon"
    begun_s = time.monotonic()
    await ended(stage, [(asks, question)], 20)
    await ended(stage, long, 160)
    stage.check([talk.run() for talk, _ in long] == claudes, "a claude was replaced although only the daemon died")
    await ended(stage, behind, 20)
    stage.evidence["all_ended_s"] = round(time.monotonic() - begun_s, 1)
    await becomes(stage, working=0, waiting=0)
    await late.goes_on()
    most = check_most(stage, SLOTS + 1)
    check_lived(stage, SLOTS, asking=1)
    return f"all {SLOTS + QUEUE + 1} messages answered once, {most} turns at once, nobody waits any more"


POOL: Final[tuple[Experiment, ...]] = (
    Experiment(
        "pool.full",
        f"{FULL} sessions with a message each on {SLOTS} slots",
        "those that wait are told their places; all are answered in the order in which they came, never more at once",
        _full,
        deadline_s=TURNS_S + NEWS_S,
        env=bounds(SLOTS),
    ),
    Experiment(
        "pool.queue-full",
        f"messages of one session more than {SLOTS} slots and a queue for {QUEUE} take",
        f"refused at once with {FULL_CODE}, by the command with exit status 4; nothing is lost; later accepted",
        _queue_full,
        deadline_s=TURNS_S + NEWS_S,
        env=bounds(SLOTS, daemon_queue=QUEUE),
    ),
    Experiment(
        "pool.waiting-for-people",
        f"{ASKERS} sessions ask a person, beside working ones; answered when all slots are taken and others wait",
        "who asks holds no slot; who has its answer goes first, one beyond the slots",
        _waiting_for_people,
        deadline_s=TURNS_S + NEWS_S,
        env=bounds(SLOTS),
    ),
    Experiment(
        "pool.daemon-killed",
        "kill -9 of the daemon, twice, with all slots taken, a full queue and an open question",
        "each message is answered once; afterwards nobody holds a slot or waits for one",
        _daemon_killed,
        deadline_s=TURNS_S + NEWS_S,
        env=bounds(SLOTS, daemon_queue=QUEUE),
    ),
)
