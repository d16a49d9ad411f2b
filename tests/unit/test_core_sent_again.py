"""A message is sent again only while claude would answer the copy: it drops one that something follows."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from msgspec.structs import replace as change

from betcode.core.inputs import Ended
from betcode.core.life import Process, Session
from betcode.core.session import step
from betcode.model.conversation import Conversation
from betcode.model.rows import Message
from betcode.model.states import MessageState
from betcode.testing.builders import at, new_session, submit


def with_message(state: MessageState, process: Process) -> Session:
    """A session whose only message has come so far."""
    first = step(new_session(), submit(1), at(10.0), Random(1)).session
    [message] = first.messages
    return replace(first, process=process, messages=(change(message, state=state, run=first.run),))


def after_its_end(session: Session, *, followed: bool, written: bool) -> Message:
    """What becomes of the message when claude is killed, whose transcript has it."""
    uuid = session.messages[0].uuid
    known = Conversation(found=True, messages=frozenset({uuid}), prompts=(uuid,), followed=followed)
    lines = frozenset({uuid}) if written else frozenset()
    ended = Ended(session.run, None, 9, "exited", (), lines, known=known)
    [message] = step(session, ended, at(20.0), Random(1)).session.messages
    assert message.state is MessageState.QUEUED
    return message


@pytest.mark.req("INV-1", "PS-5")
@pytest.mark.parametrize(
    "state, process, written",
    [
        (MessageState.STARTED, Process.READY, True),
        (MessageState.DELIVERED, Process.READY, True),
        (MessageState.DELIVERING, Process.READY, False),  # an earlier process had it
        (MessageState.QUEUED, Process.UNREADY, False),
    ],
)
def test_a_message_that_claude_has_noted_as_unanswered_is_not_sent_again_but_told(
    state: MessageState, process: Process, written: bool
) -> None:
    session = with_message(state, process)
    again = after_its_end(session, followed=False, written=written)
    assert (again.uuid, again.told) == (session.messages[0].uuid, "")
    told = after_its_end(session, followed=True, written=written)
    assert told.uuid != session.messages[0].uuid
    assert "[BetCode]" in told.told
