"""Starting claude: fork and exec by hand, since `subprocess` costs 18 ms and cannot do all that is needed here."""

from __future__ import annotations

import os
import sys

from betcode.keeper.bare import prctl, signals
from betcode.keeper.errors import KeeperError
from betcode.keeper.limits import FILES_HARD_MAX

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_STDERR = 2
_DESCRIPTORS_MAX = 65_536  # closed in the child: far above what a keeper (about 15) or a careless daemon has open


class SpawnFailed(KeeperError):
    """claude could not be started; nothing of it runs."""

    def __init__(self, program: str, *, step: str, errno: int) -> None:
        message = f"cannot start {program!r}: {step} failed: {os.strerror(errno)}"
        hint = "Check that the folder of the session exists and that `claude` is installed and may be executed."
        super().__init__("spawn_failed", message, hint=hint, errno=errno)


class Child:
    """claude and our ends of its pipes, all nonblocking and not inherited by anything."""

    __slots__ = ("pid", "stderr", "stdin", "stdout")

    def __init__(self, pid: int, *, stdin: int, stdout: int, stderr: int) -> None:
        self.pid = pid
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr


def become_subreaper() -> bool:
    """Orphans of claude come to this process instead of init (Linux; elsewhere False)."""
    return prctl(_PR_SET_CHILD_SUBREAPER, 1)


def spawn(argv: list[str], *, env: dict[str, str], cwd: str, lock_fd: int, umask: int, files_max: int) -> Child:
    """Start `argv` in a session of its own, with three pipes and the lock's descriptor and no other.

    It may have `files_max` files open, and raise that to FILES_HARD_MAX itself.

    On Linux it gets SIGTERM when this thread ends, whatever ends it: without its keeper it would run on unseen.
    Raises SpawnFailed. The caller must have no other threads yet.
    """
    ours, theirs, report = _pipes()
    keeper = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        _close(*ours, *theirs, *report)
        raise SpawnFailed(argv[0], step="fork", errno=error.errno or 0) from error
    if pid == 0:
        keep = (lock_fd, report[1])
        _exec(argv, env=env, cwd=cwd, keep=keep, stdio=theirs, umask=umask, keeper=keeper, files_max=files_max)
    _close(*theirs, report[1])
    problem = os.read(report[0], 200)  # ends when exec closes the other end
    os.close(report[0])
    if problem:
        os.waitpid(pid, 0)
        _close(*ours)
        errno, _, step = problem.decode().partition(" ")
        raise SpawnFailed(argv[0], step=step, errno=int(errno))
    for fd in ours:
        os.set_blocking(fd, False)
    return Child(pid, stdin=ours[0], stdout=ours[1], stderr=ours[2])


def _pipes() -> tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int]]:
    opened: list[int] = []
    try:
        for _ in range(4):
            opened += os.pipe()
    except OSError as error:
        _close(*opened)
        raise SpawnFailed("claude", step="pipe", errno=error.errno or 0) from error
    in_read, in_write, out_read, out_write, err_read, err_write, report_read, report_write = opened
    return (in_write, out_read, err_read), (in_read, out_write, err_write), (report_read, report_write)


def _close(*fds: int) -> None:
    for fd in fds:
        os.close(fd)


def _exec(
    argv: list[str],
    *,
    env: dict[str, str],
    cwd: str,
    keep: tuple[int, int],
    stdio: tuple[int, int, int],
    umask: int,
    keeper: int,
    files_max: int,
) -> None:
    """In the child. Never returns: execs, or reports "errno step" and exits."""
    step = "prepare"
    try:
        os.setsid()
        _plain_signals()
        prctl(_PR_SET_PDEATHSIG, signals.SIGTERM)
        if sys.platform == "linux" and os.getppid() != keeper:
            os._exit(1)  # it died before the line above could notice
        for target, fd in enumerate(stdio):
            os.dup2(fd, target, inheritable=True)
        lock_fd = keep[0]
        low, high = sorted(keep)
        os.closerange(_STDERR + 1, low)
        os.closerange(low + 1, high)
        os.closerange(high + 1, _DESCRIPTORS_MAX)
        os.set_inheritable(lock_fd, True)
        _limit_files(files_max)
        os.umask(umask)
        step = f"entering {cwd}"
        os.chdir(cwd)
        step = "exec"
        os.execvpe(argv[0], argv, env)
    except BaseException as error:  # noqa: BLE001 - a forked copy of the keeper must not live on
        errno = error.errno if isinstance(error, OSError) and error.errno else 5
        os.write(keep[1], f"{errno} {step}".encode())
    finally:
        os._exit(127)


def _limit_files(files_max: int) -> None:
    import resource  # noqa: PLC0415 - only this process needs it now; the keeper loads it while claude starts

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(files_max, FILES_HARD_MAX)
    hard = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(files_max, hard), hard))


def _plain_signals() -> None:
    """Give every signal its default meaning again: what is ignored stays ignored across exec."""
    signals.set_wakeup_fd(-1)
    for number in (signals.SIGHUP, signals.SIGINT, signals.SIGQUIT, signals.SIGTERM, signals.SIGPIPE, signals.SIGXFSZ):
        signals.signal(number, signals.SIG_DFL)
    signals.signal(signals.SIGCHLD, signals.SIG_DFL)
    signals.pthread_sigmask(signals.SIG_SETMASK, ())
