"""The way to one claude process: its keeper's socket while it lives, its journal on disk afterwards.

A link needs no task of its own: whoever calls `receive` drives it. It connects again by itself when the socket
breaks, asks for the output from where it stands, and repeats the lines that were not confirmed; the keeper writes
each id at most once. When keeper and claude are gone it delivers what the journal still holds, then `Gone`. The
session's lock tells which of the two it is: only a free lock means that nothing lives.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from errno import ENOENT

import msgspec

from betcode.adapters.session_files import SessionFiles
from betcode.core import effects
from betcode.core.effects import Command
from betcode.keeper import protocol
from betcode.keeper.journal import JournalGap
from betcode.keeper.protocol import Kind
from betcode.model import limits
from betcode.model.conversation import Conversation
from betcode.model.memory import MemoryUse
from betcode.model.news import Confirmed, Gone, Lost, MemoryHigh, News, Output, Rejected, Troubled
from betcode.wire import claude_stdin


def encode(line_id: str, command: Command) -> bytes:
    """The line that `command` is for claude, without its newline. Control requests of ours bear the line's id."""
    match command:
        case effects.Say():
            return claude_stdin.user_message(command.message_id, command.text)
        case effects.Initialize():
            return claude_stdin.initialize(line_id)
        case effects.AskVersion():
            return claude_stdin.ask_version(line_id)
        case effects.StopTurn():
            return claude_stdin.interrupt(line_id)
        case effects.Withdraw():
            return claude_stdin.cancel_message(line_id, command.message_uuid)
        case effects.Allow():
            updates = tuple(
                {"type": "addRules", "rules": [rule], "behavior": "allow", "destination": "session"}
                for rule in command.rules
            )
            return claude_stdin.allow(command.request_id, command.updated_input, updates)
        case effects.Deny():
            return claude_stdin.deny(command.request_id, command.message, command.interrupt)
        case effects.RefuseControl():
            return claude_stdin.refuse_control(command.request_id, command.reason)


