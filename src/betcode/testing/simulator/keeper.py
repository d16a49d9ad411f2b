"""A model of one keeper process: the production StdinBook and frames around a journal in memory.

What is modelled: the journal comes before anyone sees the bytes; an intent is recorded and durable before the line is
written; the lock is held while keeper or claude lives; a newer daemon displaces an older one; the exit report; claude
is told to end when its keeper dies.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from betcode.keeper import limits, protocol
from betcode.keeper.decide import (
    CloseStdin,
    Drop,
    Effect,
    RecordEnd,
    RecordIntent,
    Refusal,
    Reply,
    StdinBook,
    Write,
    judge_attach,
)
from betcode.keeper.protocol import FrameReader, Kind
from betcode.testing.simulator.claude import Setting
from betcode.testing.simulator.claude_turn import TalkingClaude
from betcode.testing.simulator.socket import ModelSocket
from betcode.testing.simulator.stage import Stage
from betcode.testing.simulator.truth import Truth

BAD_REASONS = frozenset({"conflict", "bad_line", "bad_id", "too_large", "ids_full"})
"""Refusals that only a defect of the daemon can cause here."""
PATIENT_BEAT_S = 15.0
"""Between beats where people take hours: just often enough not to be missed."""


class ModelKeeper:
    """One run of one session."""

    def __init__(
        self,
        stage: Stage,
        truth: Truth,
        *,
        session: str,
        run: int,
        generation: int,
        setting: Setting,
    ) -> None:
        """Starts claude. The caller has made sure that the lock was free."""
        self.session = session
        self.run = run
        self.stage = stage
        self.rng = Random(f"keeper {session} {run} {stage.plan.seed}")
        self.alive = True
        self.journal = bytearray()
        self.synced = 0
        """Bytes of the journal that survive a power cut."""
        self.lost_below = 0
        """How far the daemon had read before a power cut took some of it."""
        self.intents: dict[str, None] = {}
        """Ids in the `.in` record."""
        self.exit: dict[str, object] | None = None
        self.planned_end = False
        self.on_failure: Callable[[str], None] = lambda _session: None
        """Called when claude ended by itself in the middle of its first turn."""
        self.keeper_pid = 10_000 + run
        self.claude_pid = 20_000 + run
        self._generation = generation
        self._gentle = setting.gentle
        self._book = StdinBook()
        self._lines: dict[str, bytes] = {}
        self._pipe: list[bytes] = []
        self._reading = False
        self._sockets: dict[ModelSocket, FrameReader] = {}
        self._attached: ModelSocket | None = None
        self._askers: dict[int, ModelSocket] = {}
        self.frozen_until_s = 0.0
        """Until then it is stopped (SIGSTOP): nothing arrives at it."""
        self._operations_left = self._draw_operations()
        self.record = truth.run(session, run)
        self.record.seen_end = self._seen_end
        self.claude = TalkingClaude(stage, truth, self.record, self, setting)
        stage.note(f"keeper {session}.{run} starts claude, resume={setting.resume}")

    def _draw_operations(self) -> int:
        """After how many operations this keeper is killed; 0 for never."""
        if self._gentle or not self.stage.plan.chance(self.rng, "keeper", 0.7):
            return 0
        return self.rng.choice((self.rng.randint(1, 8), self.rng.randint(1, 60)))

    def _seen_end(self) -> int:
        return max(len(self.journal), self.lost_below)

    def half_line(self) -> bytes:
        """What stands behind the last newline of the journal, if the daemon can come to read it."""
        if self.lost_below > len(self.journal):
            return b""
        return bytes(self.journal[self.journal.rfind(b"\n") + 1 :]).strip()

    @property
    def holds_lock(self) -> bool:
        """Whether the session's lock is held by this keeper or its claude."""
        return self.alive or self.claude.alive

    def _operate(self) -> bool:
        """Count one operation; False when it is the one at which the keeper is killed."""
        if not self.alive:
            return False
        if self._operations_left and not self.stage.plan.calm:
            self._operations_left -= 1
            if not self._operations_left:
                self.kill()
                return False
        return True

    def kill(self) -> None:
        """SIGKILL of the keeper: what is in claude's pipe is lost, claude gets SIGTERM from the kernel."""
        if not self.alive:
            return
        self.alive = False
        self.stage.note(f"keeper {self.session}.{self.run} is killed")
        for socket in list(self._sockets):
            socket.break_off()
        self.claude.terminate(self.rng.choice((0.01, 0.05, 0.1, 3.0)))
        if not self.claude.alive:
            self.record.over = True

    def power_cut(self, committed: int) -> None:
        """The machine stops. `committed`: how far the database has this run's output."""
        self.alive = False
        self.lost_below = max(self.lost_below, min(committed, len(self.journal)))
        for socket in list(self._sockets):
            socket.break_off()
        self.claude.kill()
        self.record.over = True
        if self.exit is None:
            keep = self.rng.randint(min(self.synced, len(self.journal)), len(self.journal))
            del self.journal[keep:]

    # --- claude's output ----------------------------------------------------------------------------------------

    def stdout(self, data: bytes) -> None:
        """Bytes in claude's pipe."""
        self._pipe.append(data)
        if not self._reading and self.alive:
            self._reading = True
            self.stage.later(self.rng.choice((0.0, 0.0002, 0.002)), self._read_pipe)

    def _read_pipe(self) -> None:
        self._reading = False
        if self._pipe and self._operate():
            self._journal_pipe()

    def _journal_pipe(self) -> None:
        data = b"".join(self._pipe)
        self._pipe.clear()
        if not data:
            return
        start = len(self.journal)
        self.journal += data
        if self.rng.random() < 0.2:
            self.synced = len(self.journal)
        if self._attached is not None:
            self._forward(self._attached, start, len(self.journal))

    def _forward(self, socket: ModelSocket, start: int, end: int) -> None:
        """Send what the journal has from `start` on, in pieces as the seed cuts them."""
        while start < end and not socket.is_closing():
            size = min(limits.OUT_FRAME_BYTES_MAX, self.rng.choice((end - start, end - start, 7, 100)))
            stop = min(end, start + size)
            socket.send(protocol.out_frame(start, bytes(self.journal[start:stop])))
            start = stop

    def claude_ended(self, code: int | None, signal: int | None, stderr: tuple[str, ...]) -> None:
        """The process is gone: its pipe is read to the end, the report written, the daemon told."""
        if self.record.is_fruitless and not self.planned_end:
            self.on_failure(self.session)
        if not self.alive:
            self.record.over = True
            return
        self._journal_pipe()
        self.record.over = True
        self.synced = len(self.journal)
        self._perform(self._book.stdin_gone(out_offset=len(self.journal)))
        reason = "term" if self.planned_end else "exited"
        report: dict[str, object] = {"code": code, "signal": signal, "reason": reason, "stderr_tail": list(stderr)}
        self.stage.later(self.rng.uniform(0.0001, 0.01), self._report, report)

    def _report(self, report: dict[str, object]) -> None:
        if not self._operate():
            return
        self.exit = report
        if self._attached is not None:
            self._attached.send(protocol.json_frame(Kind.EXIT, report))
        for socket in list(self._sockets):
            socket.shut()
        self.alive = False

    # --- claude's input -----------------------------------------------------------------------------------------

    def _on_stdin(self, socket: ModelSocket, line_id: str, line: bytes) -> None:
        effects = self._book.ask(line_id, line, asker=socket.number, out_offset=len(self.journal))
        if not any(isinstance(effect, Reply) for effect in effects):
            self._lines.setdefault(line_id, line)
        self._perform(effects)

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Reply():
                    self._reply(effect)
                case RecordIntent():
                    self.stage.later(self.rng.uniform(0.0002, 0.003), self._record, effect.line_id)
                case Write():
                    self.stage.later(self.rng.choice((0.0, 0.001, 0.1)), self._write, effect.line_id)
                case Drop():
                    self._lines.pop(effect.line_id, None)
                case RecordEnd() | CloseStdin():
                    pass

    def _record(self, line_id: str) -> None:
        """The intent is written and synced, or the disk refuses it."""
        if not self._operate():
            return
        if not self._gentle and self.stage.plan.chance(self.rng, "keeper", 0.02):
            self._perform(self._book.intent_failed(line_id, out_offset=len(self.journal)))
            return
        effects = self._book.intent_durable(line_id)
        if effects:
            self.intents[line_id] = None
        self._perform(effects)

    def _write(self, line_id: str) -> None:
        if self._operate() and self.claude.alive and line_id in self._lines:
            self.claude.feed(self._lines[line_id])
            if self.alive and self.claude.alive:
                self._perform(self._book.line_written(line_id, out_offset=len(self.journal)))

    def _reply(self, reply: Reply) -> None:
        bad = reply.ack.reason in BAD_REASONS
        self.stage.check(not bad, "INV-1", f"the keeper refuses {reply.ack.line_id}: {reply.ack.reason}")
        socket = self._askers.get(reply.asker)
        if socket is not None and socket is self._attached:
            socket.send(protocol.json_frame(Kind.ACK, reply.ack.fields()))

    # --- daemons ------------------------------------------------------------------------------------------------

    def accept(self, socket: ModelSocket) -> None:
        """A daemon connected."""
        socket.number = len(self._askers) + 1
        socket.frozen_until_s = lambda: self.frozen_until_s
        self._askers[socket.number] = socket
        self._sockets[socket] = FrameReader()
        hello: dict[str, object] = {
            "protocol": [protocol.VERSION_MIN, protocol.VERSION_MAX],
            "run": self.run,
            "keeper_pid": self.keeper_pid,
            "claude_pid": self.claude_pid,
            "out_end": len(self.journal),
            "generation": self._generation,
            "ended": not self.claude.alive,
            "started_unix_s": 0,
        }
        socket.send(protocol.json_frame(Kind.HELLO, hello))
        if not self._gentle and self.stage.plan.chance(self.rng, "keeper", 0.1):
            self.frozen_until_s = self.stage.now_s + self.rng.uniform(0.1, 60.0)

    def received(self, socket: ModelSocket, data: bytes) -> None:
        """Bytes from a daemon."""
        frames = self._sockets.get(socket)
        if frames is None:
            return
        for kind, payload in frames.feed(data):
            if socket not in self._sockets or not self._operate():
                return
            if kind == Kind.ATTACH:
                self._on_attach(socket, protocol.json_payload(payload))
            elif kind == Kind.STDIN and socket is self._attached:
                self._on_stdin(socket, *protocol.stdin_payload(payload))
            elif kind == Kind.END and socket is self._attached:
                self._on_end(protocol.json_payload(payload))

    def _on_attach(self, socket: ModelSocket, fields: dict[str, object]) -> None:
        verdict = judge_attach(fields, generation_seen=self._generation, out_end=len(self.journal))
        if isinstance(verdict, Refusal):
            self.stage.note(f"keeper {self.session}.{self.run} refuses a daemon: {verdict.message}")
            socket.send(protocol.json_frame(Kind.REFUSED, {"code": verdict.code, "message": verdict.message}))
            socket.shut()
            return
        self._generation = verdict.generation
        if self._attached is not None and self._attached is not socket:
            refused: dict[str, object] = {"code": "older_generation", "message": "a newer daemon has attached"}
            self._attached.send(protocol.json_frame(Kind.REFUSED, refused))
            self._attached.shut()
        self._attached = socket
        self._forward(socket, verdict.offset, len(self.journal))
        self._beat(socket)

    def _beat(self, socket: ModelSocket) -> None:
        if socket is self._attached and self.alive:
            beat: dict[str, object] = {"out_end": len(self.journal), "journal_blocked": None, "sync_failed": None}
            socket.send(protocol.json_frame(Kind.BEAT, beat))
            wait_s = PATIENT_BEAT_S if self.stage.plan.patient else limits.BEAT_S
            self.stage.later(wait_s, self._beat, socket)

    def _on_end(self, fields: dict[str, object]) -> None:
        grace_s = fields.get("grace_s")
        assert isinstance(grace_s, int | float)
        self.planned_end = True
        self.stage.note(f"keeper {self.session}.{self.run} ends claude")
        self.claude.terminate(self.rng.choice((0.01, 0.05, 0.2, 2.0)))
        self.stage.later(grace_s, self.claude.kill)

    def closed(self, socket: ModelSocket) -> None:
        """A daemon's connection is gone."""
        self._sockets.pop(socket, None)
        self._book.asker_gone(socket.number)
        if self._attached is socket:
            self._attached = None
