"""From a spec on stdin to a keeper on its own: lock, socket, journal, daemon process, claude, one line on stdout.

The launcher (what the daemon waits for) does all that can fail without claude, then forks twice and passes on
what the keeper reports. The modules of the loop are imported while claude starts: a turn waits for claude, not
for them. It prints one JSON line and exits 0 or 1:

    {"ok": true, "keeper_pid", "claude_pid"}
    {"ok": false, "code", "message", "hint", "errno"}
        code: bad_spec | lock_held | journal_failed | socket_failed | spawn_failed
"""

from __future__ import annotations

import fcntl
import os
import stat
import sys
import time

from betcode.keeper.bare import dump_json, signals, sockets, suppress
from betcode.keeper.child import Child, become_subreaper, spawn
from betcode.keeper.errors import KeeperError
from betcode.keeper.files import Files
from betcode.keeper.journal import Journal
from betcode.keeper.limits import CONNECTIONS_MAX, READ_BYTES, SPEC_BYTES_MAX
from betcode.keeper.records import StdinRecords
from betcode.keeper.report import write_run_file
from betcode.keeper.spec import BadSpec, Spec, parse_spec
from betcode.keeper.tree import MARK_NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from betcode.keeper.loop import Keeper

_EX_SOFTWARE = 70  # sysexits.h: an internal error


class Prepared:
    """What a run needs before claude may start, and its removal if it never does."""

    def __init__(self, spec: Spec, *, files: Files) -> None:
        """Raises KeeperError with nothing left behind but the lock file."""
        self.spec = spec
        self.files = files
        self.lock_fd = _take_lock(spec)
        try:
            self.journal = Journal(spec.session_dir, spec.run, segment_bytes=spec.segment_bytes, files=files)
        except OSError as error:
            raise _journal_failed(error) from error
        try:
            self.records = StdinRecords(spec.session_dir, spec.run, files=files)
        except OSError as error:
            self.journal.discard()
            raise _journal_failed(error) from error
        try:
            self.listener = _listen(spec.socket)
        except KeeperError:
            self.records.discard()
            self.journal.discard()
            raise

    def discard(self) -> None:
        """The run never began: its number may be used again."""
        for path in (self.spec.path("run"), self.spec.socket):
            with suppress(OSError):  # not written yet; or it will be found stale by the next keeper
                os.unlink(path)
        with suppress(OSError):
            self.records.discard()
            self.journal.discard()


def _take_lock(spec: Spec) -> int:
    path = spec.lock_path
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _journal_failed(error) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        hint = "Attach to that keeper; if none answers, end the claude that the newest .run file names, and its tree."
        raise KeeperError(
            "lock_held", f"{path} is held by a keeper or its claude", hint=hint, errno=error.errno
        ) from error
    return fd


def _journal_failed(error: OSError) -> KeeperError:
    hint = "Check the session's folder: free space, owner, permissions; a run number must never be used twice."
    return KeeperError("journal_failed", f"cannot keep a journal: {error}", hint=hint, errno=error.errno)


def _listen(path: str) -> sockets.socket:
    hint = "Choose another path: at most about 100 bytes, in a folder of the user where nothing else has this name."
    listener = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM, 0)
    mask = os.umask(0o177)
    try:
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                raise OSError(17, "there is something else than a socket", path)
            os.unlink(path)  # stale, since we hold the lock
        listener.bind(path)
        listener.listen(CONNECTIONS_MAX)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise KeeperError("socket_failed", f"cannot listen on {path}: {error}", hint=hint, errno=error.errno) from error
    finally:
        os.umask(mask)
    return listener


def _read_spec() -> Spec:
    raw = b""
    while chunk := os.read(0, READ_BYTES):
        raw += chunk
        if len(raw) > SPEC_BYTES_MAX:
            raise BadSpec(f"the spec has more than {SPEC_BYTES_MAX} bytes")
    return parse_spec(raw)


def _failure(error: KeeperError) -> bytes:
    fields = {"ok": False, "code": error.code, "message": str(error), "hint": error.hint, "errno": error.errno}
    return dump_json(fields) + b"\n"


