"""Start a daemon in the background and wait until it answers.

The child gets one end of a pipe (`--report-fd`) and writes one JSON line to it when it is ready or has failed:
`{"ok": true, "pid": 42}` or `{"ok": false, "code": ..., "message": ..., "hint": ...}`. So an error of its start reaches
the person who typed the command, with its code.

After the death of a daemon all its clients want a new one: a lock beside the socket lets one of them start it while
the others wait. A daemon that somebody else starts at the same moment is found out by the daemon's own lock: the second
one ends with `daemon.already_running`, and its client uses the other one.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from betcode.client import brief
from betcode.model import limits, rescue_limits
from betcode.model.errors import CODES, BetcodeError

_POLL_S = 0.02
"""Between looks at a socket that another daemon is about to open: a fifteenth of a daemon's start."""
_REPORT_BYTES_MAX = 64 * 1024
"""One line of JSON; longer is no report."""
_TAIL_BYTES = 4 * 1024
"""Looked at for the last line of stderr."""


Waiting = Callable[[], Awaitable[None]]
"""Called when the child is prepared and waits for the end of the daemon that runs."""


async def replace_daemon(
    argv: Sequence[str], *, env: Mapping[str, str], stderr_path: Path, socket_path: Path, waiting: Waiting
) -> None:
    """As `start_daemon`, with a daemon that waits for the lock; `waiting` has the present one stopped."""
    with contextlib.ExitStack() as turn:
        await _take_turn(socket_path, turn)
        await _start([*argv, "--replaces"], env, stderr_path, socket_path, last=True, waiting=waiting)


async def rehearse(argv: Sequence[str], *, env: Mapping[str, str], stderr_path: Path, socket_path: Path) -> None:
    """Find out whether a daemon could start, beside one that runs. Raises as `start_daemon` does."""
    await _start([*argv, "--rehearses"], env, stderr_path, socket_path, last=True)


async def start_through(start: Callable[[], None], *, socket_path: Path, always: bool = False) -> None:
    """Have somebody else start the daemon, and return when it answers.

    Args:
        start: blocks; raises BetcodeError.
        socket_path: where it will listen.
        always: also when another client has started one meanwhile.
    """
    with contextlib.ExitStack() as turn:
        if await _take_turn(socket_path, turn) or always:
            await asyncio.to_thread(start)
            await _other_one(socket_path, "the service was started and its daemon does not answer")


async def start_daemon(argv: Sequence[str], *, env: Mapping[str, str], stderr_path: Path, socket_path: Path) -> None:
    """Return when a daemon answers on `socket_path`: this one, or one that was faster.

    If cancelled, the daemon goes on starting.

    Args:
        argv: the command of a daemon in the foreground; `--report-fd N` is added.
        env: its whole environment.
        stderr_path: gets what it writes to standard error, appended; a file that has grown to
            `limits.DAEMON_STDERR_BYTES_MAX` begins anew. Its folder may be missing.
        socket_path: where it will listen.

    Raises:
        BetcodeError: the code the daemon reported, `daemon.start_failed` when it ended without a report, or
            `daemon.unreachable` when it did not answer within `limits.DAEMON_READY_WAIT_S`.
    """
    with contextlib.ExitStack() as turn:
        if await _take_turn(socket_path, turn):
            left = limits.DAEMON_START_TRIES
            while not await _start(argv, env, stderr_path, socket_path, last=left <= 1):
                left -= 1


