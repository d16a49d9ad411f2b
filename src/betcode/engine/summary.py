"""A session at a glance, as clients list it."""

from __future__ import annotations

from betcode.core.life import Session, state_of
from betcode.engine.feed import Feed
from betcode.engine.ports import Link
from betcode.model.frames import Summary
from betcode.model.states import PermissionState


def summary_of(session: Session, feed: Feed, link: Link | None, place: int = 0) -> Summary:
    """What is committed of it, and the pids of its processes if they live."""
    return Summary(
        id=session.id,
        claude_session_id=session.claude_session_id,
        state=state_of(session),
        epoch=feed.epoch,
        seq=feed.seq,
        keeper_pid=link.keeper_pid if link else None,
        claude_pid=link.claude_pid if link else None,
        dir=session.directory,
        name=session.name,
        reason=session.reason,
        created_at=session.created_at,
        run=session.run,
        waiting=len(session.waiting),
        held=session.held or bool(session.strangers),
        memory_bytes=link.memory_bytes if link else 0,
        place=place,
        questions=sum(p.state is PermissionState.PENDING for p in session.permissions),
    )
