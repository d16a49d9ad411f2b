"""The files that tell of a run to whoever comes later: `<run>.run` at its start, `<run>.exit` at its end."""

from __future__ import annotations

import os
import sys

from betcode.keeper.bare import dump_json, parse_json
from betcode.keeper.files import Files, write_atomically
from betcode.keeper.protocol import VERSION_MAX
from betcode.keeper.spec import Spec
from betcode.keeper.tree import start_ticks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from resource import struct_rusage


class Ended:
    """How claude ended, as `wait4` tells: one of `code` and `signal` is None.

    `peak_rss_bytes` is the largest of it and the children it waited for, `cpu_s` the sum of all of them.
    """

    __slots__ = ("code", "cpu_s", "peak_rss_bytes", "signal")

    def __init__(self, status: int, usage: struct_rusage) -> None:
        signalled = os.WIFSIGNALED(status)
        self.code = None if signalled else os.WEXITSTATUS(status)
        self.signal = os.WTERMSIG(status) if signalled else None
        unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes on macOS, KiB elsewhere
        self.peak_rss_bytes = usage.ru_maxrss * unit
        self.cpu_s = usage.ru_utime + usage.ru_stime


def write_run_file(spec: Spec, *, claude_pid: int, started_unix_s: float, files: Files) -> None:
    """Write `<run>.run`: whom to end if the keeper is gone and the lock still held. Raises OSError.

    Not synced: after a power cut none of these processes runs any more, and the start waits for this.
    """
    fields = {
        "keeper_pid": os.getpid(),
        "keeper_start": start_ticks(os.getpid()),
        "claude_pid": claude_pid,
        "claude_start": start_ticks(claude_pid),
        "mark": spec.mark,
        "argv0": spec.argv[0],
        "started_unix_s": started_unix_s,
        "protocol": VERSION_MAX,
    }
    write_atomically(files, spec.path("run"), dump_json(fields), durable=False)


def exit_fields(
    spec: Spec,
    ended: Ended,
    *,
    reason: str,
    stderr_tail: list[str],
    times_unix_s: tuple[float, float],
    out_end: int,
    tree_killed: list[int],
    memory: dict[str, object] | None,
) -> dict[str, object]:
    """The exit report, as on disk and in the EXIT frame.

    reason: exited (by itself), close_stdin, term, kill (asked by a daemon), silence, keeper_terminated, homeless (the
    session's folder was removed and no daemon was attached; then only EXIT carries it), stdout_closed or stdin_closed
    (by a claude that lived on), endless_line or endless_output (see LINE_OUT_BYTES_MAX and STRETCH_BYTES_MAX), memory
    (see MEMORY_BYTES_MAX; then `memory` tells what used it, as in BEAT).
    """
    return {
        "run": spec.run,
        "code": ended.code,
        "signal": ended.signal,
        "reason": reason,
        "stderr_tail": stderr_tail,
        "peak_rss_bytes": ended.peak_rss_bytes,
        "cpu_s": round(ended.cpu_s, 3),
        "started_unix_s": times_unix_s[0],
        "ended_unix_s": times_unix_s[1],
        "out_end": out_end,
        "tree_killed": tree_killed,
        "memory": memory,
    }


def read_report(path: str) -> dict[str, object] | None:
    """A `.run` or `.exit` file; None if there is none or it cannot be understood. Raises OSError on a bad disk."""
    try:
        with open(path, "rb") as file:
            value = parse_json(file.read())
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) else None