class KeeperLink:
    """One run of one session. See `engine.ports.Link` for what the methods promise."""

    def __init__(
        self,
        files: SessionFiles,
        run: int,
        *,
        generation: int,
        offset: int,
        conversation: Callable[[], Conversation] = Conversation,
    ) -> None:
        """How to reach one run.

        Args:
            files: of the session.
            run: its number.
            generation: grows with every daemon start.
            offset: how much of the run's output is known already.
            conversation: reads what Claude's transcript says, once the process is gone; blocks.
        """
        self.keeper_pid: int | None = None
        self.claude_pid: int | None = None
        self.memory_bytes = 0
        self._files = files
        self._run = run
        self._generation = generation
        self._conversation = conversation
        self._position = offset
        self._skipped_at: int | None = None
        self._news: deque[News] = deque()
        self._unconfirmed: dict[str, bytes] = {}
        self._frames = protocol.FrameReader()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._end_asked: float | None = None
        self._on_disk = False
        self._exit: dict[str, object] | None = None
        self._trouble = ""
        self._memory_high = False

    # --- towards claude -----------------------------------------------------------------------------------------

    def write(self, line_id: str, command: Command) -> None:
        """Hand over one line; it is repeated after every new connection until it is confirmed."""
        if len(self._unconfirmed) >= limits.WRITES_PENDING_MAX:
            self._news.append(Rejected(line_id, "too many lines wait for this claude"))
            return
        frame = protocol.stdin_frame(line_id, encode(line_id, command))
        self._unconfirmed[line_id] = frame
        if self._streams is not None:
            self._streams[1].write(frame)

    def end(self, grace_s: float) -> None:
        """SIGTERM now, SIGKILL of the whole tree after `grace_s`."""
        self._end_asked = grace_s
        if self._streams is not None:
            self._streams[1].write(protocol.end_frame("term", grace_s=grace_s))

    async def close(self) -> None:
        """Let go of the keeper."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    # --- from claude --------------------------------------------------------------------------------------------

    async def receive(self) -> News:
        """The next news; `Gone` is the last."""
        while not self._news:
            if self._on_disk:
                await self._read_disk()
            elif self._streams is None:
                await self._connect_or_give_up()
            else:
                await self._read_socket(self._streams[0])
        return self._news.popleft()

    async def _read_socket(self, reader: asyncio.StreamReader) -> None:
        try:
            async with asyncio.timeout(limits.KEEPER_BEAT_WAIT_S):
                data = await reader.read(limits.JOURNAL_READ_BYTES)
        except TimeoutError:
            self._troubled("it is silent (stopped, or the machine is overloaded)")
            return
        except OSError:
            data = b""
        if not data:
            await self.close()
            return
        try:
            for kind, payload in self._frames.feed(data):
                self._on_frame(kind, payload)
        except protocol.ProtocolError as error:
            self._troubled(f"it sent what is not its protocol: {error}")
            await self.close()

    def _on_frame(self, kind: int, payload: bytes) -> None:
        match kind:
            case Kind.OUT:
                offset, data = protocol.out_payload(payload)
                self._output(offset, data)
            case Kind.ACK:
                self._acknowledged(protocol.json_payload(payload))
            case Kind.BEAT:
                self._beat(protocol.json_payload(payload))
            case Kind.EXIT:
                self._exit = protocol.json_payload(payload)
                self._on_disk = True
            case Kind.REFUSED:
                said = protocol.json_payload(payload)
                self._troubled(f"it refused this daemon: {said.get('message')}")
            case _:
                pass

    def _beat(self, beat: dict[str, object]) -> None:
        blocked = beat.get("journal_blocked")
        self._troubled(_journal_trouble(blocked) if blocked else "")
        use = memory_use(beat.get("memory"))
        if use is None:
            return  # a keeper of an older version
        self.memory_bytes = use.used
        if use.high and not self._memory_high:
            self._news.append(MemoryHigh(use))
        self._memory_high = use.high

    def _output(self, offset: int, data: bytes) -> None:
        """Take what is new. Output that begins too late is asked for again, once: what the keeper left out is in the
        journal. Output that begins too late again is taken, and whoever reads it sees the gap.
        """
        if offset > self._position and self._skipped_at != self._position:
            self._skipped_at = self._position
            raise protocol.ProtocolError(f"output from {offset} on, where {self._position} was next")
        fresh = data[max(0, self._position - offset) :]
        if fresh:
            start = max(offset, self._position)
            self._position = start + len(fresh)
            self._news.append(Output(start, fresh))

    def _acknowledged(self, ack: dict[str, object]) -> None:
        line_id = str(ack.get("id"))
        self._unconfirmed.pop(line_id, None)
        if ack.get("result") in ("written", "duplicate") and ack.get("state") == "done":
            self._news.append(Confirmed(line_id))
        elif ack.get("state") != "failed":  # "failed": stdin broke, perhaps half way; the end of claude decides
            self._news.append(Rejected(line_id, str(ack.get("reason"))))

    def _troubled(self, what: str) -> None:
        if what != self._trouble:
            self._trouble = what
            self._news.append(Troubled(what))

    # --- connecting ---------------------------------------------------------------------------------------------

    async def _connect_or_give_up(self) -> None:
        """Reach the keeper; find out that all is over; or end a claude that has lost its keeper."""
        loop = asyncio.get_running_loop()
        until = loop.time() + limits.KEEPER_CONNECT_WAIT_S
        while True:
            if await self._connect():
                return
            if self._files.lock_is_free():
                if self._files.is_gone():  # and the lock with it: claude may live under a keeper that nobody finds
                    await asyncio.to_thread(self._files.kill_leftovers, self._run)
                self._on_disk = True
                return
            if loop.time() >= until:
                break
            await asyncio.sleep(limits.LOCK_POLL_S)
        await asyncio.to_thread(self._files.kill_leftovers, self._run)
        self._on_disk = await self._files.lock_gets_free()
        if not self._on_disk:
            await asyncio.to_thread(self._files.kill_keepers, self._run)  # claude is gone: it has nothing left to keep
            self._on_disk = await self._files.lock_gets_free()
        if not self._on_disk:
            self._troubled("its lock is held and nobody answers; claude may be running without it")

    async def _connect(self) -> bool:
        try:
            path = str(self._files.socket())
            reader, writer = await asyncio.open_unix_connection(path, limit=limits.JOURNAL_READ_BYTES)
        except OSError:
            return False
        self._frames = protocol.FrameReader()
        try:
            async with asyncio.timeout(limits.KEEPER_CONNECT_WAIT_S):
                hello = await self._hello(reader)
        except (TimeoutError, OSError, protocol.ProtocolError):
            writer.close()
            return False
        if hello is None or hello.get("run") != self._run:
            writer.close()
            return False
        version = protocol.agreed(hello.get("protocol"))
        if version is None:  # of a release too far from this one: claude is to go on under a keeper of this release
            self._troubled(f"it speaks protocol {hello.get('protocol')}, which this version of BetCode does not know")
            writer.close()
            return False
        self.keeper_pid, self.claude_pid = pid_of(hello.get("keeper_pid")), pid_of(hello.get("claude_pid"))
        end = hello.get("out_end")
        if isinstance(end, int) and end < self._position:
            self._news.append(Lost(end, self._position - 1, "the machine lost the end of the journal"))
            self._position = end
        attach = protocol.attach_frame(generation=self._generation, from_offset=self._position, protocol=version)
        writer.write(attach)
        for frame in self._unconfirmed.values():
            writer.write(frame)
        if self._end_asked is not None:
            writer.write(protocol.end_frame("term", grace_s=self._end_asked))
        self._streams = (reader, writer)
        self._troubled("")
        return True

    async def _hello(self, reader: asyncio.StreamReader) -> dict[str, object] | None:
        while True:
            data = await reader.read(limits.JOURNAL_READ_BYTES)
            if not data:
                return None
            for kind, payload in self._frames.feed(data):
                if kind == Kind.HELLO:
                    return protocol.json_payload(payload)

    # --- after the end ------------------------------------------------------------------------------------------

    async def _read_disk(self) -> None:
        await self.close()
        try:
            data = await asyncio.to_thread(self._files.read, self._run, self._position, limits.JOURNAL_READ_BYTES)
        except JournalGap as gap:
            if self._exit is not None and self._exit.get("out_end") == self._position:
                self._news.append(self._gone())  # the files are gone, but the keeper has handed over everything
                return
            end = gap.resume_at if gap.resume_at is not None else self._files.end(self._run)
            cause = "the machine lost a part of the journal, or a file of it was removed"
            if end > self._position:
                self._news.append(Lost(self._position, end - 1, cause))
            elif self._files.end(self._run) or self._position:
                self._news.append(Lost(end, self._position - 1, cause))
            self._position = end
            if gap.resume_at is None:
                self._news.append(await asyncio.to_thread(self._gone))
            return
        self._news.append(Output(self._position, data) if data else await asyncio.to_thread(self._gone))
        self._position += len(data)

    def _gone(self) -> Gone:
        report = self._exit or self._files.exit_report(self._run) or {}
        code, signal = report.get("code"), report.get("signal")
        tail = report.get("stderr_tail")
        return Gone(
            code=code if isinstance(code, int) else None,
            signal=signal if isinstance(signal, int) else None,
            reason=str(report.get("reason") or "its keeper left no report: it was killed, or the machine stopped"),
            stderr_tail=tuple(str(line) for line in tail) if isinstance(tail, list) else (),
            written=self._files.written(self._run),
            never_started=self._exit is None and self._files.left_nothing(self._run),
            known=self._conversation(),
            memory=memory_use(report.get("memory")),
        )


def _journal_trouble(errno: object) -> str:
    if errno == ENOENT:
        return "the folder of this session was removed; if the daemon ends now, claude is ended too"
    why = os.strerror(errno) if isinstance(errno, int) else "unknown error"
    return f"it cannot write its journal: {why}"


def memory_use(value: object) -> MemoryUse | None:
    """What a keeper says of the memory of its processes; None if it says nothing, or nothing that is understood."""
    try:
        return msgspec.convert(value, _KeeperMemory).use
    except msgspec.ValidationError:
        return None


class _KeeperMemory(msgspec.Struct):
    """As in BEAT and in the exit report."""

    used: int
    limit: int
    base: int | None = None
    high: bool = False
    by_kernel: bool = False
    most: tuple[tuple[int, str, int], ...] = ()

    @property
    def use(self) -> MemoryUse:
        return MemoryUse(self.used, self.limit, self.base or 0, self.most, self.high, self.by_kernel)


def pid_of(value: object) -> int | None:
    """A pid from a JSON object; None if there is none."""
    return value if isinstance(value, int) else None
