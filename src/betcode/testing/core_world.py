"""A small world around one session's core: daemon, store, keepers, claude, people and time, driven choice by choice.

The daemon here does what the engine does: it feeds `step`, commits events, rows and the session in one transaction,
and only then carries out effects. A restart forgets everything that was not committed. `core_checks` looks at every
decision and every commit.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

from betcode.core.deadlines import deadline_s
from betcode.core.effects import Command, Effect, EndProcess, Reply, StartProcess, Write
from betcode.core.inputs import (
    Answer,
    Clear,
    Close,
    Ended,
    Halt,
    Input,
    Interrupt,
    MakeRoom,
    NotWritten,
    Release,
    Rename,
    Retry,
    Saw,
    Started,
    StartFailed,
    Tick,
    Written,
)
from betcode.core.instant import Instant
from betcode.core.life import Process, to_row
from betcode.core.session import step
from betcode.core.transcript import Transcript
from betcode.model.facts import ControlAnswer, Fact, ToolCall, TurnResult, TurnStarted
from betcode.model.ids import PermissionId
from betcode.model.memory import MemoryUse
from betcode.model.policy import DEFAULT
from betcode.model.rows import Message, Permission
from betcode.testing.builders import at, new_session, submit, uuid
from betcode.testing.core_checks import GATES, Checks
from betcode.testing.core_store import Store
from betcode.testing.model_claude import Conversation, ModelClaude

PAUSES_S = (0.01, 0.3, 1.0, 5.0, 20.0, 61.0, 130.0, 3_600.0, 86_400.0, 8 * 86_400.0)
SWOLLEN = MemoryUse(700 * 1024 * 1024, 690 * 1024 * 1024, 178 * 1024 * 1024, ((9, "python3", 500 * 1024 * 1024),))
SPOILABLE: tuple[type[Fact], ...] = (ToolCall, TurnResult, TurnStarted, ControlAnswer)


@dataclass(slots=True)
class Keeper:
    """One run: the lines for claude, which are written at most once under their id, and claude itself."""

    claude: ModelClaude
    queue: list[tuple[str, Command]] = field(default_factory=list)
    begun: set[str] = field(default_factory=set)
    news: list[Input] = field(default_factory=list)
    ending: bool = False
    memory: MemoryUse | None = None
    """What was used, if the keeper has ended claude because of that."""

    def ask(self, line_id: str, command: Command) -> None:
        """A daemon hands over a line, perhaps again."""
        if line_id in self.begun:
            self.news.append(Written(self.claude.run, line_id))
        elif all(line_id != known for known, _ in self.queue):
            self.queue.append((line_id, command))

    def write(self, choice: int) -> None:
        """Write the next line; now and then it is refused, or claude dies in the middle of it."""
        if not (self.queue and self.claude.alive):
            return
        line_id, command = self.queue.pop(0)
        if choice % 40 == 39:
            self.news.append(NotWritten(self.claude.run, line_id, "intent_failed"))
            return
        self.begun.add(line_id)
        if choice % 40 == 38:
            self.claude.die(choice)
            return
        self.claude.stdin.append(command)
        self.news.append(Written(self.claude.run, line_id))


class CoreWorld:
    """Each public method is one thing that can happen; `choice` picks among its variants."""

    def __init__(self, *, names_messages: bool = True, seed: int = 0) -> None:
        """`names_messages`: see `ModelClaude`."""
        self.session = new_session()
        self.store = Store(self.session)
        self.conversation = Conversation()
        self.checks = Checks(self.conversation)
        self.keepers: dict[int, Keeper] = {}
        self.now = at()
        self.gate = GATES[0]
        self.holding = False
        """Whether commits wait."""
        self._names_messages = names_messages
        self._rng = Random(seed)
        self._transcript = Transcript()
        self._launching = 0
        self._rerun = False
        self._pending: list[Effect] = []
        self._events = 0
        self._rows: list[Message | Permission] = []
        self._sent = 0

    @property
    def keeper(self) -> Keeper | None:
        """The keeper of the newest run, if it was ever started."""
        return self.keepers.get(self.session.run)

    # --- the daemon ---------------------------------------------------------------------------------------------

    def step(self, news: Input) -> None:
        """Decide, and commit unless commits wait."""
        before = replace(self.session, gate=self.gate)
        decision = step(before, news, self.now, self._rng)
        self.checks.decision(before, news, decision, self.now)
        self.session = decision.session
        self._events += len(decision.events)
        self._rows += decision.rows
        self._pending += decision.effects
        if not self.holding:
            self.commit()

    def commit(self) -> None:
        """Store all that was decided, then carry it out."""
        if self._events or self._rows:
            for row in self._rows:
                self.checks.row(row, self.store.messages.get(row.id), self.store.permissions.get(row.id))
                if isinstance(row, Message):
                    self.store.messages[row.id] = row
                else:
                    self.store.permissions[row.id] = row
            self.checks.numbering(self.store.row.seq, self._events, self.session)
            self.store.row = to_row(self.session)
            self.checks.reload(self.store.load(), self.session)
        effects, self._pending, self._events, self._rows = self._pending, [], 0, []
        for effect in effects:
            self._do(effect)

    def _do(self, effect: Effect) -> None:
        keeper = self.keeper
        match effect:
            case Write() if keeper is not None and effect.run == self.session.run:
                self.checks.write(effect, self.store.permissions)
                keeper.ask(effect.line_id, effect.command)
            case EndProcess() if keeper is not None and effect.run == self.session.run:
                keeper.ending = True
            case StartProcess():
                self.checks.start(effect, self.store.row, self._alive())
                self._launching, self._rerun = effect.run, effect.rerun
            case Reply():
                self.checks.acknowledged(effect, self.store.row, self.session, self.store.messages)
            case _:
                pass

    def _alive(self) -> list[int]:
        return [run for run, keeper in self.keepers.items() if keeper.claude.alive]

    def restart(self, choice: int) -> None:
        """Kill the daemon and start it again; a keeper that was just being started came up, or did not."""
        if self._launching and choice % 2:
            self._launch(self._launching)
        self._launching = 0
        self._pending, self._events, self._rows = [], 0, []
        self.holding = False
        self.session = self.store.load()
        self._transcript = Transcript()
        for keeper in self.keepers.values():
            keeper.news = []
        self.checks.restarted()
        if self.session.process is Process.NONE:
            self.step(Tick())
        else:
            self.step(Started(self.session.run, adopted=True))

    def _launch(self, run: int) -> None:
        assert not self._alive(), f"run {run} is started while {self._alive()} is alive"
        claude = ModelClaude(run, self.conversation, names_messages=self._names_messages, rerun=self._rerun)
        self.keepers[run] = Keeper(claude)

    # --- processes ----------------------------------------------------------------------------------------------

    def launch(self, choice: int) -> None:
        """The process that is being started comes up, or does not."""
        run, self._launching = self._launching, 0
        if not run:
            return
        if choice % 20 == 19:
            self.checks.start_failed_for_good = True
            self.step(StartFailed(run, "claude.not_found", "there is no claude", "install it", lasting=True))
        elif choice % 20 >= 17:
            self.step(StartFailed(run, "agent.spawn_failed", "no memory", "", lasting=False))
        else:
            self._launch(run)
            self.step(Started(run))

    def write(self, choice: int) -> None:
        """The keeper writes the next line to claude."""
        if self.keeper is not None:
            self.keeper.write(choice)

    def confirm(self, _choice: int = 0) -> None:
        """The daemon hears of the next line that was written or refused."""
        if self.keeper is not None and self.keeper.news:
            self.step(self.keeper.news.pop(0))

    def listen(self, _choice: int = 0) -> None:
        """Let claude read a line of its standard input."""
        if self.keeper is not None:
            self.keeper.claude.read_stdin()

    def work(self, choice: int) -> None:
        """Let claude go on."""
        if self.keeper is not None:
            self.keeper.claude.work(choice)

    def read(self, choice: int) -> None:
        """The daemon reads some lines of claude's output."""
        if self.keeper is None or self.session.process is Process.NONE:
            return
        lines = self.keeper.claude.lines
        for _ in range(choice % 7 + 1):
            if self.session.offset < len(lines):
                position = self.session.offset
                self.session = replace(self.session, heard_s=self.now.steady_s)
                held, self.holding = self.holding, True  # what a line says is committed together with its position
                for fact, shown in self._transcript.read(lines[position]):
                    self.step(Saw(fact, shown))
                self.session = replace(self.session, offset=position + 1, checkpoint=position + 1)
                self.holding = held
                if not held:
                    self.commit()

    def crowd(self, choice: int) -> None:
        """Other sessions take the slots, or give them back: `choice` 4."""
        self.gate = GATES[choice % len(GATES)]
        self.step(MakeRoom() if choice % 3 == 0 else Tick())

    def die(self, choice: int) -> None:
        """Kill claude."""
        if self.keeper is not None:
            self.keeper.claude.die(choice)

    def swell(self, choice: int) -> None:
        """claude and its tools use too much, and are killed."""
        if self.keeper is not None and self.keeper.claude.alive:
            self.keeper.memory = SWOLLEN
            self.checks.swollen = True
            self.keeper.claude.die(choice)

    def gone(self, choice: int) -> None:
        """SIGTERM takes effect if it was sent; the daemon hears of an end when it has read everything."""
        keeper = self.keeper
        if keeper is not None and keeper.ending:
            keeper.claude.die(choice)
        if self._launching or any(isinstance(effect, StartProcess) for effect in self._pending):
            return  # nothing was started yet, so nothing can have ended
        if self.session.process is Process.NONE or (keeper is not None and keeper.claude.alive):
            return
        while keeper is not None and self.session.offset < len(keeper.claude.lines):
            self.read(0)
        code = choice % 3 if keeper is not None else None
        written = frozenset(keeper.begun) if keeper is not None else frozenset()
        known = self.conversation.stored()
        memory = keeper.memory if keeper is not None else None
        news = Ended(self.session.run, code, None, "exited", ("out of luck",), written, known=known, memory=memory)
        self.step(news)

    def spoil(self, choice: int) -> None:
        """One of the next lines of this process comes out damaged."""
        if self.keeper is not None and self.keeper.claude.run not in self.checks.spoilt:
            self.checks.spoilt.add(self.keeper.claude.run)
            self.keeper.claude.spoil = SPOILABLE[choice % len(SPOILABLE)]

    # --- people and time ----------------------------------------------------------------------------------------

    def submit(self, choice: int) -> None:
        """Somebody sends a message: a new one, or one that was sent before, or a key with another text."""
        old = choice % 5 == 4 and self._sent > 0
        self._sent += 0 if old else 1
        number = choice % self._sent + 1 if old else self._sent
        text = "something else" if old and choice % 3 == 0 else ""
        self.step(submit(number, text=text, steer=choice % 4 == 3, known=self.store.messages.get(uuid(number))))

    def answer(self, choice: int) -> None:
        """Somebody answers a question, which may have its answer."""
        names = list(self.store.permissions)
        if names:
            name = PermissionId(names[-1 - choice // 4 % min(3, len(names))])
            allow = choice % 4 > 0
            given = {"command": "edited"} if choice % 4 == 3 else None
            self.step(Answer(900, name, allow, "bob", "", given, choice % 3 == 0, not allow and choice % 8 == 0))

    def person(self, choice: int) -> None:
        """Somebody controls the session."""
        wishes: tuple[Input, ...] = (
            Interrupt(901, "ann"),
            Release(902, "ann"),
            Retry(903, "ann"),
            Clear(904, "ann"),
            Clear(905, "ann", uuid(self._sent)),
            Interrupt(906, "bob"),
            Rename(907, f"name {choice}"),
            Release(908, "bob"),
            Halt(909),
        )
        self.step(wishes[choice % len(wishes)])

    def close(self, _choice: int = 0) -> None:
        """Somebody closes the session."""
        self.step(Close(910, "ann"))

    def wait(self, choice: int) -> None:
        """Time passes, by the wall clock more or less than really; what is due is done."""
        seconds = PAUSES_S[choice % len(PAUSES_S)]
        jump = (choice % 7 - 3) * 100.0 if choice % 5 == 0 else 0.0
        self._pass(seconds, jump)

    def _pass(self, seconds: float, jump: float = 0.0) -> None:
        self.now = Instant(self.now.unix_s + seconds + jump, self.now.steady_s + seconds)
        for _ in range(3):
            due = self._due_s()
            if due is None or due > 0:
                return
            self.step(Tick())
        due = self._due_s()
        assert due is None or due > -1e-3, "a deadline stays due: the loop would spin"

    def _due_s(self) -> float | None:
        due = deadline_s(self.session, self.now.steady_s - self.now.unix_s, DEFAULT)
        return None if due is None else due - self.now.steady_s

    def hold(self, _choice: int = 0) -> None:
        """The store becomes slow."""
        self.holding = True

    def flush(self, _choice: int = 0) -> None:
        """The store catches up."""
        self.holding = False
        self.commit()

    def flow(self, choice: int) -> None:
        """Everybody does a little of what they should."""
        self.launch(0)
        for _ in range(choice % 4 + 1):
            self.write(0)
            self.confirm()
            self.listen()
            self.work(choice)
            self.read(3)

    # --- the end ------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """From here on all behave well: people answer, release and retry, claude answers, time passes."""
        self.flush()
        self.crowd(4)
        for _ in range(60):
            self.launch(0)
            keeper = self.keeper
            while keeper is not None and keeper.claude.alive and keeper.queue:
                keeper.write(0)
            while keeper is not None and keeper.news:
                self.confirm()
            if keeper is not None:
                keeper.claude.finish()
            self.read(6)
            self.gone(0)
            for question in self.session.permissions:
                self.step(Answer(0, question.id, allow=False, by="ann"))
            if self.session.held:
                self.step(Release(0, "ann"))
            if self.session.crashed:
                self.step(Retry(0, "ann"))
            due = self._due_s()
            if due is not None:
                self._pass(max(due, 0.0) + 0.01)
            unread = keeper is not None and self.session.offset < len(keeper.claude.lines)
            ending = self.session.closing and not self.session.closed
            if not (self.session.messages or self._launching or unread or ending):
                return
        raise AssertionError(f"nothing moves any more: {self.session}")
