"""All sessions by id: creates them, finds them, runs those that have something to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec

from betcode.core import inputs
from betcode.core.importing import with_history
from betcode.core.instant import iso
from betcode.core.life import Process, Session, to_row
from betcode.engine.committer import event_row
from betcode.engine.ports import Log
from betcode.engine.session import SessionRunner
from betcode.engine.tasks import Tasks
from betcode.engine.until import until
from betcode.engine.world import World
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.events import Event
from betcode.model.frames import Summary
from betcode.model.ids import (
    SESSION_ID_ALPHABET,
    SESSION_ID_LENGTH,
    ClaudeSessionId,
    MessageId,
    PermissionId,
    SessionId,
)
from betcode.model.memory import MemoryTotal
from betcode.model.rows import Message, Options, Permission, SessionRow, Transaction
from betcode.model.states import PermissionState, SessionState

DELETED_HINT = "Start another one: betcode run PROMPT. See also: betcode sessions list"
_PREFIX_MIN = 4
"""Characters of an id that must be given at least, so that a typing error rarely hits another session."""


class Registry:
    """The sessions of one data directory."""

    def __init__(self, world: World, new_uuid: Callable[[], str]) -> None:
        """`new_uuid` makes random UUIDs (injected, so that a seed replays a run)."""
        self.world = world
        world.changed = self._changed
        self._new_uuid = new_uuid
        self._rows: dict[SessionId, SessionRow] = {}
        self._runners: dict[SessionId, SessionRunner] = {}
        self._loops: dict[SessionId, asyncio.Task[None]] = {}
        self._leaving: set[SessionId] = set()
        self._tasks = Tasks(self._runner_failed)
        self._creating = asyncio.Lock()
        self._unsure: dict[ClaudeSessionId, SessionRow] = {}
        """Creations under way, and those whose commit failed or whose client left: they may be stored all the same."""
        self.listeners: set[Callable[[SessionId], None]] = set()
        self.stopping = False

    async def open(self) -> int:
        """Load all sessions and take over those with a process or waiting messages. Returns how many those are.

        A session that is behind its mark runs too: its people learn at once that the database has lost something.
        """
        busy = []
        rows = await self.world.store.sessions()
        await self.world.spending.open(self.world.store, self.world.clock.now(), self.world.day_of)
        behind = await asyncio.to_thread(self._behind_their_marks, rows)
        gone = await asyncio.to_thread(self._without_directory, rows)
        for row in rows:
            self._rows[row.id] = row
            if row.state == SessionState.CLOSED:
                continue
            has_process = row.life.get("process", Process.NONE) != Process.NONE
            messages = await self.world.store.open_messages(row.id)
            permissions = await self.world.store.open_permissions(row.id)
            if has_process or messages or permissions or row.id in behind or row.id in gone:
                busy.append((row, messages, permissions))
        for found in busy:  # nothing is awaited here: all that work hold their slots before one that waits can begin
            runner = self._run(*found)
            if runner.id in gone:
                runner.tell(inputs.DirectoryGone())
        return len(busy)

    def _without_directory(self, rows: Sequence[SessionRow]) -> set[SessionId]:
        there = self.world.is_directory
        return {row.id for row in rows if row.state != SessionState.CLOSED and not there(row.directory)}

    def _behind_their_marks(self, rows: Sequence[SessionRow]) -> set[SessionId]:
        marks = {row.id: self.world.marks.read(row.id) for row in rows if row.state != SessionState.CLOSED}
        return {row.id for row in rows if (mark := marks.get(row.id)) and (mark.epoch, mark.seq) > (row.epoch, row.seq)}

    async def begin_again(self) -> None:
        """After a repair of the database: sessions of which it has another numbering begin again from what it has."""
        for row in await self.world.store.sessions():
            runner = self._runners.get(row.id)
            if runner is not None and runner.session.epoch != row.epoch:
                runner.begin_again()
            elif runner is None:
                self._rows[row.id] = row
                self._changed(row.id)

    async def close(self) -> None:
        """Stop all loops; processes go on under their keepers."""
        self.stopping = True
        await self._tasks.cancel()

    def beside(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside the sessions, until it ends or `close` is called; its error goes to the log."""
        self._tasks.start(name, work)

    async def end_processes(self) -> None:
        """Interrupt all turns and end all processes, within the graces of PS-4; what waits stays stored."""
        self.world.slots.close()
        runners = [r for r in self._runners.values() if r.session.process is not Process.NONE]
        await asyncio.gather(*(self._end_process(r) for r in runners))

    async def _end_process(self, runner: SessionRunner) -> None:
        until_s = self.world.clock.now().steady_s + self.world.policy.interrupt_grace_s
        with suppress(BetcodeError):  # no turn is running: then there is nothing to interrupt
            await runner.ask(lambda t: inputs.Interrupt(t, "the stop of the daemon"))
        await until(runner, lambda s: s.turn is None, until_s)
        await runner.ask(inputs.Halt)
        until_s = self.world.clock.now().steady_s + 2 * self.world.policy.stop_grace_s
        if not await until(runner, lambda s: s.process is Process.NONE, until_s):
            self.world.log.warning("claude did not end in time", session_id=runner.id)

    def _run(
        self, row: SessionRow, messages: Sequence[Message] = (), permissions: Sequence[Permission] = ()
    ) -> SessionRunner:
        runner = SessionRunner(row, self.world, messages, permissions)
        self._runners[row.id] = runner
        self._loops[row.id] = self._tasks.start(f"session {row.id}", runner.serve())
        return runner

    def _runner_failed(self, name: str, error: BaseException) -> None:
        self.world.log.error("a task failed", task=name, error_type=type(error).__name__, detail=repr(error))
        ended = [k for k in self._runners if name == f"session {k}"]
        for session in ended:
            del self._runners[session]

    def _changed(self, session: str) -> None:
        for listener in list(self.listeners):
            listener(SessionId(session))

    @property
    def memory(self) -> MemoryTotal:
        """What the processes of all sessions use together, against what they may use (PS-9)."""
        links = [runner.link for runner in self._runners.values()]
        known = [link.memory_bytes for link in links if link is not None and link.memory_bytes]
        return MemoryTotal(sum(known), self.world.memory_bytes_max, len(known))

    # --- finding ------------------------------------------------------------------------------------------------

    def find(self, given: str) -> SessionId:
        """The session with this id, or whose id begins so, or that claude calls so.

        Raises BetcodeError `session.not_found`, `session.ambiguous`.
        """
        exact = SessionId(given)
        if exact in self._rows:
            return exact
        for row in self._rows.values():
            if row.claude_session_id == given:
                return row.id
        found = [k for k in self._rows if len(given) >= _PREFIX_MIN and k.startswith(given)]
        if len(found) == 1:
            return found[0]
        if found:
            raise BetcodeError(
                "session.ambiguous",
                f"{len(found)} sessions begin with {given!r}",
                hint="Give more characters; see: betcode sessions list",
            )
        raise BetcodeError("session.not_found", f"no session {given!r}", hint="See: betcode sessions list")

    def has_conversation(self, key: str) -> bool:
        """Whether a session was made under this key."""
        return bool(key) and any(row.claude_session_id == key for row in self._rows.values())

    def knows(self, session: SessionId) -> bool:
        """Whether there is a session with exactly this id."""
        return session in self._rows

    def runner(self, session: SessionId) -> SessionRunner:
        """The session's loop, started if it does not run yet."""
        if self.stopping:
            raise BetcodeError("daemon.stopping", "the daemon is stopping", hint="Try again in a moment.")
        if session in self._leaving:
            raise BetcodeError("session.deleted", f"session {session} is being deleted", hint=DELETED_HINT)
        return self._runners.get(session) or self._run(self._rows[session])

    def running(self) -> list[SessionRunner]:
        """The loops of all sessions that have one."""
        return list(self._runners.values())

    @asynccontextmanager
    async def without_runner(self, session: SessionId) -> AsyncIterator[None]:
        """Stop a session's loop, and let none be started before the end of the block."""
        if session in self._leaving:
            raise BetcodeError("session.deleted", f"session {session} is being deleted", hint=DELETED_HINT)
        self._leaving.add(session)
        try:
            loop = self._loops.pop(session, None)
            if loop is not None:
                loop.cancel()
                await asyncio.wait([loop])
            if (runner := self._runners.pop(session, None)) is not None:
                self._rows[session] = to_row(runner.session)
            yield
        finally:
            self._leaving.discard(session)

    def log_of(self, row: SessionRow) -> Log:
        """The log of a session: its lines carry its id and the trace of whoever created it."""
        trace = {"trace_id": row.options.trace_id} if row.options.trace_id else {}
        return self.world.log.bind(session_id=row.id, **trace)

    def drop(self, session: SessionId) -> None:
        """The session was deleted: nobody finds it any more."""
        del self._rows[session]
        self._changed(session)

    def summary(self, session: SessionId) -> Summary:
        """One session at a glance, without waking it."""
        runner = self._runners.get(session)
        if runner is not None:
            return runner.summary()
        row = self._rows[session]
        return Summary(
            id=row.id,
            claude_session_id=row.claude_session_id,
            state=row.state,
            epoch=row.epoch,
            seq=row.seq,
            keeper_pid=None,
            claude_pid=None,
            dir=row.directory,
            name=row.name,
            reason=row.reason,
            created_at=row.created_at,
            run=row.run,
        )

    def summaries(self, *, limit: int = limits.LIST_MAX, closed: bool = True) -> list[Summary]:
        """Sessions at a glance, newest first."""
        chosen: list[Summary] = []
        for session in reversed(self._rows):
            summary = self.summary(session)
            if closed or summary.state != SessionState.CLOSED:
                chosen.append(summary)
            if len(chosen) >= limit:
                break
        return chosen

    def questions(self, session: SessionId | None) -> list[Permission]:
        """Open permission questions, oldest first."""
        runners = [r for k, r in self._runners.items() if session in (None, k)]
        found = [p for r in runners for p in r.session.permissions if p.state is PermissionState.PENDING]
        return sorted(found, key=lambda p: p.asked_at_unix_s)[: limits.LIST_MAX]

    def open_question(self, permission: PermissionId) -> Permission | None:
        """One question that is pending or being delivered, as its session decided last: perhaps not committed yet."""
        for runner in self._runners.values():
            for question in runner.session.permissions:
                if question.id == permission:
                    return question
        return None

    async def question(self, permission: PermissionId) -> Permission:
        """One question, open or settled. Raises `permission.not_found`."""
        question = self.open_question(permission)
        if question is not None:
            return question
        stored = await self.world.store.permission(permission)
        if stored is None:
            raise BetcodeError(
                "permission.not_found", f"no question {permission!r}", hint="See: betcode permissions list"
            )
        return stored

    async def message(self, message_id: str) -> Message | None:
        """What the store knows under an idempotency key."""
        return await self.world.store.message(MessageId(message_id))

    # --- creating -----------------------------------------------------------------------------------------------

    async def create(
        self, directory: str, name: str, options: Options, key: str, history: Sequence[Event] = ()
    ) -> SessionId:
        """Make a session. The same `key` (a UUID, may be empty) again finds the one it made before.

        `history`: what was said before in the conversation, which is called `key`.
        """
        claude_id = ClaudeSessionId(key or self._new_uuid())
        async with self._creating:  # nobody is told of a session before it is stored
            for row in self._rows.values():
                if row.claude_session_id == claude_id:
                    return row.id
            if (stone := await self.world.store.tombstone(claude_id)) is not None:
                raise deleted(SessionId(stone.session), stone.deleted_at)
            tried = self._unsure.get(claude_id)
            session = Session(
                id=self._new_id(),
                claude_session_id=claude_id,
                directory=directory,
                name=name,
                created_at=iso(self.world.clock.now().unix_s),
                options=options,
            )
            session, events = with_history(session, history)
            row = tried or to_row(session)
            self._unsure[claude_id] = row
            while len(self._unsure) > limits.CREATIONS_UNSURE_MAX:
                del self._unsure[next(iter(self._unsure))]
            if tried is None or await self.world.store.session(row.id) is None:
                rows = tuple(event_row(row.id, event) for event in events)
                await self.world.store.commit(Transaction(session=row, events=rows, creates=True))
            self._unsure.pop(claude_id, None)
            self._rows[row.id] = row
        self.log_of(row).info("session created", directory=directory)
        self._run(row)
        self._changed(row.id)
        return row.id

    def _new_id(self) -> SessionId:
        while True:
            number = int(self._new_uuid().replace("-", ""), 16)
            letters = [SESSION_ID_ALPHABET[(number >> (5 * i)) & 31] for i in range(SESSION_ID_LENGTH)]
            session = SessionId("".join(letters))
            if session not in self._rows:
                return session


def deleted(session: SessionId, when: str) -> BetcodeError:
    """Somebody wants a session that was deleted."""
    return BetcodeError("session.deleted", f"session {session} was deleted at {when}", hint=DELETED_HINT)


def question_view(question: Permission, directory: str) -> dict[str, object]:
    """A question as clients see it; `directory` is that of its session."""
    return {
        "id": question.id,
        "session": question.session,
        "dir": directory,
        "tool": question.tool,
        "input": question.input,
        "description": question.description,
        "reason": question.reason,
        "agent_id": question.agent_id,
        "state": question.state.value,
        "asked_at": iso(question.asked_at_unix_s),
        "expires_at": iso(question.deadline_unix_s),
    }


def summary_view(summary: Summary) -> dict[str, object]:
    """A summary as a reply's body holds it."""
    builtins: dict[str, object] = msgspec.to_builtins(summary)
    return builtins


__all__ = ["Registry", "deleted", "question_view", "summary_view"]
