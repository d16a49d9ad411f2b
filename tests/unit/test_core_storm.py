"""What the core decides about processes that a dying daemon left half started."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from betcode.core.draft import Decision
from betcode.core.effects import Refuse, Reply, StartProcess
from betcode.core.inputs import Ended, Input, Retry, Started
from betcode.core.life import Process, Session, from_rows, state_of, to_row
from betcode.core.session import step
from betcode.model.events import Notice, Status
from betcode.testing.builders import at, new_session, submit

NO_TRACE = "its keeper left no report: it was killed, or the machine stopped"


def decide(session: Session, news: Input) -> Decision:
    return step(session, news, at(10.0), Random(1))


def adopted_while_starting() -> Session:
    """The daemon died after the run's number was stored; the next one takes the session over."""
    first = decide(new_session(), submit(1)).session
    assert first.process is Process.STARTING
    stored = from_rows(to_row(first), first.messages, first.permissions)
    return decide(stored, Started(stored.run, adopted=True)).session


@pytest.mark.req("PS-2")
@pytest.mark.req("INV-7")
def test_a_run_that_was_never_started_is_no_crash_and_the_next_number_is_stored_before_its_start() -> None:
    session = adopted_while_starting()
    decision = decide(session, Ended(session.run, None, None, NO_TRACE, never_started=True))
    assert decision.effects == (StartProcess(session.run + 1),)
    assert decision.stores
    assert to_row(decision.session).run == session.run + 1
    assert [e for e in decision.events if isinstance(e, Notice)] == []
    assert [e.reason for e in decision.events if isinstance(e, Status)] != []
    assert decision.session.crashes_s == ()
    assert decision.session.fruitless == 0


@pytest.mark.req("PS-2")
def test_a_run_that_was_started_and_left_nothing_is_a_crash() -> None:
    session = adopted_while_starting()
    decision = decide(session, Ended(session.run, None, None, NO_TRACE))
    assert decision.session.fruitless == 1
    assert [e.code for e in decision.events if isinstance(e, Notice)] == ["agent.ended"]


@pytest.mark.req("PS-6")
@pytest.mark.parametrize("process", [Process.READY, Process.STOPPING])
def test_the_end_of_a_claude_that_had_nothing_to_do_is_stored(process: Process) -> None:
    idle = replace(new_session(), run=1, process=process, shown_state="IDLE")
    decision = decide(idle, Ended(1, 0, None, ""))
    assert decision.stores
    assert to_row(decision.session).life["process"] == "none"
    assert [(e.state, e.reason) for e in decision.events if isinstance(e, Status)] == [
        ("IDLE", "claude has ended (exit code 0)")
    ]


def retried(session: Session) -> tuple[object, ...]:
    """State afterwards and what whoever asked is told."""
    decision = decide(session, Retry(7, "ann"))
    (told,) = [e for e in decision.effects if isinstance(e, Reply | Refuse)]
    return state_of(decision.session), told.body if isinstance(told, Reply) else told.error.code


@pytest.mark.req("PS-3")
def test_a_retry_starts_what_is_stopped_and_says_so_where_there_is_nothing_to_start() -> None:
    idle = replace(new_session(), run=1, shown_state="IDLE")
    assert retried(idle) == ("IDLE", {"waiting": 0, "retried": False})
    assert retried(replace(idle, crashed=True)) == ("IDLE", {"waiting": 0, "retried": True})
    assert retried(replace(idle, closed=True)) == ("CLOSED", "session.closed")
    assert retried(replace(idle, process=Process.STOPPING, closing=True))[1] == "session.closed"
