"""What claude is told of a question: only a stored ALLOWED lets its tool run."""

import pytest
from msgspec.structs import replace

from betcode.core.effects import Allow, Deny, Write
from betcode.core.inputs import Answer, Written
from betcode.core.permissions import command
from betcode.model import limits
from betcode.model.facts import RequestWithdrawn
from betcode.model.rows import Permission
from betcode.model.states import PermissionState
from betcode.testing.builders import SESSION, Script, ask, question_id

QUESTION = Permission(
    id=question_id("r1"),
    session=SESSION,
    run=1,
    request_id="r1",
    tool="Bash",
    input={"command": "make"},
    state=PermissionState.PENDING,
    asked_at_unix_s=0.0,
    deadline_unix_s=1.0,
)


@pytest.mark.req("INV-3")
@pytest.mark.parametrize("state", [s for s in PermissionState if s is not PermissionState.ALLOWED])
def test_whatever_is_not_allowed_is_denied(state: PermissionState) -> None:
    assert isinstance(command(replace(QUESTION, state=state)), Deny)


@pytest.mark.req("PM-8")
@pytest.mark.parametrize("edited", [{"command": "make test"}, {}])
def test_an_edited_input_is_what_runs_even_when_it_is_empty(edited: dict[str, str]) -> None:
    told = command(replace(QUESTION, state=PermissionState.ALLOWED, updated_input=edited))
    assert told == Allow("r1", edited)


@pytest.mark.req("INV-3")
@pytest.mark.parametrize("allowed", [True, False])
def test_a_question_that_comes_again_after_its_answer_is_denied_and_nobody_is_asked(allowed: bool) -> None:
    script = Script().working()
    script.feed(ask(), ask())
    script.feed(Answer(9, question_id("r1"), allow=allowed, by="ann"), Written(1, "answer:r1"))
    assert script.session.permissions == ()
    again = script.feed(ask())
    assert (again.events, again.rows) == ((), ())
    [write] = again.effects
    assert isinstance(write, Write)
    assert isinstance(write.command, Deny)
    assert write.line_id != "answer:r1", "the keeper would drop it as written"
    assert script.feed(ask("r2")).rows, "another question is asked"


@pytest.mark.req("INV-3", "INV-8")
def test_no_more_settled_questions_are_remembered_than_may_be_open() -> None:
    script = Script().working()
    for number in range(limits.PERMISSIONS_OPEN_MAX + 5):
        script.feed(ask(f"r{number}"), RequestWithdrawn(f"r{number}"))
    assert len(script.session.settled) == limits.PERMISSIONS_OPEN_MAX
