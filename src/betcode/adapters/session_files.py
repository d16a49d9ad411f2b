"""The files of a session in the data directory, and whether anything still holds its lock."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path

from betcode.keeper.journal import JournalGap, JournalReader
from betcode.keeper.records import read_records
from betcode.keeper.report import read_report
from betcode.keeper.tree import Process, kill, kill_tree, start_ticks
from betcode.model import limits
from betcode.model.errors import BetcodeError

SIGKILL = 9
_POLL_S = 0.02
"""Between looks at a lock that is about to be freed."""


class SessionFiles:
    """Names and reads the files of one session; `keeper/protocol.py` and `docs/files.md` describe them."""

    def __init__(self, directory: Path) -> None:
        """`directory`: DATA/sessions/<id>. Nothing is created."""
        self.directory = directory
        self._journal = JournalReader(str(directory))

    def prepare(self) -> None:
        """Create the directory, private to the user."""
        self.directory.parent.mkdir(mode=0o700, exist_ok=True)
        self.directory.mkdir(mode=0o700, exist_ok=True)

    def socket(self) -> Path:
        """Where the keeper listens: in the session's directory, or, if that path is too long, in a private one."""
        usual = self.directory / "keeper.sock"
        if len(os.fsencode(usual)) <= limits.SOCKET_PATH_BYTES_MAX:
            return usual
        private = Path(tempfile.gettempdir()) / f"betcode-keepers-{os.getuid()}"
        private.mkdir(mode=0o700, exist_ok=True)
        found = private.lstat()
        if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077:
            raise BetcodeError(
                "config.insecure",
                f"{str(private)!r} is open to other users",
                hint=f"Remove it, or choose a shorter data directory (--data-dir): {self.directory}",
            )
        digest = hashlib.blake2s(os.fsencode(self.directory.absolute()), digest_size=8).hexdigest()
        return private / f"{digest}.sock"

    def mark(self, run: int) -> str:
        """What all processes of this run carry in their environment."""
        return f"{self.directory.name}.{run}"

    def is_gone(self) -> bool:
        """Whether somebody removed the session's directory, or none was ever made."""
        return not self.directory.is_dir()

    def runs(self) -> list[int]:
        """Numbers of all processes that left any file, oldest first; none when the directory is gone."""
        try:
            return self._journal.runs()
        except FileNotFoundError:
            return []

    def end(self, run: int) -> int:
        """Length of the run's journal in bytes; 0 when there is none."""
        try:
            return self._journal.end(run)
        except FileNotFoundError:
            return 0

    def read(self, run: int, offset: int, count: int) -> bytes:
        """Journal bytes; empty at its end. Raises keeper.journal.JournalGap."""
        try:
            return self._journal.read(run, offset, count)
        except FileNotFoundError as error:  # the whole directory, or a segment that is just being removed
            raise JournalGap(run, offset, None) from error

    def read_back(self, run: int, start: int, end: int) -> bytes:
        """Journal bytes between two offsets, as far as they are there."""
        parts: list[bytes] = []
        while start < end:
            try:
                part = self.read(run, start, min(limits.JOURNAL_READ_BYTES, end - start))
            except JournalGap:
                break
            if not part:
                break
            parts.append(part)
            start += len(part)
        return b"".join(parts)

    def written(self, run: int) -> frozenset[str]:
        """Ids of the stdin lines that the keeper began to write: with these, claude may have read them."""
        try:
            records = read_records(str(self.directory / f"{run}.in"))
        except FileNotFoundError:
            return frozenset()
        return frozenset(str(r["id"]) for r in records if "id" in r)

    def exit_report(self, run: int) -> dict[str, object] | None:
        """What the keeper wrote about the end of the run."""
        return read_report(str(self.directory / f"{run}.exit"))

    def run_file(self, run: int) -> dict[str, object] | None:
        """What the keeper wrote at the start of the run: pids, and the mark of its process tree."""
        return read_report(str(self.directory / f"{run}.run"))

    def lock_is_free(self) -> bool:
        """Whether neither a keeper nor its claude lives: the kernel frees the lock only when both are gone."""
        try:
            fd = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            return True
        finally:
            os.close(fd)

    async def lock_gets_free(self) -> bool:
        """Wait for the end of whoever holds the lock. False when it is still held after `limits.LOCK_WAIT_S`."""
        for _ in range(round(limits.LOCK_WAIT_S / limits.LOCK_POLL_S)):
            if self.lock_is_free():
                return True
            await asyncio.sleep(limits.LOCK_POLL_S)
        return False

    def left_nothing(self, run: int) -> bool:
        """Whether no trace of this run is here: then its claude was never started, or at least never told anything."""
        return not (self.run_file(run) or self.exit_report(run) or self.end(run) or self.written(run))

    def erase(self) -> None:
        """Remove the directory with all that is in it, and the socket. Harmless when they are gone.

        Blocks. Raises BetcodeError `store.failed`: something is left, and may be removed later.
        """
        hint = "It is tried again at the next start of the daemon."
        try:
            if not self.directory.exists():
                return
            deadline = time.monotonic() + limits.LOCK_WAIT_S
            while not self.lock_is_free():  # the keeper writes its last report
                if time.monotonic() >= deadline:
                    raise BetcodeError("store.failed", f"{str(self.directory)!r} is still in use", hint=hint)
                time.sleep(_POLL_S)
            self.socket().unlink(missing_ok=True)
            shutil.rmtree(self.directory)
        except OSError as error:
            raise BetcodeError(
                "store.failed", f"{str(self.directory)!r} could not be removed: {error.strerror}", hint=hint
            ) from error

    def kill_leftovers(self, run: int) -> list[int]:
        """End a claude whose keeper does not answer, with its tools. Only processes that carry a run's mark or pid.

        It may belong to another run than `run`: to one that an earlier daemon had begun to start and whose keeper was
        late, or to one that an older copy of the database does not know.
        """
        ended: list[int] = []
        if self.is_gone():
            return kill_tree(-1, self.mark(run))
        for number in self._latest_runs(run):
            facts = self.run_file(number) or {}
            if number == run or isinstance(facts.get("claude_start"), int):  # else a pid could have a new owner
                ended += _kill_claude(facts)
        return ended

    def kill_keepers(self, run: int) -> list[int]:
        """End keepers that hold the lock although their claude is gone: stopped, or stuck."""
        ended: list[int] = []
        for number in self._latest_runs(run):
            facts = self.run_file(number) or {}
            pid, start = facts.get("keeper_pid"), facts.get("keeper_start")
            if isinstance(pid, int) and isinstance(start, int) and kill(Process(pid, 0, start), SIGKILL):
                ended.append(pid)
        return ended

    def _latest_runs(self, run: int) -> list[int]:
        """`run` and the newest others, of which one may hold the lock."""
        try:
            names = os.listdir(self.directory)
        except FileNotFoundError:
            return [run]
        runs = {int(name[:-4]) for name in names if name.endswith(".run") and name[:-4].isdecimal()}
        return [run, *sorted(runs - {run}, reverse=True)[: limits.RUNS_LOOKED_AT_MAX]]


def _kill_claude(facts: dict[str, object]) -> list[int]:
    """End the claude that a run file names, and everything that bears the run's mark."""
    pid, start, mark = facts.get("claude_pid"), facts.get("claude_start"), facts.get("mark")
    if not isinstance(pid, int) or not isinstance(mark, str):
        return []
    ended: list[int] = []
    if start is not None and start_ticks(pid) != start:
        pid = -1  # ended; the number may have a new owner, whose children are none of ours
    else:
        claude = Process(pid, 0, start if isinstance(start, int) else None)
        if kill(claude, SIGKILL):
            ended.append(pid)
    ended += kill_tree(pid, mark)
    if pid in ended:
        _wait_for_end(claude)
    return ended


def _wait_for_end(killed: Process) -> None:
    """Until it is gone: before that no other claude may begin (INV-7). Blocks, for `limits.KILLED_WAIT_S` at most."""
    until = time.monotonic() + limits.KILLED_WAIT_S
    while (now := start_ticks(killed.pid)) is not None and now == (killed.start or now) and time.monotonic() < until:
        time.sleep(_POLL_S)
