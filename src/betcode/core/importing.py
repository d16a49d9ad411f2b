"""A session that begins with a conversation that claude had without us."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from msgspec.structs import replace as change

from betcode.core.life import Session
from betcode.model.events import Event, Notice, UserMessage


def with_history(session: Session, history: Sequence[Event]) -> tuple[Session, list[Event]]:
    """The session after these events, numbered, and a notice that says where they are from. Without any, as it is."""
    if not history:
        return session, []
    messages = sum(isinstance(event, UserMessage) for event in history)
    notice = Notice(
        severity="info",
        code="session.imported",
        message=f"taken over from claude's own transcript, with {messages} messages; the next one goes on there",
        hint="What only claude's screen has shown, such as questions for permission, is not in a transcript.",
    )
    numbered = [
        change(event, epoch=session.epoch, seq=seq, time=event.time or session.created_at)
        for seq, event in enumerate([*history, notice], session.seq + 1)
    ]
    return replace(session, seq=numbered[-1].seq), numbered