async def _take_turn(socket_path: Path, turn: contextlib.ExitStack) -> bool:
    """Wait until no other client is starting a daemon. False when one has been started meanwhile.

    Those that wait look for a new socket; queueing for the lock to find out, fifty clients would take half a minute.
    """
    waited = False
    known = _identity(socket_path)
    async for _ in _attempts():
        present = _identity(socket_path)
        if present not in (None, known):
            known = present
            if await asyncio.to_thread(brief.answers, socket_path, timeout_s=limits.CLOSE_WAIT_S):
                return False
        try:
            descriptor = os.open(socket_path.with_name("starting.lock"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return True  # no folder yet: the daemon makes it, and its own lock decides
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            waited = True
            continue
        turn.callback(os.close, descriptor)
        return not (waited and await asyncio.to_thread(brief.answers, socket_path, timeout_s=limits.CLOSE_WAIT_S))
    raise BetcodeError(
        "daemon.unreachable",
        f"another client has been starting the daemon for {limits.DAEMON_READY_WAIT_S:.0f} s",
        hint="See `betcode daemon logs`, and try again.",
    )


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells the socket of one daemon from that of the next; None when there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_ctime_ns


async def _attempts() -> AsyncIterator[None]:
    """Yield every `_POLL_S` for as long as a daemon may take to start."""
    clock = asyncio.get_running_loop().time
    deadline_s = clock() + limits.DAEMON_READY_WAIT_S
    while clock() < deadline_s:
        yield
        await asyncio.sleep(_POLL_S)


async def _start(
    argv: Sequence[str],
    env: Mapping[str, str],
    stderr_path: Path,
    socket_path: Path,
    *,
    last: bool,
    waiting: Waiting | None = None,
) -> bool:
    """Start one and wait for its report. False when it was killed before that and another attempt makes sense."""
    stderr_size = _size(stderr_path)
    ours, theirs = os.pipe()
    try:
        try:
            child = _spawn([*argv, "--report-fd", str(theirs)], env, stderr_path, theirs)
        finally:
            os.close(theirs)
        try:
            report = await _report(ours, waiting)
        except BetcodeError:
            if waiting is not None:
                child.terminate()  # the old one was not stopped, or it takes too long: nothing is to happen later
            raise
    finally:
        os.close(ours)
    if report is None:
        said = _last_words(child, stderr_path, stderr_size)
        if child.returncode == -signal.SIGKILL and not last:
            return False
        raise BetcodeError("daemon.start_failed", said, hint="See `betcode daemon logs`.")
    if report.get("ok"):
        return True
    if report.get("code") != "daemon.already_running":
        code = report.get("code", "")
        known = code in CODES
        text = str(report.get("message", "the daemon did not start")) + ("" if known else f" ({code})")
        raise BetcodeError(
            code if known else "daemon.start_failed", text, hint=str(report.get("hint") or "See `betcode daemon logs`.")
        )
    await _other_one(socket_path, str(report.get("message", "")))
    return True


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _spawn(argv: Sequence[str], env: Mapping[str, str], stderr_path: Path, report_fd: int) -> subprocess.Popen[bytes]:
    """Start the child in a session of its own, so that it outlives this terminal."""
    with contextlib.ExitStack() as files:
        try:
            anew = os.O_TRUNC if _size(stderr_path) >= limits.DAEMON_STDERR_BYTES_MAX else 0
            descriptor = os.open(stderr_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | anew, 0o600)
            stderr = files.enter_context(os.fdopen(descriptor, "ab"))
        except OSError:
            # No folder yet, or none that can be written: the daemon makes it, or reports that with the right code.
            stderr = files.enter_context(open(os.devnull, "ab"))
        try:
            child = subprocess.Popen(
                argv,
                env=dict(env),
                cwd="/",  # so that it keeps no folder of the user busy
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
                pass_fds=(report_fd,),
            )
        except OSError as error:
            raise BetcodeError(
                "daemon.start_failed",
                f"{argv[0]} could not be started: {error}",
                hint="Install BetCode again; its Python may have been removed.",
            ) from error
    # Collects its exit status whenever that comes, so that a client that stays leaves no zombie.
    threading.Thread(target=child.wait, name="daemon's exit status", daemon=True).start()
    return child


async def _report(descriptor: int, waiting: Waiting | None) -> dict[str, Any] | None:
    """The child's report; None when it ended without one. Before it may come that the child waits."""
    loop = asyncio.get_running_loop()
    received: asyncio.Queue[bytes] = asyncio.Queue()
    loop.add_reader(descriptor, lambda: received.put_nowait(os.read(descriptor, _REPORT_BYTES_MAX)))
    try:
        report, rest = await _report_line(received, b"")
        while report is not None and "repairing" in report:
            sys.stderr.write(f"betcode: {report['repairing']}\nbetcode: the database is being repaired, please wait\n")
            report, rest = await _report_line(received, rest, rescue_limits.START_WAIT_S)
        if report is not None and report.get("waiting") and waiting is not None:
            await waiting()
            report, _ = await _report_line(received, rest)
        return report
    except TimeoutError:
        raise BetcodeError(
            "daemon.unreachable",
            f"the daemon was started and is not ready after {limits.DAEMON_READY_WAIT_S:.0f} s",
            hint="It goes on starting; try again, or see `betcode daemon logs`.",
        ) from None
    finally:
        loop.remove_reader(descriptor)


async def _report_line(
    received: asyncio.Queue[bytes], data: bytes, wait_s: float = limits.DAEMON_READY_WAIT_S
) -> tuple[dict[str, Any] | None, bytes]:
    """One line of the report, and what came behind it. Raises TimeoutError."""
    async with asyncio.timeout(wait_s):
        while b"\n" not in data and len(data) < _REPORT_BYTES_MAX:
            chunk = await received.get()
            if not chunk:
                break
            data += chunk
    line, _, rest = data.partition(b"\n")
    with contextlib.suppress(ValueError):
        report = json.loads(line)
        if isinstance(report, dict):
            return report, rest
    return None, rest


async def _other_one(socket_path: Path, message: str) -> None:
    """Wait until the daemon that was faster answers."""
    async for _ in _attempts():
        if await asyncio.to_thread(brief.answers, socket_path, timeout_s=limits.CLOSE_WAIT_S):
            return
    raise BetcodeError(
        "daemon.unreachable",
        message or "another daemon holds the lock of this data directory and does not answer",
        hint=f"It should listen on {socket_path}. See `betcode daemon logs`; end it by its pid and try again.",
    )


def _last_words(child: subprocess.Popen[bytes], stderr_path: Path, stderr_size: int) -> str:
    """How the child ended, with its last line on stderr."""
    try:
        code: int | None = child.wait(limits.CLOSE_WAIT_S)
    except subprocess.TimeoutExpired:
        code = None
    how = {None: "closed its report without a word", 0: "ended at once"}.get(
        code, f"ended with exit code {code}" if (code or 0) > 0 else f"was ended by signal {-(code or 0)}"
    )
    try:
        with stderr_path.open("rb") as log:
            end = stderr_path.stat().st_size
            log.seek(max(stderr_size if stderr_size <= end else 0, end - _TAIL_BYTES))
            lines = log.read().decode("utf-8", "replace").split("\n")
    except OSError:
        lines = []
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"the daemon {how} before it was ready" + (f": {last}" if last else "")
