"""Somebody else's claude on the same conversation: the session is held and its people are asked (INV-7).

Two signs: another process that claude's own state files name, and prompts in the transcript that we did not give. A
second claude sees nothing of what the first one says, so the history would fork: nothing is handed over until a person
says `release`. A process of ours that runs meanwhile finishes its turn and is ended, so that the next one knows what
was said elsewhere. What a person has released is not asked about again.
"""

from __future__ import annotations

from betcode.core.draft import Draft
from betcode.core.inputs import Sighted
from betcode.core.life import Process, Session
from betcode.core.stopping import end_process
from betcode.model import limits
from betcode.model.other_claude import OtherClaude


def name_of(other: OtherClaude) -> str:
    """How a process is remembered: a pid alone could belong to the next process."""
    return f"{other.pid}@{other.started_unix_s:.3f}"


def strange(session: Session, sight: Sighted) -> tuple[tuple[OtherClaude, ...], tuple[str, ...]]:
    """The processes and prompts of `sight` that nobody has released yet.

    Prompts older than the first of ours that is remembered say nothing: with many messages they are forgotten.
    """
    others = tuple(o for o in sight.others if name_of(o) not in session.released)
    first = next((n for n, prompt in enumerate(sight.prompts) if prompt in session.given), None)
    after = sight.prompts[first:] if first is not None else ()
    return others, tuple(p for p in after if p not in session.given and p not in session.released)


def on_sight(draft: Draft, sight: Sighted) -> None:
    """Compare with what is known; tell and hold when there is something new."""
    session = draft.session
    others, prompts = strange(session, sight)
    found = (*(name_of(o) for o in others), *prompts)
    if not found or session.closing or session.closed:
        return
    if set(found) <= set(session.strangers):
        return
    draft.set(strangers=tuple(dict.fromkeys((*session.strangers, *found)))[-limits.STRANGERS_KEPT :])
    what = ", ".join(f"process {o.pid}{f' in {o.directory}' if o.directory else ''}" for o in others)
    what = f"another claude works on this conversation ({what})" if others else "somebody spoke with claude elsewhere"
    draft.tell(f"held: {what}")
    if not session.strangers:  # else its people have been asked already, and have not answered
        draft.notice(
            "warning",
            "session.foreign_use",
            f"{what}; nothing more is handed over here",
            "Finish there and close it, then let this session go on, with what was said there: "
            f"betcode sessions release {session.id}",
        )
    retire(draft)


def retire(draft: Draft) -> None:
    """End our own idle process, which does not know what was said elsewhere; a running turn is left to its end."""
    session = draft.session
    idle = session.turn is None and session.current is None and not session.tasks
    if session.strangers and session.process is Process.READY and idle:
        end_process(draft)


def release(draft: Draft) -> None:
    """A person says that it may go on: what was found is known from here on."""
    session = draft.session
    if session.strangers:
        known = tuple(dict.fromkeys((*session.released, *session.strangers)))
        draft.set(released=known[-limits.STRANGERS_KEPT :], strangers=())
