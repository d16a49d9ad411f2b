"""A session at a glance, as clients list it."""

from __future__ import annotations

from betcode.core.instant import iso
from betcode.core.life import Session, state_of
from betcode.engine.feed import Feed
from betcode.engine.ports import Link
from betcode.engine.slots import Seat
from betcode.model.frames import Summary
from betcode.model.states import PermissionState
from betcode.model.upstream import ApiWait, Passage


def summary_of(session: Session, feed: Feed, link: Link | None, seat: Seat) -> Summary:
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
        place=seat.place,
        api=waiting_of(session.passage) if seat.access.waits else None,
        memory_bytes=link.memory_bytes if link else 0,
        questions=sum(p.state is PermissionState.PENDING for p in session.permissions),
    )


def waiting_of(passage: Passage) -> ApiWait | None:
    """What it waits for at its upstream; None when nothing keeps it."""
    if passage.begins:
        return None
    retry_at = iso(passage.until_unix_s) if passage.until_unix_s else ""
    return ApiWait(code=passage.code, reason=passage.why, retry_at=retry_at, place=passage.place)
