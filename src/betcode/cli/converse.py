"""`betcode` alone: a conversation in this directory, line by line, that outlives its terminal and its daemon.

Four tasks: what claude does (`_watch`), what the person types (`_listen`), what is sent (`_deliver`, one after the
other, so that nothing overtakes), and the state of the connection (`_mind`). The person is never kept waiting by the
daemon: whatever is typed goes into the outbox and is sent when somebody is there to take it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from betcode.cli.converse_input import Command, CtrlC, End, Keyboard, Line, meaning
from betcode.cli.converse_screen import Screen, beginning, farewell
from betcode.cli.converse_state import Talk, starts_or_ends
from betcode.cli.converse_words import COMMANDS, HELP, NOT_SENT_CUT, not_a_command
from betcode.cli.decision import decision
from betcode.cli.invocation import Invocation
from betcode.cli.lines import queue_lines, retried_text
from betcode.cli.new_session import Choice, find_session
from betcode.cli.output import again_text
from betcode.client.client import Client
from betcode.client.session_view import Durable, Reset
from betcode.client.stream import Stream
from betcode.model import limits
from betcode.model.errors import BetcodeError, Exit
from betcode.model.frames import (
    Answer,
    Clear,
    Close,
    Events,
    Interrupt,
    Permissions,
    Queue,
    Release,
    Rename,
    Request,
    Retry,
    Send,
)
from betcode.model.states import SessionState

RECENT_EVENTS = 50
"""Looked at for the last message and its answer, when a conversation is taken up again."""
SLOW_S = 2.0
"""A request that takes longer is told of: its sender would wonder."""


def converse(invocation: Invocation, choice: Choice) -> int:
    """Talk until the person leaves; returns the exit status. Raises BetcodeError."""
    choice.check()
    if not sys.stdin.isatty():
        raise BetcodeError(
            "request.usage",
            "`betcode` alone is a conversation at a terminal, and standard input is none",
            hint='In scripts and pipes use: betcode run "...". All commands: betcode --help',
        )
    return asyncio.run(_converse(invocation, choice, os.path.realpath(os.getcwd())))


async def _converse(invocation: Invocation, choice: Choice, directory: str) -> int:
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(invocation.client())
        summary, is_new = await find_session(client, invocation, choice, directory)
        if summary["state"] == SessionState.CLOSED:
            raise BetcodeError(
                "session.closed",
                f"session {summary['id']} is closed",
                hint=f"Read it with `betcode sessions show {summary['id']}`, or start another one: betcode --new",
            )
        session = summary["id"]
        after = max(0, summary["seq"] - RECENT_EVENTS)
        page = await client.request(Events(session=session, after=after, limit=limits.PAGE_EVENTS_MAX))
        events = page["events"]
        queue = await client.request(Queue(session=session))
        questions = (await client.request(Permissions(session=session)))["permissions"]
        screen = Screen()
        for line in beginning(summary, is_new=is_new, events=events):
            screen.note(line)
        # From the last event that was read on: what happened since then comes as news, nothing is missed.
        seq = events[-1]["seq"] if events else 0
        stream = client.stream(session, epoch=page["epoch"], seq=seq)
        await stack.enter_async_context(contextlib.aclosing(stream))
        keyboard = stack.enter_context(Keyboard())
        conversation = Conversation(client, stream, Talk(summary, queue, questions), screen, keyboard, summary["dir"])
        return await conversation.run()


@dataclass(frozen=True, slots=True)
class _Job:
    """A request on its way, and what to do with its reply."""

    request: Request
    done: Callable[[dict[str, Any]], None]


class Conversation:
    """One person and one session. `run` it once."""

    def __init__(
        self, client: Client, stream: Stream, talk: Talk, screen: Screen, keyboard: Keyboard, directory: str
    ) -> None:
        self._client = client
        self._stream = stream
        self._talk = talk
        self._screen = screen
        self._keyboard = keyboard
        self._directory = directory
        self._asked = ""
        """Id of the question on the screen."""
        self._asked_s = 0.0
        """When it was shown: what was typed before that is no answer to it."""
        self._stops = 0
        """How often ctrl-c was pressed since anything else was."""
        self._outbox: asyncio.Queue[_Job] = asyncio.Queue(limits.MESSAGES_WAITING_MAX)
        self._unsent = 0
        self._expecting = False
        """A message was just sent: claude is about to work, so no prompt is shown."""

    async def run(self) -> int:
        """Until the person leaves (returns the exit status), or the client has given up (raises BetcodeError)."""
        loop = asyncio.get_running_loop()
        person = loop.create_task(self._listen(), name="conversation: the person")
        tasks = [
            person,
            loop.create_task(self._watch(), name="conversation: claude"),
            loop.create_task(self._deliver(), name="conversation: outbox"),
            loop.create_task(self._mind(), name="conversation: connection"),
        ]
        self._refresh()
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for task in done:
            task.result()
        for line in farewell(self._talk, unsent=self._unsent):
            self._screen.note(line)
        return person.result()

    # --- what claude does ---------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        async for item in self._stream:
            if isinstance(item, Reset):
                self._talk.begin_anew()
            told = self._talk.take(item.event) if isinstance(item, Durable) else []
            if self._asked and self._asked not in self._talk.questions:
                self._asked = ""
            if isinstance(item, Durable) and starts_or_ends(item.event):
                self._expecting = False
            self._screen.show(item)
            for line in told:
                self._screen.note(line)
            self._refresh()
            if self._talk.state == SessionState.CLOSED:
                raise BetcodeError("session.closed", "the session was closed", hint="Start another one: betcode --new")

    def _refresh(self) -> None:
        """Ask what is to be asked, or show that something can be typed."""
        question = self._talk.question
        if question is None:
            if not (self._talk.working or self._expecting):
                self._screen.prompt("> ")
        elif question["permission_id"] != self._asked:
            self._asked = question["permission_id"]
            self._screen.ask(question, self._directory)
            self._asked_s = asyncio.get_running_loop().time()

    # --- what the person types ----------------------------------------------------------------------------------

    async def _listen(self) -> int:
        while True:
            item = await self._keyboard.next()
            match item:
                case End():
                    self._screen.entered("\n")
                    return 0
                case CtrlC():
                    self._screen.entered("\n")
                    self._stops += 1
                    if self._stops > 1:
                        return int(Exit.INTERRUPTED)
                    self._interrupt()
                case Line():
                    self._stops = 0
                    self._screen.entered()
                    if self._take(item):
                        return 0
            self._refresh()

    def _interrupt(self) -> None:
        if not self._talk.working:
            self._screen.note("-- claude does nothing now; ctrl-c again or ctrl-d leaves")
            return
        self._screen.note("-- interrupting; ctrl-c again leaves, and the session goes on")
        self._post(Interrupt(session=self._talk.session), self._interrupted)

    def _interrupted(self, body: dict[str, Any]) -> None:
        if body["held"]:
            self._screen.note(f"-- messages held: {body['held']}; /resume lets them go on, /clear cancels them")

    def _take(self, line: Line) -> bool:
        """A line that was typed. True: leave."""
        if line.cut:
            self._screen.note(NOT_SENT_CUT)
            return False
        typed = meaning(line.text)
        if isinstance(typed, Command):
            return self._command(typed)
        if self._asked:
            self._answer(typed if line.begun_s >= self._asked_s else "")
        elif typed.strip():
            self._say(typed)
        return False

    def _answer(self, typed: str) -> None:
        given = decision(typed)
        question = self._talk.questions.get(self._asked)
        if given is None or question is None:
            self._screen.choices(question)
            return
        name, self._asked = self._asked, ""
        self._talk.answered(name)
        self._post(
            Answer(permission=name, allow=given.allow, message=given.message, for_session=given.for_session),
            lambda body: None,
        )

    def _say(self, text: str, *, steer: bool = False) -> None:
        key = str(uuid.uuid4())
        self._talk.own.add(key)
        self._expecting = True
        self._post(Send(session=self._talk.session, key=key, text=text, steer=steer), lambda body: None)

    def _command(self, command: Command) -> bool:
        """Do one of ours. True: leave."""
        session, note = self._talk.session, self._screen.note
        match COMMANDS.get(command.name, ""):
            case "quit":
                return True
            case "help":
                note(HELP)
            case "queue":
                self._post(Queue(session=session), self._show_queue)
            case "clear":
                clear = Clear(session=session, message_id=command.rest)
                self._post(clear, lambda body: note(f"-- messages cancelled: {len(body['cancelled'])}"))
            case "resume":
                self._post(
                    Release(session=session), lambda body: note(f"-- going on; messages that wait: {body['waiting']}")
                )
            case "retry":
                self._post(Retry(session=session), lambda body: note(f"-- {retried_text(body)}"))
            case "stop":
                self._interrupt()
            case "steer" if command.rest:
                self._say(command.rest, steer=True)
            case "name" if command.rest:
                self._post(
                    Rename(session=session, name=command.rest), lambda body: note(f"-- now called {body['name']}")
                )
            case "close":
                self._post(Close(session=session), lambda body: None)
            case _:
                note(not_a_command(command.name))
        return False

    def _show_queue(self, body: dict[str, Any]) -> None:
        for line in queue_lines(body["messages"], held=body["held"]):
            self._screen.note(f"   {line}")

    # --- what is sent -------------------------------------------------------------------------------------------

    def _post(self, request: Request, done: Callable[[dict[str, Any]], None]) -> None:
        try:
            self._outbox.put_nowait(_Job(request, done))
        except asyncio.QueueFull:
            self._screen.note("! not sent: too much waits for the daemon already")
        else:
            self._unsent += isinstance(request, Send)

    async def _deliver(self) -> None:
        while True:
            job = await self._outbox.get()
            try:
                job.done(await self._request(job.request))
            except BetcodeError as error:
                self._expecting = False
                self._screen.note(f"! {error}")
                if error.hint:
                    self._screen.note(f"  hint: {error.hint}")
                if error.refusal is not None:
                    self._screen.note(f"  {again_text(error.refusal)}")
            self._unsent -= isinstance(job.request, Send)
            self._refresh()

    async def _request(self, request: Request) -> dict[str, Any]:
        """Have a request done, and say so if that takes long."""
        loop = asyncio.get_running_loop()
        slow = loop.call_later(SLOW_S, self._screen.note, "-- no answer from the daemon yet; what you typed is kept")
        try:
            return await self._client.request(request)
        finally:
            slow.cancel()

    async def _mind(self) -> None:
        """Tell when the connection is lost; that it is there again is news of the stream."""
        connection = None
        while True:
            connection = await self._client.connected(instead_of=connection)
            await connection.wait_lost()
            self._screen.note("-- the connection to the daemon is lost; connecting again")
