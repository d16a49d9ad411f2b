"""What a claude turned out not to be able to do: told to the session's people once, and done without from then on."""

from __future__ import annotations

from msgspec.structs import replace as change

from betcode.core.draft import Draft
from betcode.model.capabilities import LIFECYCLE
from betcode.model.facts import ControlAnswer, Lifecycle, TurnStarted
from betcode.model.states import MessageState


def found(draft: Draft, what: str, hint: str, **lacking: bool) -> None:
    """Note that claude lacks this (fields of `Capabilities`); it is told where that was not known yet."""
    claude = draft.session.claude
    if any(getattr(claude, name) is not value for name, value in lacking.items()):
        draft.set(claude=change(claude, **lacking))
        name = f"claude {claude.version}" if claude.version else "this claude"
        draft.notice("warning", "claude.limited", f"{name} {what}", hint)


def on_lifecycle(draft: Draft, _fact: Lifecycle) -> None:
    """It tells what becomes of messages."""
    if draft.session.claude.lifecycle is None:
        draft.set(claude=change(draft.session.claude, lifecycle=True))


def on_turn_started(draft: Draft, fact: TurnStarted) -> None:
    """A turn begins: where claude does not tell which message it is about, it is the one that it has."""
    turn, claude = draft.session.turn, draft.session.claude
    if claude.lifecycle is None and LIFECYCLE in fact.capabilities:
        draft.set(claude=change(claude, lifecycle=True))
    if draft.session.claude.lifecycle or turn is None or draft.session.rerun is not None:
        return
    for message in draft.session.messages:
        if message.id == turn.message_id and message.state in (MessageState.DELIVERING, MessageState.DELIVERED):
            hint = "A message counts as begun with the next turn that begins."
            found(draft, "does not tell what becomes of a message", hint, lifecycle=False)
            draft.move_message(message, MessageState.STARTED)


def on_refused(draft: Draft, fact: ControlAnswer, withdraw: str) -> None:
    """claude answered a request with an error; `withdraw` is how the ids of withdrawals begin."""
    if fact.request_id.startswith(withdraw) and not fact.ok:
        hint = "After an interrupt it runs; interrupt again, or wait for its end."
        found(draft, "cannot take back a message that it already has", hint, withdraws=False)


def no_rerun(draft: Draft) -> None:
    """A process that was to go on with an interrupted turn by itself did not."""
    hint = "From now on it is told to go on at once; no tool is called again."
    found(draft, "does not go on with an interrupted turn by itself", hint, reruns=False)
