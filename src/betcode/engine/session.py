"""Runs one session: takes what happens, asks `core.session.step`, commits, then does what was decided.

One loop per session handles its inbox in order, so a session is a bulkhead: it waits for nothing of another. Commits
run beside the loop, everything that came meanwhile joined in one transaction; effects follow their commit. When the
store fails, the session drops what it holds in memory and begins again from what is committed and from the journal,
exactly as after a restart of the daemon: nothing that was not committed was ever shown or done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from betcode.core.backoff import delay_s
from betcode.core.deadlines import deadline_s
from betcode.core.effects import Effect, EndProcess, Refuse, Reply, StartProcess, Write
from betcode.core.foreign import strange
from betcode.core.inputs import Behind, Ended, Input, NotWritten, Saw, Started, StartFailed, Tell, Tick, Written
from betcode.core.life import Process, Session, from_rows, to_row
from betcode.core.process import keeper_notice
from betcode.core.session import step
from betcode.core.transcript import Transcript
from betcode.engine.committer import Committer
from betcode.engine.feed import Feed
from betcode.engine.identity import identify
from betcode.engine.ingest import Ingest
from betcode.engine.lookout import look
from betcode.engine.oddities import Oddities
from betcode.engine.outcomes import count
from betcode.engine.ports import Link
from betcode.engine.slots import Seat
from betcode.engine.summary import summary_of
from betcode.engine.tasks import Tasks
from betcode.engine.traces import Traces
from betcode.engine.world import World
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.events import Gap
from betcode.model.frames import Summary
from betcode.model.ids import SessionId
from betcode.model.news import Confirmed, Gone, Lost, MemoryHigh, News, Output, Rejected, Troubled
from betcode.model.rows import Message, Permission, SessionRow


@dataclass(frozen=True, slots=True)
class _FromLink:
    run: int
    news: News


@dataclass(frozen=True, slots=True)
class _LinkUp:
    run: int
    link: Link


class SessionRunner:
    """One session's loop. `serve` runs until it is cancelled."""

    def __init__(
        self, row: SessionRow, world: World, messages: Sequence[Message] = (), permissions: Sequence[Permission] = ()
    ) -> None:
        """Nothing happens before `serve`. With what is open, the session can be shown before that."""
        self.id: SessionId = row.id
        self.world = world
        trace = {"trace_id": row.options.trace_id} if row.options.trace_id else {}
        self.log = world.log.bind(session_id=row.id, **trace)
        self._run_log = self.log
        self.traces = Traces(self.log, row.options.trace_id)
        self.session: Session = from_rows(row, tuple(messages), tuple(permissions))
        self.feed = Feed(row.id, row.epoch, row.seq, world.previews)
        self.link: Link | None = None
        self._inbox: asyncio.Queue[Any] = asyncio.Queue(limits.INBOX_LENGTH)
        self._tickets: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._next_ticket = 1
        odd = Oddities(row.id, world.clock)
        self._committer = Committer(self.feed, world, self.log, lambda: to_row(self.session), self._do, odd)
        self._ingest = Ingest(row.offset, world.line_bytes_max, self.feed.transcript, self.log, world.meter)
        self._holds_start = False
        self._failed: asyncio.Future[None] | None = None
        self._tasks = Tasks(self._task_failed)
        background = row.options.background
        self.seat = Seat(row.id, world, background=background, ring=self._ring, moved=self.show_waits)
        self.seat.settle(self.session, world.clock.now())

    # --- what others call ---------------------------------------------------------------------------------------

    async def ask(self, make: Callable[[int], Input]) -> dict[str, Any]:
        """Hand in a request and wait until it is stored and done; `make` gets the ticket.

        Raises the BetcodeError with which it was refused, or `store.failed`: then nothing was done.
        """
        ticket = self._next_ticket
        self._next_ticket += 1
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._tickets[ticket] = future
        try:
            await self._inbox.put(make(ticket))
            return await future
        finally:
            self._tickets.pop(ticket, None)

    def tell(self, news: Input) -> None:
        """Hand in something that nobody waits for, before the loop has begun."""
        self._inbox.put_nowait(news)

    def begin_again(self) -> None:
        """Drop what is in memory and become what the store says: it was repaired, with another numbering."""
        repaired = "the database was repaired meanwhile"
        self._task_failed("repair", BetcodeError("store.restored", repaired, hint="Try again in a moment."))

    def summary(self) -> Summary:
        """The session at a glance."""
        return summary_of(self.session, self.feed, self.link, self.seat)

    async def serve(self) -> None:
        """Run the session. If cancelled, claude goes on under its keeper and the next daemon takes over."""
        failures = 0
        try:
            while True:
                self._failed = asyncio.get_running_loop().create_future()
                try:
                    await self._load()
                    self._tasks.start(f"loop {self.id}", self._loop())
                    self._tasks.start(f"commit {self.id}", self._committer.run())
                    await self._failed
                except BetcodeError as error:
                    failures = 1 if self._committer.committed else failures + 1
                    await self._let_go(error)
                    self.log.error("the session begins again", error_type=error.code, detail=str(error))
                    policy = self.world.policy
                    wait = delay_s(
                        failures, first_s=policy.backoff_first_s, max_s=policy.backoff_max_s, rng=self.world.rng
                    )
                    await asyncio.sleep(wait)
        finally:
            stopping = BetcodeError("daemon.stopping", "the daemon is stopping", hint="It is started again on demand.")
            await self._let_go(stopping)

    # --- beginning and letting go -------------------------------------------------------------------------------

    async def _load(self) -> None:
        """Become what the store and the journal say, and take over a process that may be alive."""
        world = self.world
        row = await world.store.session(self.id)
        if row is None:
            hint = "See: betcode sessions list"
            raise BetcodeError("session.not_found", f"session {self.id} is not stored", hint=hint)
        messages, permissions = await world.store.open_messages(self.id), await world.store.open_permissions(self.id)
        await world.spending.load(world.store, self.id)
        await identify(world, self.seat, row)
        self.session = from_rows(row, tuple(messages), tuple(permissions))
        self._committer.forget()
        self.feed.go_on_from(row.epoch, row.seq)
        mark = await asyncio.to_thread(world.marks.read, self.id)
        if mark is not None and (mark.epoch, mark.seq) > (row.epoch, row.seq):
            self.log.error("the database is behind the session's mark", stored=[row.epoch, row.seq], mark=repr(mark))
            self._step(Behind(mark))
            row = to_row(self.session)
        transcript = Transcript(answers={scope: (name, done) for scope, name, done in self.session.answers})
        if self.session.process is not Process.NONE:
            before = Ingest(row.checkpoint, world.line_bytes_max, transcript, self.log, world.meter)
            while part := await world.launcher.read_back(row, before.end):
                for _ in before.read(before.end, part):
                    await asyncio.sleep(0)
        self._read_from(row.run, row.offset, transcript)
        if self.session.process is not Process.NONE:
            self._linked(row.run, await world.launcher.adopt(row))
            self._step(Started(row.run, adopted=True))
        else:
            self._step(Tick())
        self._committer.flush()

    def _read_from(self, run: int, offset: int, transcript: Transcript) -> None:
        """Go on reading at this position; `transcript` knows the blocks that are open there."""
        world = self.world
        self._show_waits_in(transcript)
        self.feed.follow(transcript)
        self.feed.position = (run, offset)
        odd = self._committer.odd
        odd.run, odd.version = run, self.session.claude_version
        self._ingest = Ingest(offset, world.line_bytes_max, transcript, self.log, world.meter, odd)

    async def _let_go(self, error: BetcodeError) -> None:
        """Stop all tasks and leave the keeper alone. Whoever waits learns that nothing was done."""
        await self._tasks.cancel()
        self._release_start(force=True)
        self.seat.leave(self.world.clock.now())
        if self.link is not None:
            await self.link.close()
            self.link = None
        while not self._inbox.empty():
            self._inbox.get_nowait()
        for future in self._tickets.values():
            if not future.done():
                future.set_exception(error)
        self._committer.forget()
        self.feed.follow(Transcript())  # the old one may be ahead of the events that are stored

    def _task_failed(self, name: str, error: BaseException) -> None:
        if not isinstance(error, BetcodeError):
            self.log.error("a task failed", task=name, error_type=type(error).__name__, detail=repr(error))
            error = BetcodeError("internal", f"{name}: {error!r}", hint="Report this with the daemon's log.")
        if self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)

    # --- the loop -----------------------------------------------------------------------------------------------

    async def _loop(self) -> None:
        while True:
            item = await self._next()
            match item:
                case _LinkUp():
                    self._read_from(item.run, 0, Transcript())
                    self._linked(item.run, item.link)
                    self._step(Started(item.run))
                case _FromLink():
                    if item.run == self.session.run:
                        await self._on_news(item.news)
                case _:
                    self._step(item)
            for news in self.seat.take():
                self._step(news)
            self._release_start()
            await self._committer.breathe(1)

    async def _next(self) -> Any:
        now = self.world.clock.now()
        times = (deadline_s(self.session, now.steady_s - now.unix_s, self.world.policy), self.seat.due_s(now))
        due = min((t for t in times if t is not None), default=None)
        if due is None:
            return await self._inbox.get()
        try:
            async with asyncio.timeout(max(0.0, due - now.steady_s)):
                return await self._inbox.get()
        except TimeoutError:
            return Tick()

    async def _on_news(self, news: News) -> None:
        run = self.session.run
        match news:
            case Output():
                await self._read(news)
            case Confirmed():
                self._step(Written(run, news.line_id))
            case Rejected():
                self._step(NotWritten(run, news.line_id, news.reason))
            case Lost():
                self._step(Tell(Gap(unit="bytes", first=news.first, last=news.last, cause=news.cause)))
                self._ingest.skip_to(news.last + 1)
            case Troubled() | MemoryHigh():
                self._step(Tell(keeper_notice(news)))
            case Gone():
                self._on_gone(news)

    async def _read(self, output: Output) -> None:
        heard_s = self.world.clock.now().steady_s
        missing = self._ingest.gap_before(output.offset)
        if missing is not None:
            cause = "the journal continues later than it should"
            self._step(Tell(Gap(unit="bytes", first=missing[0], last=missing[1], cause=cause)))
            self._ingest.skip_to(output.offset)
        for part in self._ingest.read(output.offset, output.data):
            for fact, shown in part:
                self._step(Saw(fact, shown))
            self._note_position(heard_s)
            await self._committer.breathe(self._ingest.lines)

    def _note_position(self, heard_s: float) -> None:
        """What is committed from here on includes that the output was read this far. A copy of the session is dear."""
        position = self._ingest.position
        news: dict[str, Any] = {"heard_s": max(heard_s, self.session.heard_s), "offset": position}
        if self._ingest.readable:
            news["read_s"] = news["heard_s"]
        if self.feed.transcript.clean:
            answers = tuple((scope, name, done) for scope, (name, done) in self.feed.transcript.answers.items())
            news |= {"checkpoint": position, "answers": answers}
        self.session = replace(self.session, **news)
        self.feed.position = (self.session.run, position)
        self.feed.wake()

    def _on_gone(self, news: Gone) -> None:
        for fact, shown in self._ingest.rest():
            self._step(Saw(fact, shown))
        late = self.feed.transcript.late(news.known.answer)
        shown = self.feed.transcript.cut()
        self.link = None
        if news.never_started:
            self.log.info("claude had not been started: it is now", run=self.session.run)
        elif self.session.process is not Process.STOPPING and not self.session.closing:
            self.world.meter.crashed("none" if news.code is None else str(news.code))
        self._run_log.info("claude ended", exit_code=news.code, signal=news.signal, reason=news.reason)
        run = self.session.run
        self._step(Ended.of(run, news, shown, late))

    def _step(self, news: Input) -> None:
        """Decide, and keep what is to be committed."""
        now = self.world.clock.now()
        before = self.world.counted(self.seat.gated(self.session, now, news), now)
        decision = step(before, news, now, self.world.rng, policy=self.world.policy)
        self.session = decision.session
        self.seat.settle(self.session, now)
        self._committer.add(decision)
        count(decision.rows, self.traces, self.world.meter, self.world.clock.now().unix_s)

    def _ring(self) -> None:
        """The pool has something for it; a full inbox is about to be worked on anyway."""
        with suppress(asyncio.QueueFull):
            self._inbox.put_nowait(Tick())

    def show_waits(self) -> None:
        """Show what it waits for: its place among those that lack a slot, the seconds until the API is asked again."""
        self._show_waits_in(self.feed.transcript)
        self.feed.wake()
        self.world.changed(self.id)

    def _show_waits_in(self, transcript: Transcript) -> None:
        transcript.waits(self.seat.place, late=self.seat.late, api=self.seat.access.line(self.world.clock.now()))

    # --- effects ------------------------------------------------------------------------------------

    def _do(self, effect: Effect) -> None:
        link = self.link
        match effect:
            case Reply():
                if (future := self._tickets.get(effect.ticket)) is not None and not future.done():
                    future.set_result(effect.body)
            case Refuse():
                if (future := self._tickets.get(effect.ticket)) is not None and not future.done():
                    future.set_exception(effect.error)
            case Write():
                if link is not None and effect.run == self.session.run:
                    link.write(effect.line_id, effect.command)
            case EndProcess():
                if link is not None and effect.run == self.session.run:
                    link.end(effect.grace_s)
            case StartProcess():
                self._tasks.start(f"start {self.id}", self._start(effect))

    # --- the process --------------------------------------------------------------------------------------------

    async def _start(self, effect: StartProcess) -> None:
        run = effect.run
        await self.world.starts.acquire()
        self._holds_start = True
        begun = self.world.clock.now().steady_s
        try:
            sight = await self.world.launcher.look(to_row(self.session), None, prompts=True)
            if any(strange(self.session, sight)):
                await self._inbox.put(sight)
                return
            self._run_log, row = self.traces.of_run(to_row(self.session), self.session.messages)
            await identify(self.world, self.seat, row)
            link = await self.world.launcher.start(row, rerun=effect.rerun)
        except BetcodeError as error:
            self.world.meter.spawned(error.code, self.world.clock.now().steady_s - begun)
            self._run_log.error("claude could not be started", error_type=error.code, detail=str(error))
            await self._inbox.put(StartFailed.of(run, error))
            return
        took = self.world.clock.now().steady_s - begun
        self.world.meter.spawned("ok", took)
        self._run_log.info("claude started", run=run, claude_pid=link.claude_pid, duration_ms=round(took * 1000))
        await self._inbox.put(_LinkUp(run, link))

    def _release_start(self, *, force: bool = False) -> None:
        starting = self.session.process in (Process.STARTING, Process.UNREADY)
        if self._holds_start and (force or not starting):
            self._holds_start = False
            self.world.starts.release()

    def _linked(self, run: int, link: Link) -> None:
        self.link = link
        self._tasks.start(f"link {self.id}", self._receive(run, link))
        self.world.changed(self.id)

    async def identify(self) -> None:
        """Find out which upstream it uses, as its settings and credentials say now."""
        await identify(self.world, self.seat, to_row(self.session))

    async def look(self) -> None:
        """See whether somebody else's claude works on the conversation; it is decided on before what comes later."""
        pid = self.link.claude_pid if self.link is not None else None
        await look(self.session, pid, self.world.launcher, self._inbox.put)

    async def _receive(self, run: int, link: Link) -> None:
        while True:
            news = await link.receive()
            await self._inbox.put(_FromLink(run, news))
            if isinstance(news, Gone):
                return
