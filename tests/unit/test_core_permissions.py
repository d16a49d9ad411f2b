"""What claude is told of a question: only a stored ALLOWED lets its tool run."""

import pytest
from msgspec.structs import replace

from betcode.core.effects import Allow, Deny
from betcode.core.permissions import command
from betcode.model.rows import Permission
from betcode.model.states import PermissionState
from betcode.testing.builders import SESSION, question_id

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
