"""What a conversation knows of its session: whether claude works, what waits, what is asked (pure)."""

from __future__ import annotations

from typing import Any

from betcode.cli import lines
from betcode.cli.live import TOLD_STATES
from betcode.model.states import AT_REST, FINAL_MESSAGE_STATES, MessageState, PermissionState, SessionState


def starts_or_ends(event: dict[str, Any]) -> bool:
    """Whether this tells what became of a message that was just sent: claude works, or it will not."""
    match event["kind"]:
        case "status":
            return True
        case "message_state":
            return event["state"] in FINAL_MESSAGE_STATES or event.get("reason", "").startswith("held")
        case _:
            return False


WAITING = (MessageState.ACCEPTED.value, MessageState.QUEUED.value)


class Talk:
    """Begin with what the daemon says of the session, then take all events after that, in order."""

    def __init__(self, summary: dict[str, Any], queue: dict[str, Any], questions: list[dict[str, Any]]) -> None:
        self.session: str = summary["id"]
        self.state: str = summary["state"]
        self.reason: str = summary["reason"]
        self.own: set[str] = set()
        """Ids of the messages that were sent from here: they are on the screen already."""
        self.questions: dict[str, dict[str, Any]] = {}
        """Open questions by id, oldest first."""
        self._open: dict[str, str] = {m["id"]: m["state"] for m in queue["messages"]}
        for question in questions:
            self._ask(question | {"permission_id": question["id"]})

    @property
    def working(self) -> bool:
        """Whether something happens without a person doing anything."""
        return self.state not in AT_REST

    @property
    def waiting(self) -> int:
        """Messages that claude has not got yet."""
        return sum(state in WAITING for state in self._open.values())

    @property
    def question(self) -> dict[str, Any] | None:
        """The question to ask now."""
        return next(iter(self.questions.values()), None)

    def begin_anew(self) -> None:
        """The events begin again from the first: forget what they said."""
        self._open.clear()
        self.questions.clear()

    def take(self, event: dict[str, Any]) -> list[str]:
        """One durable event. Returns what is to be told of it; answers are shown by others."""
        match event["kind"]:
            case "user_message":
                self._open[event["message_id"]] = MessageState.ACCEPTED.value
                return self._other_message(event)
            case "message_state":
                return self._message(event)
            case "status":
                self.state, self.reason = event["state"], event.get("reason", "")
                return self._status(event)
            case "permission_asked":
                self._ask(event)
                return []
            case "permission_settled":
                return self._settled(event)
            case "tool_result":
                return lines.result_lines(event)[:1] if event.get("is_error") else []
            case "tool_call" | "notice" | "gap" | "error":
                return lines.event_lines(event)
            case _:
                return []

    def answered(self, permission_id: str) -> None:
        """An answer from here is on its way."""
        self.questions.pop(permission_id, None)

    def _ask(self, question: dict[str, Any]) -> None:
        self.questions.setdefault(question["permission_id"], question)

    def _other_message(self, event: dict[str, Any]) -> list[str]:
        if event["message_id"] in self.own:
            return []
        return [f"-- a message from {event['client'] or 'another client'}:", *lines.event_lines(event)]

    def _message(self, event: dict[str, Any]) -> list[str]:
        if event["state"] in FINAL_MESSAGE_STATES:
            self._open.pop(event["message_id"], None)
        else:
            self._open[event["message_id"]] = event["state"]
        return lines.event_lines(event)

    def _status(self, event: dict[str, Any]) -> list[str]:
        told = lines.event_lines(event) if event["state"] in TOLD_STATES else []
        if event["state"] == SessionState.CRASHED:
            told.append("   /retry starts it afresh")
        return told

    def _settled(self, event: dict[str, Any]) -> list[str]:
        question = self.questions.pop(event["permission_id"], None)
        if question is None:
            return []  # it was answered from here
        what = f"the question about {question['tool']}"
        match event["state"]:
            case PermissionState.CANCELLED:
                return [f"-- {what} was withdrawn: {event.get('message') or 'claude no longer asks'}"]
            case PermissionState.EXPIRED:
                return [f"-- {what} has expired, which is a no"]
            case state:
                return [f"-- {what} was answered elsewhere: {state} by {event.get('by') or 'another client'}"]
