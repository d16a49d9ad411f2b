"""Makes the events of a stretch of claude's output once more, as they were made the first time (INV-6).

The session's state at the beginning of the stretch is known, and deciding is a pure function of it and the output: so
the same events come in the same order. Where some of them are still known, these tell whether that is true.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from random import Random

import msgspec
from msgspec.structs import replace as change

from betcode.core.inputs import Saw
from betcode.core.instant import Instant
from betcode.core.life import Process, Session
from betcode.core.messages import judge
from betcode.core.rescue.weaving import content_of
from betcode.core.session import step
from betcode.core.transcript import Transcript
from betcode.model.events import Event
from betcode.model.facts import Fact, Lifecycle, TurnResult
from betcode.model.rows import Message, Permission
from betcode.model.states import MessageState

Facts = Iterable[list[Fact]]
"""What each line of a stretch says."""


def warm(transcript: Transcript, lines: Facts) -> None:
    """Bring a transcript to where the stretch begins: which blocks are open there."""
    for facts in lines:
        transcript.read(facts)


def in_run(session: Session, run: int) -> Session:
    """The session at the beginning of this run, if it is a newer one than the one it knows."""
    if run == session.run:
        return session
    return replace(session, run=run, offset=0, checkpoint=0, answers=(), process=Process.READY, turn=None, cli_state="")


@dataclass(frozen=True, slots=True)
class Made:
    """What a stretch of output made."""

    events: list[Event]
    """With the numbers that follow on the session's."""
    rows: list[Message | Permission]
    """Messages and questions that it brought further, each in all its states."""
    ended: dict[str, MessageState]
    """Messages that claude worked on, by uuid, with what became of them as far as it said so."""
    session: Session
    """As it is then."""


def replayed(session: Session, transcript: Transcript, lines: Facts, *, now: Instant, rng: Random) -> Made:
    """What these lines made."""
    events: list[Event] = []
    rows: list[Message | Permission] = []
    ended: dict[str, MessageState] = {}
    for facts in lines:
        for fact, shown in transcript.read(facts):
            decision = step(session, Saw(fact, shown), now, rng)
            events += decision.events
            rows += decision.rows
            session = decision.session
            if isinstance(fact, Lifecycle):
                ended.setdefault(fact.message_id, MessageState.UNKNOWN)
            elif isinstance(fact, TurnResult):
                ended |= dict.fromkeys(fact.message_ids, judge(fact)[1])
    return Made(events, rows, ended, session)


def proved(made: list[Event], known: Mapping[int, bytes], first: int, last: int) -> dict[int, Event]:
    """Those of `made` that are missing between `first` and `last`, by number; empty when they are not proved.

    Args:
        made: by `replayed`, the first of them number `first`.
        known: bodies of the events that are left, by number.
        first, last: the stretch; after the last of `made` may stand what did not come from claude.
    """
    missing = [number for number in range(first, last + 1) if number not in known]
    if not missing or missing[-1] >= first + len(made):
        return {}
    for number, event in enumerate(made, first):
        if number > last:
            break
        if number in known and content_of(msgspec.json.encode(event)) != content_of(known[number]):
            return {}
    return {number: change(made[number - first], seq=number) for number in missing}
