"""How a run ends: whoever asks for it, claude's exit, the rest of its tree, the report, the farewell.

    RUNNING --claude has ended--> DRAINING --stdout at its end, or 2 s--> REPORTING --> FAREWELL --> gone

What lies in claude's pipe when it ends is read to the end, or for DRAIN_S_MAX if a tool still holds the pipe; but
bytes that the journal does not take (a full disk) are waited for as long as silence is allowed: nothing is lost.

A claude that is of no use any more is ended without being asked to: one that closed stdout or stdin and lives on, or
that prints without an end. If it and its tools use more memory than they may, all are killed at once: in the time that
an orderly end takes they could use up the machine.
"""

from __future__ import annotations

import os
import time

from betcode.keeper.bare import dump_json, signals
from betcode.keeper.daemons import Daemons
from betcode.keeper.files import write_atomically
from betcode.keeper.guard import Guard
from betcode.keeper.limits import CLOSED_S_MAX, DRAIN_S_MAX, FAREWELL_S_MAX, GRACE_S_MAX, RETRY_S, TERM_GRACE_S
from betcode.keeper.report import Ended, exit_fields
from betcode.keeper.run import Run
from betcode.keeper.stderr_tail import StderrTail
from betcode.keeper.stdin_pipe import StdinPipe
from betcode.keeper.stdout_pipe import StdoutPipe
from betcode.keeper.timers import Timers
from betcode.keeper.tree import kill_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_RUNNING = "running"
_DRAINING = "draining"
_REPORTING = "reporting"
_FAREWELL = "farewell"


class Ending:
    """The end of one run, from the wish to the last byte taken."""

    def __init__(
        self,
        run: Run,
        *,
        timers: Timers,
        daemons: Daemons,
        stdin: StdinPipe,
        stdout: StdoutPipe,
        stderr_tail: StderrTail,
        guard: Guard,
        sync_all: Callable[[], None],
    ) -> None:
        self._run = run
        self._spec = run.spec
        self._claude_pid = run.child.pid
        self._timers = timers
        self._daemons = daemons
        self._stdin = stdin
        self._stdout = stdout
        self._stderr_tail = stderr_tail
        self._guard = guard
        self._sync_all = sync_all
        self._phase = _RUNNING
        self._reason = "exited"
        self._useless = ""
        self._ended: Ended | None = None
        self._ended_unix_s = 0.0
        self._killed: list[int] = []
        self._report: dict[str, object] = {}
        self._give_up_at = 0.0  # no waiting for the disk beyond this
        self.gone = False

    @property
    def claude_ended(self) -> bool:
        """Whether claude has ended and been waited for."""
        return self._ended is not None

    # -- the wish ---------------------------------------------------------------------------------------------

    def end(self, reason: str, *, grace_s: float | None) -> None:
        """End claude. `reason` close_stdin and kill say how; memory is as urgent as kill. Every other one means
        SIGTERM, then the tree.

        `grace_s` lies between the two; None stands for TERM_GRACE_S.

        May come several times and get harder. The report names the first reason. Once claude has ended, kill,
        keeper_terminated and homeless still mean: do not wait for the disk any longer.
        """
        if self._phase != _RUNNING:
            if reason in ("kill", "keeper_terminated", "homeless"):
                self._give_up_at = time.monotonic()
            return
        if self._reason == "exited":
            self._reason = reason
        if reason == "close_stdin":
            self._stdin.close_when_written()
        elif reason in ("kill", "memory"):
            self._kill_tree()
        else:
            os.kill(self._claude_pid, signals.SIGTERM)  # not yet waited for, so the number is still its own
            grace_s = TERM_GRACE_S if grace_s is None else min(max(grace_s, 0.0), GRACE_S_MAX)
            self._timers.set("grace", time.monotonic() + grace_s)

    def on_timer(self, name: str) -> None:
        """The time of `grace`, `useless`, `drain`, `report` or `farewell` has come."""
        if name == "grace" and self._phase == _RUNNING:
            self._kill_tree()
        elif name == "useless" and self._phase == _RUNNING:
            self.end(self._useless, grace_s=None)
        elif name == "drain" and not self._stdout.drain():
            self._timers.set("drain", time.monotonic() + DRAIN_S_MAX)
        elif name == "report" and self._phase == _REPORTING:
            self._write_report()
        elif name == "farewell":
            self.gone = True

    def _look_for_uselessness(self) -> None:
        if self._stdout.flood:
            self._useless, wait_s = self._stdout.flood, 0.0
        elif self._stdout.closed:
            self._useless, wait_s = "stdout_closed", CLOSED_S_MAX
        elif self._stdin.broken:
            self._useless, wait_s = "stdin_closed", CLOSED_S_MAX
        if self._useless:
            self._timers.set("useless", time.monotonic() + wait_s)

    def _kill_tree(self) -> None:
        hit = kill_tree(os.getpid(), self._spec.mark)  # all our descendants: claude, its tools, adopted orphans
        self._killed += [pid for pid in hit if pid != self._claude_pid]

    # -- the end ----------------------------------------------------------------------------------------------

    def reap(self) -> None:
        """Wait for every process that has ended: claude, and the orphans that came to us."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._claude_pid and self._ended is None:
                self._on_ended(Ended(status, usage))

    def _on_ended(self, ended: Ended) -> None:
        self._ended = ended
        self._ended_unix_s = time.time()
        if self._reason == "exited" and self._guard.kernel_has_killed():
            self._reason = "memory"
        self._phase = _DRAINING
        now = time.monotonic()
        self._give_up_at = now + self._spec.silence_s_max
        self._timers.clear("grace")
        self._timers.clear("silence")
        self._timers.clear("useless")
        self._timers.set("drain", now + DRAIN_S_MAX)
        self._kill_tree()  # before draining: a tool that lives on could hold the pipe, and must end anyway
        self._stdin.gone()

    def proceed(self) -> None:
        """Go on to the next phase if its time has come; called after each round of the loop."""
        if self._phase == _RUNNING and not self._useless:
            self._look_for_uselessness()
        disk_hopeless = self._ended is not None and time.monotonic() >= self._give_up_at
        if self._phase == _DRAINING and (self._stdout.at_end or disk_hopeless):
            self._phase = _REPORTING
            self._timers.clear("drain")
            self._write_report()
        if self._phase == _REPORTING and disk_hopeless:
            self._say_farewell()
        if self._phase == _FAREWELL and self._daemons.all_served:
            self.gone = True

    def _write_report(self) -> None:
        """Make everything durable and write the report. On a full disk try again every second."""
        if self._ended is None:
            raise ValueError("a report was asked for before claude ended")
        if not self._report:
            self._kill_tree()  # what a dying tool may still have started
            self._report = exit_fields(
                self._spec,
                self._ended,
                reason=self._reason,
                stderr_tail=self._stderr_tail.lines(),
                times_unix_s=(self._run.started_unix_s, self._ended_unix_s),
                out_end=self._run.journal.end,
                tree_killed=self._killed,
                memory=self._guard.fields() if self._reason == "memory" else None,
            )
        self._sync_all()
        try:
            write_atomically(self._run.files, self._spec.path("exit"), dump_json(self._report), durable=True)
        except FileNotFoundError:
            self._say_farewell()  # the folder is gone: no report can be written, now or later
        except OSError:
            self._timers.set("report", time.monotonic() + RETRY_S)
        else:
            self._say_farewell()

    def _say_farewell(self) -> None:
        self._phase = _FAREWELL
        self._daemons.finish(self._report)
        self._timers.set("farewell", time.monotonic() + FAREWELL_S_MAX)
