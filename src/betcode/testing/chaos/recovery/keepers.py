"""The keeper is killed or stopped, alone and together with others; and a pid that has a new owner."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

from betcode.keeper.tree import kill, processes, start_ticks
from betcode.testing.chaos.experiment import Experiment
from betcode.testing.chaos.recovery.daemons import ANOTHER_S, adopted, running_turn, said, streaming_again
from betcode.testing.chaos.stage import Stage
from betcode.testing.installation import until
from betcode.testing.limits import NEWS_S

DRAINED_S: Final = 2.0
"""Until a claude whose keeper died, and which does not end by itself, is ended."""
HELD_S: Final = 12.0
"""For a keeper that may yet answer, and for a lock that may yet be let go."""
INNOCENT: Final = """
import subprocess, sys, time
subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'])
time.sleep(300)
"""


async def _killed_without_daemon(stage: Stage) -> str:
    talk, key = await running_turn(stage)
    seen, killed_s = len(talk.view.events), stage.kill_daemon()
    talk.strike("keeper")
    state = await talk.outcome(key)
    stage.went_on(talk, killed_s, after=seen, target_s=ANOTHER_S + DRAINED_S)
    stage.check_outcome(talk, state, said(60))
    await talk.goes_on()
    return f"another claude, {state}"


async def _killed_with_stopped_claude(stage: Stage) -> str:
    """A stopped claude does not hear that its keeper died: it holds the lock until the daemon has ended it."""
    talk, key = await running_turn(stage)
    claude = talk.process("claude")
    talk.signal("claude", signal.SIGSTOP)
    seen, killed_s = len(talk.view.events), talk.strike("keeper")
    state = await talk.outcome(key)
    stage.went_on(talk, killed_s, after=seen, target_s=ANOTHER_S + HELD_S)
    stage.check_outcome(talk, state, said(60))
    stage.check(start_ticks(claude.pid) != claude.start, "the stopped claude lives")
    await talk.goes_on()
    return f"the stopped claude was ended before another one was started; {state}"


async def _stopped(stage: Stage) -> str:
    talk, key = await running_turn(stage)
    talk.signal("keeper", signal.SIGSTOP)
    await stage.pause(1.0, 3.0)
    await streaming_again(stage, talk, talk.signal("keeper", signal.SIGCONT))
    await adopted(stage, talk, key)
    await talk.goes_on()
    return "all that claude printed meanwhile came afterwards"


async def _stopped_at_adoption(stage: Stage) -> str:
    talk, key = await running_turn(stage)
    talk.signal("keeper", signal.SIGSTOP)
    stage.kill_daemon()
    await stage.pause(1.5, 2.5)
    continued_s = talk.signal("keeper", signal.SIGCONT)
    await adopted(stage, talk, key)  # claude may have finished its answer while the keeper stood still
    stage.took(time.monotonic() - continued_s, target_s=ANOTHER_S)
    await talk.goes_on()
    return "the next daemon waited for it and adopted the turn"


async def _stopped_for_good(stage: Stage) -> str:
    talk, key = await running_turn(stage)
    first = talk.process("keeper")
    talk.signal("keeper", signal.SIGSTOP)
    killed_s = stage.kill_daemon()
    state = await talk.outcome(key, within_s=60)
    stage.took(time.monotonic() - killed_s, target_s=ANOTHER_S + HELD_S)
    stage.check_outcome(talk, state, said(60))
    stage.check(start_ticks(first.pid) != first.start, "the stopped keeper lives")
    await talk.goes_on()
    finished = bool(talk.view.of("notice", code="agent.answer_unread"))
    return f"both were ended; {'the answer is from the transcript' if finished else 'sent again'}; {state}"


@contextlib.contextmanager
def _innocent() -> Iterator[tuple[int, int]]:
    """A process with a child that have nothing to do with anything; both are there until the end."""
    parent = subprocess.Popen([sys.executable, "-c", INNOCENT], env={}, start_new_session=True)
    child = 0
    try:
        while not child:
            child = next((p.pid for p in processes().values() if p.parent == parent.pid), 0)
        yield parent.pid, child
    finally:
        for pid in (child, parent.pid):
            if pid and start_ticks(pid) is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        parent.wait()


async def _reused_pid(stage: Stage) -> str:
    talk, key = await running_turn(stage)
    killed_s = stage.kill_daemon()
    for victim in ("claude", "keeper"):
        kill(talk.process(victim), signal.SIGKILL)  # each may have ended with the other
    run = talk.run() or {}
    with _innocent() as (pid, child):
        names: dict[str, Any] = run | {"keeper_pid": pid, "claude_pid": pid}  # the pids have a new owner
        (talk.folder / "1.run").write_text(json.dumps(names))
        with (talk.folder / "lock").open("r+") as lock:  # and somebody holds the lock for a while
            await until(lambda: _locked(lock), within_s=NEWS_S, what="the lock of the dead")
            stage.took(await stage.daemon_answers(killed_s), target_s=1.0)
            await asyncio.sleep(7.0)  # longer than a daemon waits for a keeper's socket
        state = await talk.outcome(key, within_s=45)
        living = [start_ticks(p) is not None for p in (pid, child)]
    stage.check(all(living), f"an innocent process was ended: parent lives {living[0]}, its child {living[1]}")
    stage.check_outcome(talk, state, said(60))
    await talk.goes_on()
    return f"the owner of the pid and its child live; {state}"


def _locked(lock: Any) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _stale_files(stage: Stage) -> str:
    talk, key = await running_turn(stage)
    seen, killed_s = len(talk.view.events), stage.kill_everything()
    with _innocent() as (pid, child):
        stage.made.paths.lock.write_text(f"{pid}\n")  # a pid file that names somebody else
        (talk.folder / "99.run").write_bytes(b"\0\xff{")
        (talk.folder / "1.exit.new").write_bytes(b'{"code": 0')
        with (talk.folder / "1.in").open("ab") as records:
            records.write(b'{"id": "torn')
        for path in (stage.made.paths.socket, talk.folder / "keeper.sock"):
            stage.check(path.exists(), f"{path.name} was not left behind: nothing to try")
        state = await talk.outcome(key)
        living = [start_ticks(p) is not None for p in (pid, child)]
    stage.went_on(talk, killed_s, after=seen, target_s=ANOTHER_S)
    stage.check(all(living), "the process that the pid file named was ended")
    stage.check_outcome(talk, state, said(60))
    (talk.folder / "99.run").unlink(missing_ok=True)
    await talk.goes_on()
    return f"sockets taken over, files passed over; {state}"


AGAIN: Final = "the message is sent again and answered once"
EXPERIMENTS: Final = (
    Experiment(
        "adopt.keeper-killed", "kill -9 of the daemon and of the keeper in a turn", AGAIN, _killed_without_daemon
    ),
    Experiment(
        "adopt.keeper-killed-claude-stopped",
        "claude is stopped (SIGSTOP) and its keeper killed with -9",
        f"the stopped claude is ended before another one starts; {AGAIN}",
        _killed_with_stopped_claude,
    ),
    Experiment("adopt.keeper-stopped", "SIGSTOP of the keeper in a turn, SIGCONT later", "nothing is lost", _stopped),
    Experiment(
        "adopt.keeper-stopped-then-adopted",
        "SIGSTOP of the keeper, kill -9 of the daemon, SIGCONT soon after the next daemon has begun",
        "the next daemon waits for the keeper and adopts the turn",
        _stopped_at_adoption,
    ),
    Experiment(
        "adopt.keeper-stopped-for-good",
        "SIGSTOP of the keeper, kill -9 of the daemon",
        "keeper and claude are ended; what claude finished meanwhile is shown from its transcript, or it is sent again",
        _stopped_for_good,
        deadline_s=90,
    ),
    Experiment(
        "adopt.reused-pid",
        "all killed; the pids in the run file belong to somebody else now, and something holds the session's lock",
        f"nobody else is ended; {AGAIN}",
        _reused_pid,
        deadline_s=90,
    ),
    Experiment(
        "adopt.stale-files",
        "all killed; sockets left behind, a pid file that names another process, torn and unreadable files",
        f"all are taken over or passed over; {AGAIN}",
        _stale_files,
    ),
)
