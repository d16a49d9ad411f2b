"""What people do to the queue of a session: stop the running turn, hold what waits, let it go on, cancel it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from betcode.core import foreign, shortfall, silence
from betcode.core.draft import Draft
from betcode.core.effects import StopTurn, Withdraw, Write
from betcode.core.inputs import Clear, Interrupt, Release
from betcode.core.life import GIVEN, Process, Session
from betcode.core.messages import HELD, pump
from betcode.model.facts import ControlAnswer
from betcode.model.rows import Message
from betcode.model.states import MessageState

WITHDRAW = "withdraw:"
"""Beginning of the line id with which a message is taken back; its uuid follows."""


def interrupt(draft: Draft, request: Interrupt) -> None:
    """Stop the running turn and hold what waits."""
    session = draft.session
    turn = session.turn
    if turn is None or session.process is not Process.READY:
        if session.waiting and not session.held and session.turn is None:
            draft.set(held=True)
            draft.tell(f"interrupted by {request.by} before a turn had begun")
            pump(draft)
            draft.reply(request.ticket, held=len(session.waiting))
            return
        draft.refuse(
            request.ticket,
            "session.nothing_to_interrupt",
            "no turn is running",
            "Messages that wait can be cancelled by clearing the queue.",
        )
        return
    if not turn.interrupt:
        given = to_withdraw(session)
        turn = replace(turn, interrupt=f"interrupt:{session.seq}")
        draft.set(turn=turn, interrupted_s=draft.now.steady_s, held=bool(session.waiting or given))
        draft.tell(f"interrupted by {request.by}")
        for message in given:
            draft.do(Write(session.run, f"{WITHDRAW}{message.uuid}", Withdraw(message.uuid)))
        draft.do(Write(session.run, turn.interrupt, StopTurn()))
        pump(draft)
    draft.reply(request.ticket, held=len(draft.session.waiting) + len(to_withdraw(draft.session)))


def to_withdraw(session: Session) -> list[Message]:
    """Messages that claude has beside that of its turn and has not begun: it would begin them after an interrupt."""
    turn = session.turn
    if turn is None or not session.claude.withdraws:
        return []
    return [m for m in session.messages if m.id != turn.message_id and m.state in GIVEN]


def written_again(draft: Draft) -> None:
    """After the link to the keeper came back: repeat the interrupt of a person, and what goes before it."""
    session = draft.session
    if session.turn is None or not session.turn.interrupt:
        return
    if not silence.is_ours(session.turn):
        for message in to_withdraw(session):
            draft.do(Write(session.run, f"{WITHDRAW}{message.uuid}", Withdraw(message.uuid)))
    draft.do(Write(session.run, session.turn.interrupt, StopTurn()))


def on_withdrawn(draft: Draft, fact: ControlAnswer) -> None:
    """claude answered whether it took back a message: then it waits as if it had not been given.

    The same process would drop a copy of it, so it has another uuid from here on.
    """
    shortfall.on_refused(draft, fact, WITHDRAW)
    uuid = fact.request_id.removeprefix(WITHDRAW)
    for message in draft.session.messages:
        if message.uuid == uuid and message.state in GIVEN and fact.body.get("cancelled") is True:
            again: dict[str, Any] = {"attempt": message.attempt + 1, "told": message.said, "run": 0}
            draft.move_message(message, MessageState.QUEUED, HELD, **again)
            draft.set(held=True)


def release(draft: Draft, request: Release) -> None:
    """Let held messages go on."""
    if draft.session.held or draft.session.strangers:
        foreign.release(draft)
        draft.set(held=False)
        draft.tell(f"the queue was released by {request.by}")
    pump(draft)
    draft.reply(request.ticket, waiting=len(draft.session.waiting))


def clear(draft: Draft, request: Clear) -> None:
    """Cancel messages that wait."""
    chosen = [m for m in draft.session.waiting if request.message_id in ("", m.id)]
    for message in chosen:
        draft.move_message(message, MessageState.CANCELLED, f"cancelled by {request.by}")
    if chosen and not draft.session.waiting:
        draft.set(held=False)
    draft.reply(request.ticket, cancelled=[m.id for m in chosen])
