"""A claude on paper for tests of the engine on real files: it answers at once, and asks once before each answer.

It stands for claude and its keeper together: each line is taken at most once per run, all output is kept in a file,
and both outlive the engine that talks to them. There are no processes, sockets or waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path

from msgspec import Struct, field, json

from betcode.core.effects import Allow, Command, Deny, Initialize, Say, StopTurn
from betcode.core.inputs import Sighted
from betcode.engine.ports import Link
from betcode.model.errors import BetcodeError
from betcode.model.ids import SessionId
from betcode.model.news import Confirmed, Gone, News, Output
from betcode.model.rows import SessionRow
from betcode.testing.simulator import claude_lines as lines


class PaperState(Struct):
    """What a claude and its keeper remember."""

    heard: dict[str, int] = field(default_factory=dict)
    decided: dict[str, int] = field(default_factory=dict)
    printed: bytes = b""
    taken: list[tuple[int, str]] = field(default_factory=list)
    asking: dict[str, str] = field(default_factory=dict)
    thinking: str = ""
    answering: str = ""


class PaperClaude:
    """The claude of one session, kept in a file: it outlives the process that it is in."""

    def __init__(self, file: Path) -> None:
        """Goes on where it was."""
        self._file = file
        self.thinks = False
        """While it does, it asks nothing."""
        self.lingers = False
        """While it does, it says nothing after an answer."""
        self.links: set[PaperLink] = set()
        """Those whose process lives."""
        self.state = json.decode(file.read_bytes(), type=PaperState) if file.exists() else PaperState()

    @property
    def times(self) -> set[int]:
        """How often anything was heard or decided: nothing but 1 is right."""
        return {*self.state.heard.values(), *self.state.decided.values()}

    @property
    def printed(self) -> bytes:
        """All output of its run."""
        return self.state.printed

    def begin(self, run: int) -> None:
        """A new run. Raises BetcodeError, as a keeper does, when this one has been before and took a line."""
        if any(run == number for number, _ in self.state.taken):
            raise BetcodeError("agent.spawn_failed", f"there is a run {run} already", hint="It is tried again.")
        self.state.printed = b""

    def take(self, run: int, line_id: str, command: Command) -> None:
        """Read one line, unless this run has it already."""
        if (run, line_id) in self.state.taken:
            return
        self.state.taken.append((run, line_id))
        match command:
            case Initialize():
                self.state.printed += lines.control_response(line_id, {"claude_code_version": lines.VERSION})
            case Say():
                self.state.heard[command.message_id] = self.state.heard.get(command.message_id, 0) + 1
                self.state.printed += lines.lifecycle(command.message_id, "started")
                self.state.printed += lines.init("conversation", (command.message_id,))
                self.state.thinking = command.message_id
                self.think()
            case Allow() | Deny():
                self.state.decided[command.request_id] = self.state.decided.get(command.request_id, 0) + 1
                self.state.answering = self.state.asking.pop(command.request_id)
                if not self.lingers:
                    self.finish()
            case StopTurn():
                self.state.printed += lines.result((self.state.thinking,), "cancelled", text="")
                self.state.thinking = ""
            case _:
                raise AssertionError(f"the paper claude knows no {command}")
        self._keep()

    def think(self, *, still: bool | None = None) -> None:
        """Ask, unless it thinks; `still` says whether it does from here on."""
        self.thinks = self.thinks if still is None else still
        if self.state.thinking and not self.thinks:
            self._ask(self.state.thinking)
            self.state.thinking = ""
            self._keep()
            for link in self.links:
                link.ring()

    def finish(self) -> None:
        """End the turn that was allowed or denied to go on."""
        self._answer(self.state.answering)
        self._keep()
        for link in self.links:
            link.ring()

    def babble(self, data: bytes) -> None:
        """Print this, unasked."""
        self.state.printed += data
        self._keep()
        for link in self.links:
            link.ring()

    def _keep(self) -> None:
        new = self._file.with_suffix(".new")
        new.write_bytes(json.encode(self.state))
        new.replace(self._file)

    def _ask(self, message: str) -> None:
        request = f"request-{message}"
        self.state.asking[request] = message
        self.state.printed += lines.can_use_tool(request, "Read", {"file": message}, f"tool-{message}")

    def _answer(self, message: str) -> None:
        block = {"type": "text", "text": f"answer to {message}"}
        self.state.printed += lines.assistant(f"msg-{message}", block)
        self.state.printed += lines.result((message,), "completed", text="done")
        self.state.printed += lines.lifecycle(message, "completed")


class PaperLink:
    """One engine's way to it (`engine.ports.Link`)."""

    keeper_pid: int | None = None
    claude_pid: int | None = None
    memory_bytes: int = 0

    def __init__(self, claude: PaperClaude, run: int, offset: int) -> None:
        """Reads on from `offset`."""
        self._claude = claude
        self._run = run
        self._offset = offset
        self._news: deque[News] = deque()
        self._wake = asyncio.Event()
        self._ends = False
        claude.links.add(self)

    def ring(self) -> None:
        """There is something new."""
        self._wake.set()

    def write(self, line_id: str, command: Command) -> None:
        """Written at once."""
        self._claude.take(self._run, line_id, command)
        self._news.append(Confirmed(line_id))
        self._wake.set()

    def end(self, grace_s: float) -> None:
        """It ends at once."""
        self._ends = True
        self._wake.set()

    async def receive(self) -> News:
        """Confirmations first, then output, line by line, then the end."""
        while True:
            if self._news:
                return self._news.popleft()
            line, newline, _ = self._claude.printed[self._offset :].partition(b"\n")
            data = line + newline
            if data:
                start, self._offset = self._offset, self._offset + len(data)
                return Output(start, data)
            if self._ends:
                self._claude.links.discard(self)
                taken = frozenset(line_id for run, line_id in self._claude.state.taken if run == self._run)
                return Gone(143, None, "exited", written=taken)
            self._wake.clear()
            await self._wake.wait()

    async def close(self) -> None:
        """Nothing is open."""


class PaperLauncher:
    """Starts and adopts them (`engine.ports.Launcher`)."""

    def __init__(self, sessions: Path) -> None:
        """`sessions`: DATA/sessions."""
        self._sessions = sessions
        self.claudes = {SessionId(file.parent.name): PaperClaude(file) for file in sessions.glob("*/paper")}

    def claude(self, session: SessionId) -> PaperClaude:
        """That of a session, made if there is none."""
        if session not in self.claudes:
            directory = self._sessions / session
            directory.mkdir(parents=True, exist_ok=True)
            self.claudes[session] = PaperClaude(directory / "paper")
        return self.claudes[session]

    async def start(self, row: SessionRow, *, rerun: bool = False) -> Link:
        """The claude of this session, with nothing printed. Raises BetcodeError `agent.spawn_failed`."""
        self.claude(row.id).begin(row.run)
        return PaperLink(self.claude(row.id), row.run, 0)

    async def look(self, row: SessionRow, own_pid: int | None, *, prompts: bool) -> Sighted:
        """Nobody else is there."""
        return Sighted()

    async def adopt(self, row: SessionRow) -> Link:
        """The claude of this session, from where the engine was."""
        return PaperLink(self.claude(row.id), row.run, row.offset)

    async def read_raw(self, session: SessionId, run: int, offset: int, count: int) -> tuple[int, bytes]:
        """What it printed."""
        return offset, self.claude(session).printed[offset : offset + count]

    async def read_back(self, row: SessionRow, start: int) -> bytes:
        """What it printed before the offset."""
        return self.claude(row.id).printed[start : row.offset]
