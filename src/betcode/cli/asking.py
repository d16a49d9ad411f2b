"""Permission questions of one session, while a command waits for its answer.

`Person` asks at this terminal; another client may be faster. `Nobody` denies what no other client answered in time: it
is for a session that was made for people and is now used by a script. Doubt is never a yes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from typing import Any, Protocol

from betcode.cli.decision import CHOICES, decision
from betcode.cli.lines import question_lines
from betcode.client.client import Client
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.frames import Answer

_LINE_BYTES = limits.ANSWER_CHARS_MAX


class Questions(Protocol):
    """What `follow` tells of questions."""

    def opened(self, question: dict[str, Any]) -> None:
        """A question is open."""
        ...

    def settled(self, permission_id: str) -> None:
        """A question has its outcome."""
        ...

    async def serve(self) -> None:
        """Deal with questions until cancelled."""
        ...


class Elsewhere:
    """Other clients answer, or time does, in the daemon."""

    def opened(self, question: dict[str, Any]) -> None:
        """Nothing to do."""

    def settled(self, permission_id: str) -> None:
        """Nothing to do."""

    async def serve(self) -> None:
        """Nothing to do."""


class Nobody:
    """Denies a question after `ttl_s` seconds."""

    def __init__(self, client: Client, ttl_s: float) -> None:
        self._client = client
        self._ttl_s = ttl_s
        self._open: dict[str, asyncio.TimerHandle] = {}
        self._due: asyncio.Queue[str] = asyncio.Queue(limits.PERMISSIONS_OPEN_MAX)

    def opened(self, question: dict[str, Any]) -> None:
        """Give it its time."""
        name = question["permission_id"]
        if name not in self._open:
            self._open[name] = asyncio.get_running_loop().call_later(self._ttl_s, self._due.put_nowait, name)

    def settled(self, permission_id: str) -> None:
        """Its time no longer counts."""
        if timer := self._open.pop(permission_id, None):
            timer.cancel()

    async def serve(self) -> None:
        """Deny what is due until cancelled."""
        while True:
            name = await self._due.get()
            if name in self._open:
                message = f"Nobody answered within {self._ttl_s:.0f} s, so the tool was not run."
                with contextlib.suppress(BetcodeError):  # somebody was faster; the event tells who
                    await self._client.request(Answer(permission=name, allow=False, message=message))


class Person:
    """Asks whoever sits at this terminal, one question after the other."""

    def __init__(self, client: Client, directory: str, note: Callable[[str], None]) -> None:
        self._client = client
        self._directory = directory
        self._note = note
        self._open: dict[str, dict[str, Any]] = {}
        self._changed = asyncio.Event()

    def opened(self, question: dict[str, Any]) -> None:
        """Ask it when its turn comes."""
        self._open.setdefault(question["permission_id"], question)
        self._changed.set()

    def settled(self, permission_id: str) -> None:
        """Do not ask it any more."""
        if self._open.pop(permission_id, None) is not None:
            self._changed.set()

    async def serve(self) -> None:
        """Ask until cancelled, or until standard input ends."""
        while True:
            question = next(iter(self._open.values()), None)
            if question is None:
                self._changed.clear()
                await self._changed.wait()
                continue
            for line in question_lines(question, self._directory):
                self._note(line)
            if not await self._settle(question["permission_id"]):
                self._note("standard input ended; answer with: betcode permissions list")
                return

    async def _settle(self, name: str) -> bool:
        """Ask until there is an answer, here or elsewhere. False at the end of standard input."""
        forget_typed()
        while name in self._open:
            sys.stderr.write(CHOICES)
            sys.stderr.flush()
            line = await self._line(name)
            if line is None:
                return False
            given = decision(line)
            if given is None or name not in self._open:
                continue
            self._open.pop(name)
            try:
                await self._client.request(
                    Answer(permission=name, allow=given.allow, message=given.message, for_session=given.for_session)
                )
            except BetcodeError as error:
                self._note(f"! {error}")
        return True

    async def _line(self, name: str) -> str | None:
        """A line from the terminal, or an empty one when the question was settled meanwhile. None at the end."""
        loop = asyncio.get_running_loop()
        reading = loop.create_task(read_line(), name="read the terminal")
        try:
            while name in self._open:
                self._changed.clear()
                changed = loop.create_task(self._changed.wait(), name="wait for questions")
                try:
                    await asyncio.wait((reading, changed), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    changed.cancel()
                if reading.done():
                    return reading.result()
            sys.stderr.write("\n")
            self._note("answered elsewhere")
            return ""
        finally:
            reading.cancel()


def forget_typed() -> None:
    """Drop what was typed before the question was shown: it cannot be meant as its answer."""
    import termios

    with contextlib.suppress(termios.error, OSError):
        termios.tcflush(0, termios.TCIFLUSH)


async def read_line() -> str | None:
    """One line from standard input, without blocking the loop. None at its end."""
    loop = asyncio.get_running_loop()
    line: asyncio.Future[bytes] = loop.create_future()

    def read() -> None:
        if not line.done():
            line.set_result(os.read(0, _LINE_BYTES))

    loop.add_reader(0, read)
    try:
        data = await line
    finally:
        loop.remove_reader(0)
    return data.decode("utf-8", "replace") if data else None
