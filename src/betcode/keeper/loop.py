"""The keeper at work: one thread that waits for pipes, sockets, signals and timers, and calls the parts.

    claude's stdout -> StdoutPipe -> Journal -> Daemons -> the attached daemon
    the attached daemon -> Daemons -> StdinPipe (StdinBook decides) -> claude's stdin
    SyncThread makes files durable beside all that

How a run ends, step by step, is in `ending.py`.
"""

from __future__ import annotations

import os
import time
from errno import ENOENT

from betcode.keeper.bare import signals, sockets, suppress
from betcode.keeper.daemons import Daemons, Requests
from betcode.keeper.decide import Ack
from betcode.keeper.ending import Ending
from betcode.keeper.guard import MEASURED, Guard
from betcode.keeper.limits import BEAT_S, HOME_S, READ_BYTES, SYNC_S
from betcode.keeper.memory import HIGH, OVER
from betcode.keeper.poller import READ, Poller
from betcode.keeper.protocol import VERSION_MAX, VERSION_MIN, Kind
from betcode.keeper.reserve import Reserve
from betcode.keeper.run import Run
from betcode.keeper.stderr_tail import StderrTail
from betcode.keeper.stdin_pipe import StdinPipe
from betcode.keeper.stdout_pipe import StdoutPipe
from betcode.keeper.syncing import SyncThread
from betcode.keeper.timers import Timers

_INTENT = "intent:"


