"""What a question becomes whose record is damaged, or older than what else is known: never allowed unproved (INV-3)."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace as change

from betcode.model.rows import Permission
from betcode.model.states import Delivery, PermissionState

CANCELLED_TEXT = "the record of this question was damaged, so it counts as refused"


@dataclass(frozen=True, slots=True)
class Decided:
    """The row of `decisions` for a question."""

    state: PermissionState
    by: str
    message: str
    settled_at: str
    updated_input: dict[str, object] | None
    for_session: bool
    interrupt: bool
    rev: int


def settled(
    question: Permission, rev: int, decided: Decided | None, told: PermissionState | None, *, at: str
) -> Permission:
    """The question as it may be stored: unchanged, or settled by what else is known of it.

    An allow needs the record of somebody who said so that is not older than the question itself.

    Args:
        question: its newest version, or one made of its event.
        rev: of that version.
        decided: the decision on it, if there is one.
        told: the outcome that an event told people, if one did.
        at: the time now, as in `settled_at`.
    """
    allowed = question.state is PermissionState.ALLOWED
    if question.state is not PermissionState.PENDING and not (
        allowed and decided is not None and decided.state is not PermissionState.ALLOWED
    ):
        return question
    if decided is not None and (decided.rev >= rev or decided.state is not PermissionState.ALLOWED):
        return change(
            question,
            state=decided.state,
            by=decided.by,
            message=decided.message,
            settled_at=decided.settled_at,
            updated_input=decided.updated_input,
            for_session=decided.for_session,
            interrupt=decided.interrupt,
            delivery=_on_its_way(question) if question.delivery is Delivery.NONE else question.delivery,
        )
    if decided is None and told is None and question.request_id:
        return question
    return refused(question, told, at=at)


def refused(question: Permission, told: PermissionState | None, *, at: str) -> Permission:
    """The question without an answer that could be proved: never allowed."""
    known = told is not None and told not in (PermissionState.PENDING, PermissionState.ALLOWED)
    waits = question.delivery is Delivery.NONE
    return change(
        question,
        state=told if told is not None and known else PermissionState.CANCELLED,
        by="recovery",
        message=CANCELLED_TEXT,
        settled_at=at,
        updated_input=None,
        for_session=False,
        delivery=_on_its_way(question) if waits else question.delivery,
    )


def _on_its_way(question: Permission) -> Delivery:
    """Claude is told once more, as the keeper writes no answer twice; by the request's id, which no event has."""
    return Delivery.SENDING if question.request_id else Delivery.LOST
