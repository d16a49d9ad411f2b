"""Carries out requests that concern sessions, for any client: each becomes one input of one session's loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, Protocol

import msgspec

from betcode.core import inputs
from betcode.core.permissions import settled_text
from betcode.engine.admission import Admission, Pace
from betcode.engine.deletion import delete
from betcode.engine.quarantine import show_odd
from betcode.engine.registry import Registry, deleted, question_view, summary_view
from betcode.engine.usage import show_usage
from betcode.model import frames, limits
from betcode.model.errors import BetcodeError
from betcode.model.events import Event
from betcode.model.frames import AnyRequest, Summary
from betcode.model.ids import MessageId, PermissionId, SessionId
from betcode.model.states import PermissionState


class Status(Protocol):
    """What the daemon says of itself."""

    def __call__(self) -> dict[str, Any]:
        """The objects `daemon` and `database` of the status reply."""
        ...


class Requests:
    """The operations of the client protocol."""

    def __init__(self, registry: Registry, status: Status, resolve_directory: Callable[[str], str]) -> None:
        """`resolve_directory` returns the real path or raises BetcodeError `request.directory`."""
        self._registry = registry
        self._status = status
        self._resolve_directory = resolve_directory
        self._admission = Admission(registry)

    @staticmethod
    def view(summary: Summary) -> dict[str, Any]:
        """A summary as a reply's body holds it."""
        return summary_view(summary)

    async def handle(
        self, request: AnyRequest, client: str, trace_id: str = "", pace: Pace | None = None
    ) -> dict[str, Any]:
        """Do it for `client`, in its trace and at its pace, and return the reply's body.

        Raises BetcodeError: then it was not done.
        """
        registry = self._registry
        match request:
            case frames.Ping():
                return {}
            case frames.GetStatus():
                sessions = [self.view(s) for s in registry.summaries()]
                load = {"pool": registry.world.slots.view(), "load": self._admission.view()}
                return self._status() | load | {"sessions": sessions}
            case frames.ListSessions():
                chosen = registry.summaries(limit=request.limit, closed=request.closed)
                return {"sessions": [self.view(s) for s in chosen]}
            case frames.Show():
                return {"session": self.view(registry.summary(registry.find(request.session)))}
            case frames.Permissions():
                session = registry.find(request.session) if request.session else None
                questions = registry.questions(session)
                return {"permissions": [question_view(q, registry.summary(q.session).dir) for q in questions]}
            case frames.Events():
                return await self._events(request)
            case frames.Create():
                return await self._create(request, pace or Pace())
            case frames.Answer():
                return await self._answer(request, client)
            case frames.Send():
                return await self._send(request, client, trace_id, pace or Pace())
            case frames.Queue():
                return self._queue(registry.find(request.session))
            case frames.Quarantine() | frames.QuarantinedLine() | frames.GetDrift():
                return await show_odd(registry, request)
            case frames.Repair():
                return {"state": registry.world.repair(f"{client} asked for it")}
            case frames.Delete():
                return await delete(registry, request.session, force=request.force, by=client)
            case _:
                return await self._control(request, client)

    async def _create(self, request: frames.Create, pace: Pace) -> dict[str, Any]:
        registry = self._registry
        if not registry.has_conversation(request.key):
            self._admission.session(pace)
        directory = self._resolve_directory(request.directory)
        history: Sequence[Event] = ()
        if request.imports:
            history = await asyncio.to_thread(registry.world.history, request.options, request.key)
        made = await registry.create(directory, request.name, request.options, request.key, history)
        return {"session": self.view(registry.summary(made))}

    async def explained(self, error: BetcodeError, given: str) -> BetcodeError:
        """The error for a request about the session `given`: one that is not there may have been deleted."""
        if error.code != "session.not_found" or not given:
            return error
        try:
            stone = await self._registry.world.store.tombstone(given)
        except BetcodeError:
            return error  # the database fails just now: that there is no such session is true all the same
        return error if stone is None else deleted(SessionId(stone.session), stone.deleted_at)

    async def _control(self, request: AnyRequest, client: str) -> dict[str, Any]:
        """Requests that are one input of the session they name, and the last of those that only read."""
        match request:
            case frames.GetUsage():
                return await show_usage(self._registry, request)
            case frames.Interrupt():
                return await self._ask(request.session, lambda t: inputs.Interrupt(t, client))
            case frames.Release():
                await self._registry.runner(self._registry.find(request.session)).look()  # to release all that is there
                return await self._ask(request.session, lambda t: inputs.Release(t, client))
            case frames.Clear():
                return await self._ask(request.session, lambda t: inputs.Clear(t, client, request.message_id))
            case frames.Retry():
                return await self._ask(request.session, lambda t: inputs.Retry(t, client, request.model))
            case frames.Close():
                return await self._ask(request.session, lambda t: inputs.Close(t, client))
            case frames.Rename():
                return await self._ask(request.session, lambda t: inputs.Rename(t, request.name))
            case _:
                raise BetcodeError(
                    "frame.unexpected",
                    f"{type(request).__name__} is not handled here",
                    hint="Report this; the request was understood and nobody carries it out.",
                )

    def _queue(self, session: SessionId) -> dict[str, Any]:
        runner = self._registry.runner(session)
        now = runner.session
        messages = [
            {
                "id": message.id,
                "text": message.text[: limits.MESSAGE_PREVIEW_CHARS],
                "state": message.state.value,
                "reason": message.reason,
                "client": message.client,
                "accepted_at": message.accepted_at,
            }
            for message in now.messages
        ]
        places = len(self._registry.world.slots.pool.queue)
        return {"messages": messages, "held": now.held, "place": runner.seat.place, "places": places}

    async def _ask(self, given: str, make: Callable[[int], inputs.Input]) -> dict[str, Any]:
        return await self._registry.runner(self._registry.find(given)).ask(make)

    async def _send(self, request: frames.Send, client: str, trace_id: str, pace: Pace) -> dict[str, Any]:
        session = self._registry.find(request.session)
        known = await self._registry.message(request.key)
        runner = self._registry.runner(session)
        if known is None:
            runner.traces.came(request.key, trace_id)
        admitted = self._admission.message(runner, request, pace) if known is None else nullcontext()
        with admitted:
            await runner.look()  # what somebody said elsewhere in the meantime, this message must not be told without
            body = await runner.ask(
                lambda t: inputs.Submit(t, MessageId(request.key), request.text, client, known, request.steer)
            )
        if not body["duplicate"]:
            runner.traces.accepted(request.key, client)
        return body

    async def _answer(self, request: frames.Answer, client: str) -> dict[str, Any]:
        permission = PermissionId(request.permission)
        question = await self._registry.question(permission)
        settled = question.state is not PermissionState.PENDING
        if settled and self._registry.open_question(permission) is None:  # an open one may be settled and not stored
            message, hint = settled_text(question)
            raise BetcodeError("permission.already_settled", message, hint=hint)
        return await self._registry.runner(question.session).ask(
            lambda t: inputs.Answer(
                t,
                question.id,
                request.allow,
                client,
                request.message,
                request.updated_input,
                request.for_session,
                request.interrupt,
            )
        )

    async def _events(self, request: frames.Events) -> dict[str, Any]:
        session: SessionId = self._registry.find(request.session)
        summary = self._registry.summary(session)
        epoch = request.epoch or summary.epoch
        rows = await self._registry.world.store.events(session, epoch, request.after, request.limit)
        return {
            "epoch": epoch,
            "events": [msgspec.Raw(row.body) for row in rows],
            "more": len(rows) == request.limit,
        }
