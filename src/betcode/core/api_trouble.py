"""A turn that ended because of the API: its message goes on when the upstream lets it, and nothing is repeated (RL-3).

What had been done is in claude's transcript: the next process, or this one, is told that a request was refused, and
goes on from there with one request of its own. claude's own `CLAUDE_CODE_RESUME_INTERRUPTED_TURN` does the same, but
only once in a row for a message. Whether others may send meanwhile is for `core.upstream` to say.
"""

from __future__ import annotations

from typing import Any

from betcode.core import recovery
from betcode.core.backoff import delay_s
from betcode.core.draft import Draft
from betcode.core.instant import iso
from betcode.core.recovery import Moment
from betcode.core.upstream_texts import automatic_retry
from betcode.model import upstream_limits as limits
from betcode.model.conversation import Conversation
from betcode.model.facts import RateLimit
from betcode.model.failures import ApiFailure, ApiKind, FailureClass
from betcode.model.rows import Message
from betcode.model.states import MessageState


def goes_on(failure: ApiFailure | None, draft: Draft) -> bool:
    """Whether the message of a turn that ended so waits and goes on, instead of failing."""
    if failure is None or failure.kind is ApiKind.REQUEST or draft.session.closing:
        return False
    tried = draft.session.refused + 1
    return not (draft.session.passage.others_answered and tried >= limits.API_TRIES_MAX)


def wait(draft: Draft, messages: list[Message], failure: ApiFailure) -> None:
    """Put these messages back in front of the queue, and tell people why."""
    session, passage = draft.session, draft.session.passage
    refused = session.refused + 1
    draft.set(refused=refused, fruitless=0)
    what = failure.failure.what.rstrip(".")
    if passage.begins:
        pause = delay_s(refused, first_s=limits.API_BACKOFF_FIRST_S, max_s=limits.API_BACKOFF_MAX_S, rng=draft.rng)
        reason = f"{what}; it goes on in {pause:.1f} s"
        code, retry_unix_s = failure.code, draft.now.unix_s + pause
        draft.set(restart_s=draft.now.steady_s + pause, reason=reason)
    else:
        reason, code, retry_unix_s = passage.why, passage.code, passage.until_unix_s
        draft.set(reason=reason)
    for message in messages:
        known = Conversation(found=True, messages=frozenset({message.uuid}))
        text = recovery.told(
            message, Moment.ANSWERING, session.turn, known, f"Your last request could not be answered: {what}"
        )
        again: dict[str, Any] = {"run": 0, "attempt": message.attempt + 1, "told": text}
        draft.move_message(message, MessageState.QUEUED, reason, code=code, retry_unix_s=retry_unix_s, **again)
    if messages:
        _tell(draft, failure, reason)


def _tell(draft: Draft, failure: ApiFailure, reason: str) -> None:
    """Once for each outage in this session; once for all sessions when it lasts until somebody acts."""
    session, passage = draft.session, draft.session.passage
    lasts = failure.failure.failure_class is FailureClass.PERSISTENT
    if lasts and not passage.begins and not passage.teller:
        return
    text = reason if passage.begins else automatic_retry(passage, draft.now.unix_s)
    severity = "error" if lasts else "warning" if session.refused == 1 else "info"
    draft.notice(severity, failure.code, text, failure.failure.hint.replace("ID", session.id))


def on_rate_limit(draft: Draft, fact: RateLimit) -> None:
    """Warn people once before a usage window is used up."""
    name = f"usage {fact.window} {fact.resets_at_unix_s}"
    if fact.status != "allowed_warning" or name in draft.session.kinds_warned:
        return
    draft.set(kinds_warned=draft.session.kinds_warned | {name})
    resets = f"; it resets at {iso(float(fact.resets_at_unix_s))[:19]}Z" if fact.resets_at_unix_s else ""
    draft.notice(
        "warning",
        "limit.usage_near",
        f"{fact.utilization:.0%} of the usage window {fact.window.replace('_', ' ')} is used{resets}",
        "When it is used up, sessions wait for that time and go on by themselves. See: betcode usage",
    )


def answered(draft: Draft) -> None:
    """A turn ended, and not because of the API."""
    if draft.session.refused:
        draft.set(refused=0)
