"""Known bugs that can be put into the product for a while, to see whether the simulator finds them.

Only this file knows of them: each replaces a name in a module of the product, or of the model of a process, and puts
it back. A simulator that finds nothing proves something only if it finds these.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from msgspec.structs import replace as change

from betcode.client import session_view
from betcode.core import ending, messages, recovery, silence
from betcode.core.draft import Draft
from betcode.core.inputs import Ended, Submit
from betcode.core.life import Session
from betcode.core.recovery import Moment, Stored, Way
from betcode.core.turn import Turn
from betcode.core.upstream import Upstream
from betcode.engine import committer, conversation, feed, requests
from betcode.engine.admission import Pace
from betcode.keeper.decide import StdinBook
from betcode.model.conversation import Conversation
from betcode.model.frames import Attach, Send
from betcode.model.policy import Policy
from betcode.model.rows import EventRow, Message, Transaction
from betcode.testing.simulator import keeper, store


@dataclass(frozen=True, slots=True)
class Plant:
    """One bug: where it is, what it does, which invariant it breaks, and how it is put in."""

    name: str
    place: str
    sentence: str
    breaks: str
    put_in: Callable[[], AbstractContextManager[None]]


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = owner.__dict__[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


# --- core ---------------------------------------------------------------------------------------------------------


def _tool_turn_repeated() -> AbstractContextManager[None]:
    way = ending._way

    def forgetful(draft: Draft, message: Message, news: Ended) -> tuple[Moment, Way]:
        moment, found = way(draft, message, news)
        return (moment, found) if found is Way.SEND else (Moment.ANSWERING, Way.RESEND)

    return _replaced(ending, "_way", forgetful)


def _rerun_without_proof() -> AbstractContextManager[None]:
    def yes(_moment: Moment, _message: Message, _turn: Turn | None, _known: Conversation) -> Stored:
        return Stored.YES

    return _replaced(recovery, "stored_of", yes)


def _silence_for_ever() -> AbstractContextManager[None]:
    def never(_session: Session, _policy: Policy) -> float | None:
        return None

    return _replaced(silence, "due_s", never)


def _restarted_at_once() -> AbstractContextManager[None]:
    def none_s(_attempt: int, *, first_s: float, max_s: float, rng: Random) -> float:
        return rng.uniform(0.0, min(first_s, max_s) / 100)

    return _replaced(ending, "delay_s", none_s)


def _key_forgotten() -> AbstractContextManager[None]:
    submit = messages.submit

    def forgetful(draft: Draft, request: Submit) -> None:
        submit(draft, replace(request, known=None))

    return _replaced(messages, "submit", forgetful)


def _waits_for_the_api_for_ever() -> AbstractContextManager[None]:
    def never(_upstream: Upstream, _now_s: float) -> float | None:
        return None

    return _replaced(Upstream, "due_s", never)


def _let_in_while_open() -> AbstractContextManager[None]:
    def nobody(_upstream: Upstream) -> None:
        return None

    return _replaced(Upstream, "_stop_all", nobody)


# --- engine -------------------------------------------------------------------------------------------------------


def _shown_before_stored() -> AbstractContextManager[None]:
    flush = committer.Committer.flush

    def hasty(self: committer.Committer) -> None:
        self._feed.publish(tuple(e for e in self._pending.events if e.seq > self._feed.seq))
        self._feed.wake()
        flush(self)

    return _replaced(committer.Committer, "flush", hasty)


def _stored_events_skipped() -> AbstractContextManager[None]:
    recent = feed.Feed.recent

    def short(self: feed.Feed, after: int) -> list[EventRow] | None:
        if self._window and self._window[0].seq == after + 2:
            return recent(self, after + 1)
        return recent(self, after)

    return _replaced(feed.Feed, "recent", short)


def _cursor_ignored() -> AbstractContextManager[None]:
    attach = conversation.Conversation._attach

    async def from_end(self: conversation.Conversation, request: Attach) -> dict[str, Any]:
        return await attach(self, change(request, from_end=request.seq > 0))

    return _replaced(conversation.Conversation, "_attach", from_end)


def _message_to_another_session() -> AbstractContextManager[None]:
    send = requests.Requests._send

    async def astray(self: requests.Requests, request: Send, client: str, trace_id: str, pace: Pace) -> dict[str, Any]:
        newest = self._registry.summaries(limit=1)
        return await send(self, change(request, session=newest[0].id) if newest else request, client, trace_id, pace)

    return _replaced(requests.Requests, "_send", astray)


def _sessions_wait_for_each_other() -> AbstractContextManager[None]:
    busy: dict[int, str] = {}
    breathe = committer.Committer.breathe

    async def jealous(self: committer.Committer, work: int) -> None:
        """Go on only when no other session of this daemon has a claude that is being started."""
        world, own = id(self._world), self._row()
        starting = own.life["process"] in ("starting", "unready")
        if starting:
            busy.setdefault(world, own.id)
        elif busy.get(world) == own.id:
            del busy[world]
        while busy.get(world, own.id) != own.id:  # noqa: ASYNC110 - it is a bug, after all
            await asyncio.sleep(0.1)
        await breathe(self, work)

    return _replaced(committer.Committer, "breathe", jealous)


# --- keeper -------------------------------------------------------------------------------------------------------


class _ForgetfulBook(StdinBook):
    """Forgets what it wrote for a daemon when that daemon goes away."""

    def asker_gone(self, asker: int) -> None:
        super().asker_gone(asker)
        for line_id in [line_id for line_id in self._lines if line_id not in self._queue]:
            del self._lines[line_id]


def _line_written_twice() -> AbstractContextManager[None]:
    return _replaced(keeper, "StdinBook", _ForgetfulBook)


def _lock_not_inherited() -> AbstractContextManager[None]:
    return _replaced(keeper.ModelKeeper, "holds_lock", property(lambda self: self.alive))


# --- store --------------------------------------------------------------------------------------------------------


def _position_stored_late() -> AbstractContextManager[None]:
    apply = store.ModelDisk.apply

    def late(self: store.ModelDisk, transaction: Transaction) -> None:
        row = transaction.session
        old = self._ledger.sessions.get(row.id)
        ends = any(event.kind == "turn_ended" for event in transaction.events)
        if old is not None and old.run == row.run and not ends:
            row = change(row, offset=old.offset, checkpoint=old.checkpoint)
        apply(self, change(transaction, session=row))

    return _replaced(store.ModelDisk, "apply", late)


def _acknowledged_before_stored() -> AbstractContextManager[None]:
    def hasty(self: store.ModelStore) -> None:
        group, self._queue = self._queue, []
        for transaction, done in group:
            self._tell(done, None)
            self._stage.later(0.01, self._apply, transaction)

    return _replaced(store.ModelStore, "_write", hasty)


# --- client -------------------------------------------------------------------------------------------------------


def _replayed_event_shown_twice() -> AbstractContextManager[None]:
    event = session_view.SessionView._event

    def trusting(self: session_view.SessionView, raw: bytes, news: list[session_view.News]) -> bool:
        seq = session_view._decode(raw)["seq"]
        self.seq = min(self.seq, seq - 1)
        return event(self, raw, news)

    return _replaced(session_view.SessionView, "_event", trusting)


PLANTS: dict[str, Plant] = {
    plant.name: plant
    for plant in (
        Plant(
            "tool-turn-repeated",
            "core",
            "the core forgets the tool calls of a turn when claude ends in it, and sends its message again",
            "INV-1",
            _tool_turn_repeated,
        ),
        Plant(
            "rerun-without-proof",
            "core",
            "claude is left to re-run a turn although its transcript lacks the result of a tool that ran",
            "INV-1",
            _rerun_without_proof,
        ),
        Plant(
            "silence-for-ever",
            "core",
            "a claude that says nothing in the middle of a turn is waited for without an end",
            "liveness",
            _silence_for_ever,
        ),
        Plant(
            "restarted-at-once",
            "core",
            "claude is started again a few milliseconds after each crash",
            "INV-5",
            _restarted_at_once,
        ),
        Plant(
            "key-forgotten",
            "messages",
            "an idempotency key is not looked up in the store, only among the messages that are open",
            "INV-1",
            _key_forgotten,
        ),
        Plant(
            "waits-for-the-api-for-ever",
            "core",
            "nobody looks whether the pause of an upstream is over",
            "liveness",
            _waits_for_the_api_for_ever,
        ),
        Plant(
            "let-in-while-open",
            "core",
            "a session that was let in and has not begun may begin although the upstream has opened since",
            "RL-5",
            _let_in_while_open,
        ),
        Plant(
            "shown-before-stored",
            "engine",
            "events are published when they are decided, not when they are committed",
            "INV-2",
            _shown_before_stored,
        ),
        Plant(
            "stored-events-skipped",
            "engine",
            "the feed leaves one event out when a client's next event is just older than its window",
            "INV-2",
            _stored_events_skipped,
        ),
        Plant(
            "cursor-ignored",
            "engine",
            "a client that comes back is sent what is new from then on, not what follows its cursor",
            "INV-2",
            _cursor_ignored,
        ),
        Plant(
            "message-to-another-session",
            "engine",
            "each message goes to the session that was made last",
            "INV-1",
            _message_to_another_session,
        ),
        Plant(
            "sessions-wait-for-each-other",
            "engine",
            "while one session's claude is being started the loops of the others stand still",
            "INV-4",
            _sessions_wait_for_each_other,
        ),
        Plant(
            "line-written-twice",
            "keeper",
            "the keeper forgets which lines it wrote when the daemon that asked for them goes away",
            "INV-1",
            _line_written_twice,
        ),
        Plant(
            "lock-not-inherited",
            "keeper",
            "only the keeper holds the session's lock, claude does not",
            "INV-7",
            _lock_not_inherited,
        ),
        Plant(
            "position-stored-late",
            "store",
            "the place up to which claude's output was read is stored at a turn's end, not with its events",
            "INV-2",
            _position_stored_late,
        ),
        Plant(
            "acknowledged-before-stored",
            "store",
            "a commit is reported as done a moment before it is",
            "INV-1",
            _acknowledged_before_stored,
        ),
        Plant(
            "replayed-event-shown-twice",
            "client",
            "the client shows an event that it has shown before when it comes again",
            "INV-2",
            _replayed_event_shown_twice,
        ),
    )
}


def planted(name: str) -> AbstractContextManager[None]:
    """The product with this bug in it, until the end of the `with`. Raises KeyError."""
    return PLANTS[name].put_in()
