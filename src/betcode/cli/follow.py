"""Stay with a message until it is done: show what happens, ask what is asked, stop when told to."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from betcode.cli.asking import Questions
from betcode.cli.outcome import Task
from betcode.client.client import Client
from betcode.client.session_view import Dropped, Durable, Increment
from betcode.client.stream import Stream
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.frames import Clear, Interrupt
from betcode.model.states import MessageState

INTERRUPT, TIMEOUT, LEAVE = "interrupt", "timeout", "leave"
_STOPS_MAX = 16
"""Signals that wait to be looked at; more say nothing new."""


@dataclass(slots=True)
class Following:
    """A message that was sent, and how to show what becomes of it."""

    client: Client
    session: str
    stream: Stream
    task: Task
    show: Callable[[object], None]
    note: Callable[[str], None]
    questions: Questions


async def follow(following: Following, *, timeout_s: float | None) -> None:
    """Return when the message is over (`following.task`).

    Raises:
        BetcodeError: `run.timeout`, `run.interrupted` when the user left or stopped it, or what the client met.
    """
    loop = asyncio.get_running_loop()
    stops: asyncio.Queue[str] = asyncio.Queue(_STOPS_MAX)

    def stop(why: str) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            stops.put_nowait(why)

    timer = loop.call_later(timeout_s, stop, TIMEOUT) if timeout_s is not None else None
    loop.add_signal_handler(signal.SIGINT, stop, INTERRUPT)
    try:
        async with contextlib.AsyncExitStack() as tasks:
            await tasks.enter_async_context(running(following.questions.serve(), "questions"))
            events = await tasks.enter_async_context(running(_show(following), "events"))
            why = ""
            while not events.done():
                told = await _first(events, stops)
                if not told:
                    break
                if why:  # told a second time, or it does not stop
                    raise _stopped(why, following.session)
                why = told
                loop.call_later(limits.INTERRUPT_GRACE_S, stop, LEAVE)
                # Beside the rest: a second ctrl-c must not wait for a daemon that does not answer.
                await tasks.enter_async_context(running(_halt(following, why), "halt"))
            events.result()
            if why and following.task.state != MessageState.COMPLETED:
                raise _stopped(why, following.session)
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        if timer is not None:
            timer.cancel()


async def _show(following: Following) -> None:
    """Take news until the message is over."""
    task, questions = following.task, following.questions
    async for item in following.stream:
        if isinstance(item, Durable):
            task.take(item.event)
        following.show(item)
        if isinstance(item, Durable):
            note_question(item.event, questions)
            if task.over:
                return


def only_of(task: Task, show: Callable[[object], None]) -> Callable[[object], None]:
    """Leave out what claude writes for an earlier message, which it may still be working on."""
    return lambda item: show(item) if task.working or not is_answer(item) else None


def is_answer(item: object) -> bool:
    """Whether this is something that claude wrote or did."""
    if isinstance(item, Durable):
        return item.event["kind"] in ("assistant", "tool_call", "tool_result")
    return isinstance(item, Increment | Dropped)


def note_question(event: dict[str, Any], questions: Questions) -> None:
    """Tell the questions of an event that is about one."""
    if event["kind"] == "permission_asked":
        questions.opened(event)
    elif event["kind"] == "permission_settled":
        questions.settled(event["permission_id"])


async def _halt(following: Following, why: str) -> None:
    """Stop the turn that works on the message; if it still waits, withdraw it instead."""
    if why == INTERRUPT:
        following.note("-- interrupting; ctrl-c again leaves, and the session goes on")
    client, session, task = following.client, following.session, following.task
    try:
        if task.state in (MessageState.ACCEPTED, MessageState.QUEUED):
            body = await client.request(Clear(session=session, message_id=task.message_id))
            if task.message_id in body["cancelled"]:
                return
        await client.request(Interrupt(session=session))
    except BetcodeError as error:
        following.note(f"! {error}")


async def _first(events: asyncio.Task[None], stops: asyncio.Queue[str]) -> str:
    """The next reason to stop; empty when the events have ended."""
    async with running(stops.get(), "wait for signals") as told:
        await asyncio.wait((events, told), return_when=asyncio.FIRST_COMPLETED)
        return told.result() if told.done() and not events.done() else ""


def _stopped(why: str, session: str) -> BetcodeError:
    if why == TIMEOUT:
        return BetcodeError(
            "run.timeout",
            "the time given with --timeout is over",
            hint=f"Go on with: betcode run --resume {session}",
        )
    return BetcodeError("run.interrupted", "interrupted", hint=f"Look at the session with: betcode attach {session}")


@contextlib.asynccontextmanager
async def running(work: Any, name: str) -> AsyncIterator[asyncio.Task[Any]]:
    """A task that ends with the block at the latest; its error is raised then."""
    task: asyncio.Task[Any] = asyncio.get_running_loop().create_task(work, name=name)
    try:
        yield task
    finally:
        if not task.done():
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
