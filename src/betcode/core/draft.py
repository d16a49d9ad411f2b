"""A step under construction: the next session, and what is to be stored and done.

The handlers in `core.messages`, `core.process` and `core.permissions` change one `Draft`; `core.session.step` makes a
frozen `Decision` of it. Nothing outside `core` sees a draft.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from msgspec.structs import replace as change

from betcode.core.effects import Effect, Refuse, Reply
from betcode.core.instant import Instant, iso
from betcode.core.life import Session, state_of
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.events import Event, MessageProgress, Notice, Status
from betcode.model.policy import DEFAULT, Policy
from betcode.model.rows import Message, Permission
from betcode.model.states import FINAL_MESSAGE_STATES, Delivery, MessageState, PermissionState


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of one step: store `events` and `rows` in one transaction, then carry out `effects` in order."""

    session: Session
    events: tuple[Event, ...]
    rows: tuple[Message | Permission, ...]
    effects: tuple[Effect, ...]

    @property
    def stores(self) -> bool:
        """Whether anything must be committed before the effects."""
        return bool(self.events or self.rows)


@dataclass(slots=True)
class Draft:
    """Mutable while one input is handled."""

    session: Session
    now: Instant
    rng: Random
    events: list[Event] = field(default_factory=list)
    rows: list[Message | Permission] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    policy: Policy = DEFAULT

    def set(self, **changes: Any) -> None:
        """Change fields of the session."""
        self.session = replace(self.session, **changes)

    def emit(self, event: Event) -> None:
        """Number, date and append a durable event."""
        session = self.session
        seq = session.seq + 1
        self.events.append(change(event, epoch=session.epoch, seq=seq, time=self.now.iso))
        self.session = replace(session, seq=seq)

    def notice(self, severity: str, code: str, message: str, hint: str = "") -> None:
        """Tell the people of this session something."""
        self.emit(Notice(severity=severity, code=code, message=message, hint=hint))

    def tell(self, reason: str) -> None:
        """Show why the session is as it is. The event also has the change stored before anybody is told of it."""
        state = state_of(self.session).value
        self.set(reason=reason, shown_state=state)
        self.emit(Status(state=state, reason=reason))

    def do(self, effect: Effect) -> None:
        """Have something done after the commit."""
        self.effects.append(effect)

    def reply(self, ticket: int, **body: Any) -> None:
        """Tell whoever waits that it is done."""
        if ticket:
            self.effects.append(Reply(ticket, body))

    def refuse(self, ticket: int, code: str, message: str, hint: str) -> None:
        """Tell whoever waits that it is not done."""
        self.turn_away(ticket, BetcodeError(code, message, hint=hint))

    def turn_away(self, ticket: int, error: BetcodeError) -> None:
        """Tell whoever waits that it is not done, for a reason that is made already."""
        if ticket:
            self.effects.append(Refuse(ticket, error))

    def put_message(self, message: Message) -> None:
        """Store a message; one with an outcome leaves the session's list."""
        others = self.session.messages
        if message.state in FINAL_MESSAGE_STATES:
            kept = tuple(m for m in others if m.id != message.id)
        elif any(m.id == message.id for m in others):
            kept = tuple(message if m.id == message.id else m for m in others)
        else:
            kept = (*others, message)
        if message.state in FINAL_MESSAGE_STATES:
            ended = (*(m for m in self.session.ended if m.id != message.id), message)
            self.set(ended=ended[-limits.MESSAGES_WAITING_MAX :])
        self.rows.append(message)
        self.set(messages=kept, held=self.session.held and bool(kept))

    def move_message(
        self,
        message: Message,
        state: MessageState,
        reason: str = "",
        *,
        code: str = "",
        retry_unix_s: float = 0.0,
        **changes: Any,
    ) -> None:
        """Bring a message to its next state, stored and shown; with `code` and `retry_unix_s` it waits for the API."""
        moved = change(message, state=state, reason=reason, **changes)
        if (moved.state, moved.reason) != (message.state, message.reason):
            retry_at = iso(retry_unix_s) if retry_unix_s else ""
            event = MessageProgress(message_id=message.id, state=state, reason=reason, code=code, retry_at=retry_at)
            self.emit(event)
        self.put_message(moved)

    def put_permission(self, permission: Permission) -> None:
        """Store a question; one that is settled and delivered (or never will be) leaves the session's list."""
        open_still = permission.state is PermissionState.PENDING or permission.delivery is Delivery.SENDING
        kept = tuple(p for p in self.session.permissions if p.id != permission.id)
        self.rows.append(permission)
        self.set(permissions=(*kept, permission) if open_still else kept)
        if not open_still:
            self.set(settled=(*self.session.settled, permission.id)[-limits.PERMISSIONS_OPEN_MAX :])

    def finish(self) -> Decision:
        """Show a changed state, and freeze."""
        state = state_of(self.session)
        if state != self.session.shown_state:
            self.set(shown_state=state.value)
            self.emit(Status(state=state.value, reason=self.session.reason))
        return Decision(self.session, tuple(self.events), tuple(self.rows), tuple(self.effects))