def main() -> None:
    """The launcher; never returns."""
    try:
        prepared = Prepared(_read_spec(), files=Files())
        answer = _start_apart(prepared)
    except KeeperError as error:
        answer = _failure(error)
    os.write(1, answer)
    os._exit(0 if answer.startswith(b'{"ok":true') else 1)


def _start_apart(prepared: Prepared) -> bytes:
    """Fork the keeper away from this process, its session and its terminal. What the keeper has to say."""
    read_fd, write_fd = os.pipe()
    between = os.fork()
    if between == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.close(read_fd)
        _be_keeper(prepared, write_fd)
    os.close(write_fd)
    os.waitpid(between, 0)
    answer = b""
    while chunk := os.read(read_fd, READ_BYTES):
        answer += chunk
    if not answer:
        hint = "Look for a file .crash in the session's folder and report it."
        raise KeeperError("spawn_failed", "the keeper ended before it could report", hint=hint)
    return answer


def _be_keeper(prepared: Prepared, report_fd: int) -> None:
    """In the keeper's process. Never returns."""
    try:
        umask = os.umask(0o077)
        os.chdir("/")  # no file system is kept busy
        _leave_stdio()
        _hold_signals()
        become_subreaper()
        started_unix_s = time.time()
        try:
            child = _start_claude(prepared, umask=umask, started_unix_s=started_unix_s)
        except KeeperError as error:
            prepared.discard()
            os.write(report_fd, _failure(error))
            os._exit(1)
        os.write(report_fd, dump_json({"ok": True, "keeper_pid": os.getpid(), "claude_pid": child.pid}) + b"\n")
        os.close(report_fd)
        keeper = _assemble(prepared, child, started_unix_s=started_unix_s)
        keeper.keep()
        with suppress(OSError):  # removed by somebody else
            os.unlink(prepared.spec.socket)
        os._exit(0)
    except BaseException:  # noqa: BLE001 - the last boundary: nobody else could ever see it
        _leave_crash_file(prepared.spec)
        os._exit(_EX_SOFTWARE)


def _start_claude(prepared: Prepared, *, umask: int, started_unix_s: float) -> Child:
    spec = prepared.spec
    env = {**spec.env, MARK_NAME: spec.mark}
    child = spawn(
        spec.argv, env=env, cwd=spec.cwd, lock_fd=prepared.lock_fd, umask=umask, files_max=int(spec.files_max)
    )
    try:
        write_run_file(spec, claude_pid=child.pid, started_unix_s=started_unix_s, files=prepared.files)
    except OSError as error:
        os.kill(child.pid, signals.SIGKILL)  # it was told nothing yet
        os.waitpid(child.pid, 0)
        raise _journal_failed(error) from error
    return child


def _assemble(prepared: Prepared, child: Child, *, started_unix_s: float) -> Keeper:
    """Import all that is left, at once, since an upgrade may replace the files later."""
    import resource  # noqa: F401, PLC0415 - os.wait4 would import it by itself, at the end

    from betcode.keeper.loop import Keeper  # noqa: PLC0415 - see the head of this file
    from betcode.keeper.run import Run  # noqa: PLC0415

    if sys.platform != "linux":
        import subprocess  # noqa: F401, PLC0415 - os.popen would import it by itself
    run = Run(
        prepared.spec,
        child,
        journal=prepared.journal,
        records=prepared.records,
        files=prepared.files,
        lock_fd=prepared.lock_fd,
        started_unix_s=started_unix_s,
    )
    return Keeper(run, prepared.listener)


def _hold_signals() -> None:
    """A closing terminal must not end a turn; a SIGTERM waits until the loop can answer it with a report."""
    for number in (signals.SIGHUP, signals.SIGINT):
        signals.signal(number, signals.SIG_IGN)
    signals.pthread_sigmask(signals.SIG_BLOCK, (signals.SIGTERM,))


def _leave_stdio() -> None:
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)


def _leave_crash_file(spec: Spec) -> None:
    """A mistake of ours: claude gets SIGTERM by this process's end; say where the mistake is."""
    import traceback  # noqa: PLC0415 - 20 ms that only a crash needs

    with suppress(OSError):
        fd = os.open(spec.path("crash"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(fd, traceback.format_exc().encode(errors="replace"))