class Keeper(Requests):
    """Keeps one run, from a started claude to the last byte taken."""

    def __init__(self, run: Run, listener: sockets.socket) -> None:
        """Takes charge of everything in `run`; claude runs already."""
        self._run = run
        self._spec = run.spec
        self._child = run.child
        self._journal = run.journal
        self._records = run.records
        self._poller = Poller()
        self._timers = Timers()
        self._stderr_tail = StderrTail()
        self._sync_failed: int | None = None
        self._syncing = False
        self._wake_fd, wake_write_fd = self._open_wake_pipe()
        self._catch_signals(wake_write_fd)
        self._syncer = SyncThread(files=run.files, wake_fd=wake_write_fd)
        self._reserve = Reserve(run.spec.session_dir, run.spec.run)
        self._daemons = Daemons(
            listener,
            poller=self._poller,
            timers=self._timers,
            journal=run.journal,
            requests=self,
            generation=run.spec.generation,
            clock=time.monotonic,
        )
        self._stdin = StdinPipe(
            run.child.stdin,
            poller=self._poller,
            records=run.records,
            sync_intent=lambda line_id: self._syncer.submit(_INTENT + line_id, run.records.fd),
            reply=self._reply,
            out_end=lambda: run.journal.end,
            clock_unix_s=time.time,
        )
        self._stdout = StdoutPipe(
            run.child.stdout,
            spec=run.spec,
            poller=self._poller,
            timers=self._timers,
            journal=run.journal,
            reserve=self._reserve,
            daemons=self._daemons,
            clock=time.monotonic,
        )
        self._guard = Guard(run.spec, run.child.pid)
        self._ending = Ending(
            run,
            timers=self._timers,
            daemons=self._daemons,
            stdin=self._stdin,
            stdout=self._stdout,
            stderr_tail=self._stderr_tail,
            guard=self._guard,
            sync_all=self._sync_all,
        )
        self._poller.watch(run.child.stderr, READ, self._on_stderr)
        self._quiet_since = time.monotonic()  # the last time a daemon left; see _on_silence
        self._timers.set("silence", self._quiet_since + run.spec.silence_s_max)
        self._timers.set("home", self._quiet_since + HOME_S)
        self._timers.set("memory", self._quiet_since + self._guard.wait_s)

    def keep(self) -> None:
        """Return when claude has ended, its report is written and the daemons have taken everything."""
        self._reserve.sweep(self._spec.session_dir)
        self._reserve.take()
        self._sync_names()  # before any intent: the thread takes one after the other
        self._ending.reap()  # it may have ended before SIGCHLD was caught
        while not self._ending.gone:
            self._poller.wait(self._timers.wait_s(time.monotonic()))
            for name in self._timers.take_due(time.monotonic()):
                self._on_timer(name)
            self._ending.proceed()
        self._reserve.give_up()

    # -- signals ----------------------------------------------------------------------------------------------

    def _open_wake_pipe(self) -> tuple[int, int]:
        read_fd, write_fd = os.pipe()
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)
        self._poller.watch(read_fd, READ, self._on_wake)
        return read_fd, write_fd

    def _catch_signals(self, wake_write_fd: int) -> None:
        signals.set_wakeup_fd(wake_write_fd, warn_on_full_buffer=False)
        for number in (signals.SIGCHLD, signals.SIGTERM):
            signals.signal(number, lambda *_: None)  # the wake-up descriptor tells; this only stops the default
        signals.pthread_sigmask(signals.SIG_UNBLOCK, (signals.SIGTERM,))  # the launcher held it back

    def _on_wake(self, _events: int) -> None:
        try:
            causes = os.read(self._wake_fd, READ_BYTES)
        except BlockingIOError:
            return
        if signals.SIGTERM in causes:
            self._ending.end("keeper_terminated", grace_s=None)
        for name, errno in self._syncer.take_finished():
            self._on_synced(name, errno)
        self._ending.reap()

    # -- timers and syncing -----------------------------------------------------------------------------------

    def _on_timer(self, name: str) -> None:
        if name == "sync":
            self._sync()
        elif name == "retry":
            self._stdout.retry()
        elif name == "silence":
            self._on_silence()
        elif name == "home":
            self._on_home()
        elif name == "beat":
            self._on_beat()
        elif name == "memory":
            self._on_memory()
        elif name in ("idle", "accept"):
            self._daemons.on_timer(name)
        else:
            self._ending.on_timer(name)

    def _on_beat(self) -> None:
        if self._daemons.is_attached:
            self._daemons.beat()
            self._timers.set("beat", time.monotonic() + BEAT_S)
            if not self._journal.blocked:
                self._reserve.take()  # if it was given up, and there is room again

    def _on_memory(self) -> None:
        if self._ending.claude_ended:
            return
        verdict = self._guard.look(answered=self._journal.end > 0)
        if verdict == OVER:
            self._ending.end("memory", grace_s=None)
        elif verdict in (HIGH, MEASURED):
            self._daemons.beat()
        self._timers.set("memory", time.monotonic() + self._guard.wait_s)

    def _on_silence(self) -> None:
        now = time.monotonic()
        since = now if self._daemons.is_attached else max(self._stdout.last_output, self._quiet_since)
        if now - since >= self._spec.silence_s_max:
            self._ending.end("silence", grace_s=None)
        else:
            self._timers.set("silence", since + self._spec.silence_s_max)

    def _on_home(self) -> None:
        """Without its folder no other daemon could find claude, and a second one would be started beside it."""
        if self._run.homeless and (self._ending.claude_ended or not self._daemons.is_attached):
            self._ending.end("homeless", grace_s=None)
        self._timers.set("home", time.monotonic() + HOME_S)

    def _sync(self) -> None:
        """Once a second while anything is written; never two at a time, so a slow disk gets no queue."""
        with suppress(OSError):  # they stay late; the next round tries again
            self._records.append_late()
        retired = self._journal.take_retired()
        for fd in retired:
            self._syncer.submit("close", fd)
        if retired:
            self._sync_names()
        if not self._syncing:
            self._syncing = True
            self._syncer.submit("records", self._records.fd)
            self._syncer.submit("journal", self._journal.fd)
        if self._records.late:
            self._timers.set_once("sync", time.monotonic() + SYNC_S)

    def _sync_names(self) -> None:
        """Make the names of new files durable: an intent in a file that a power cut can make vanish is none."""
        with suppress(OSError):  # the folder is gone (see _on_home), or no descriptor is free: tried again
            fd = os.open(self._spec.session_dir, os.O_RDONLY | os.O_CLOEXEC)
            self._syncer.submit("close", fd)

    def _on_synced(self, name: str, errno: int) -> None:
        if name.startswith(_INTENT):
            self._stdin.intent_synced(name.removeprefix(_INTENT), errno)
            self._timers.set_once("sync", time.monotonic() + SYNC_S)  # for the record of its end
            return
        self._syncing = self._syncing and name != "journal"
        self._sync_failed = errno or (None if name == "journal" else self._sync_failed)

    def _sync_all(self) -> None:
        """At the end, in this thread: nobody waits for output any more."""
        with suppress(OSError):  # the records stay without their ends: "unknown", which is true
            self._records.append_late()
        for fd in (self._records.fd, self._journal.fd):
            with suppress(OSError):  # the bytes are in the file; only a power cut could lose them
                os.fsync(fd)

    # -- stderr -----------------------------------------------------------------------------------------------

    def _on_stderr(self, _events: int) -> None:
        try:
            chunk = os.read(self._child.stderr, READ_BYTES)
        except BlockingIOError:
            return
        if not chunk:
            self._poller.forget(self._child.stderr)
            return
        self._stderr_tail.add(chunk)
        self._daemons.stderr(chunk)

    # -- what daemons ask for ---------------------------------------------------------------------------------

    def hello(self, generation: int) -> dict[str, object]:
        """Fields of HELLO."""
        return {
            "protocol": [VERSION_MIN, VERSION_MAX],
            "run": self._spec.run,
            "keeper_pid": os.getpid(),
            "claude_pid": self._child.pid,
            "out_end": self._journal.end,
            "generation": generation,
            "ended": self._ending.claude_ended,
            "started_unix_s": self._run.started_unix_s,
        }

    def beat(self) -> dict[str, object]:
        """Fields of BEAT."""
        return {
            "out_end": self._journal.end,
            "stdin_pending": self._stdin.pending,
            "journal_blocked": self._journal.blocked or (ENOENT if self._run.homeless else None),
            "sync_failed": self._sync_failed,
            "memory": self._guard.fields(),
        }

    def stdin(self, asker: int, line_id: str, line: bytes) -> None:
        """Write this line, once; the answer comes through `_reply`."""
        self._stdin.ask(asker, line_id, line)
        self._stdout.asked()

    def end(self, how: str, grace_s: float) -> None:
        """A daemon wants claude to end."""
        self._ending.end(how, grace_s=grace_s)

    def attached(self) -> None:
        """Begin the heartbeat."""
        self._timers.set("beat", time.monotonic() + BEAT_S)

    def detached(self, number: int) -> None:
        """Nobody hears the answers of this connection; without any daemon the silence counts from here."""
        self._quiet_since = time.monotonic()
        self._stdin.asker_gone(number)

    def _reply(self, asker: int, ack: Ack) -> None:
        self._daemons.reply(asker, Kind.ACK, ack.fields())
