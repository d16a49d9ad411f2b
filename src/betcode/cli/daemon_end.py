"""Have a daemon stop, and wait for its end."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from betcode.client import brief
from betcode.model import limits
from betcode.model.errors import BetcodeError

_POLL_S = 0.02
"""Between looks at a process that is ending."""


def stop_daemon(socket_path: Path, *, end_sessions: bool) -> int | None:
    """Returns the pid of the daemon that has ended, or None when there was none.

    Raises:
        BetcodeError: `daemon.unreachable` when it does not answer, or has not ended in time.
    """
    if not brief.answers(socket_path):
        return None
    pid = int(brief.ask(socket_path, "status")["daemon"]["pid"])
    patience_s = limits.SHUTDOWN_WAIT_S + (limits.INTERRUPT_GRACE_S + 2 * limits.STOP_GRACE_S if end_sessions else 0.0)
    try:
        said = brief.ask(socket_path, "stop", end_sessions=end_sessions)
        patience_s = float(said.get("within_s", patience_s))  # its settings decide; an older one does not tell
    except BetcodeError as error:
        if error.code != "daemon.unreachable":  # it may end before its reply arrives; what counts is that it ends
            raise
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if _has_ended(pid):
            return pid
        time.sleep(_POLL_S)
    raise BetcodeError(
        "daemon.unreachable",
        f"the daemon (pid {pid}) has not ended within {patience_s:.0f} s",
        hint=f"See `betcode daemon logs`. Killing it (kill -9 {pid}) loses nothing.",
    )


def _has_ended(pid: int) -> bool:
    """Also when nobody has collected its exit status, as in a container without an init process."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
