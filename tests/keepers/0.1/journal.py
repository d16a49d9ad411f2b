"""The journal: every byte of claude's stdout, in files `<run>.<offset of its first byte>.out`.

`Journal` is the keeper's side and the only writer. Bytes are written at explicit offsets, so that repeating a
write after an error cannot double them, and what has not been written yet stays in memory and is retried: the
caller reads nothing more from claude meanwhile. A new file begins at a line end once the old one is long enough.
`JournalReader` is for anyone who comes later. A position is (run, offset in the run).
"""

from __future__ import annotations

import os

from betcode.keeper.errors import KeeperError
from betcode.keeper.files import Files

_NEWLINE = 10


class JournalGap(KeeperError):
    """Bytes before `resume_at` are lost: a power cut, or a file that was removed or cut. Never skipped silently."""

    def __init__(self, run: int, offset: int, resume_at: int | None) -> None:
        goes_on = "nothing after it is left" if resume_at is None else f"the journal goes on at {resume_at}"
        super().__init__(
            "journal_gap",
            f"run {run} has no byte {offset}; {goes_on}",
            hint="Show the loss to the user as a gap and read on from resume_at.",
        )
        self.run = run
        self.offset = offset
        self.resume_at = resume_at


def segment_path(directory: str, run: int, start: int) -> str:
    """Path of the file whose first byte is `start` of the run."""
    return f"{directory}/{run}.{start}.out"


class Journal:
    """The journal of one run, being written. `end` is how many bytes are in the files."""

    def __init__(self, directory: str, run: int, *, segment_bytes: int, files: Files) -> None:
        """Create the first file. Raises OSError; FileExistsError means that this run has been before."""
        self._directory = directory
        self._run = run
        self._segment_bytes = segment_bytes
        self._files = files
        self._starts = [0]
        self._fd = self._create(0)
        self._at_line_end = True
        self._old: tuple[int, int] | None = None  # (start, descriptor) of the finished file that was read last
        self._retired: list[int] = []
        self.end = 0
        self.unwritten = b""
        self.blocked = 0  # errno of the last write, 0 if it went through

    @property
    def fd(self) -> int:
        """Descriptor of the file being written, for syncing."""
        return self._fd

    def append(self, stdout: bytes) -> None:
        """Write `stdout`, or keep what could not be written in `unwritten` and say why in `blocked`.

        A caller that finds `blocked` set must not append before `flush` has cleared it: memory stays bounded.
        """
        if self.unwritten:
            raise ValueError("append while older bytes wait: claude's stdout must not be read when blocked")
        self.unwritten = stdout
        self.flush()

    def flush(self) -> None:
        """Write what waits, as far as it goes."""
        try:
            while self.unwritten:
                if self._at_line_end and self.end - self._starts[-1] >= self._segment_bytes:
                    self._next_segment()
                self._write_some()
            self.blocked = 0
        except OSError as error:
            self.blocked = error.errno or 5

    def _write_some(self) -> None:
        piece = self.unwritten[: self._piece_length()]
        taken = self._files.pwrite(self._fd, piece, self.end - self._starts[-1])
        if taken <= 0:
            raise OSError(28, "the system took no bytes")  # ENOSPC: the only known cause of a write of nothing
        self._at_line_end = piece[taken - 1] == _NEWLINE
        self.end += taken
        self.unwritten = self.unwritten[taken:]

    def _piece_length(self) -> int:
        """How much of what waits belongs into the present file."""
        room = self._segment_bytes - (self.end - self._starts[-1])
        if len(self.unwritten) <= room:
            return len(self.unwritten)
        newline = self.unwritten.find(b"\n", max(room - 1, 0))
        return len(self.unwritten) if newline < 0 else newline + 1

    def _next_segment(self) -> None:
        fd = self._create(self.end)
        self._retired.append(self._fd)
        self._fd = fd
        self._starts.append(self.end)

    def _create(self, start: int) -> int:
        path = segment_path(self._directory, self._run, start)
        return self._files.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)

    def take_retired(self) -> list[int]:
        """Descriptors of finished files since the last call. The caller syncs and closes them."""
        retired, self._retired = self._retired, []
        return retired

    def read(self, offset: int, count: int) -> bytes:
        """1 to `count` bytes from `offset`, which must be below `end`; fewer at the end of a file.

        Raises JournalGap if somebody removed or cut a file, OSError if it cannot be read.
        """
        start = next(start for start in reversed(self._starts) if start <= offset)
        content = os.pread(self._readable(start), min(count, self.end - offset), offset - start)
        if not content:
            raise JournalGap(self._run, offset, None)
        return content

    def _readable(self, start: int) -> int:
        if start == self._starts[-1]:
            return self._fd
        if self._old is None or self._old[0] != start:
            fd = os.open(segment_path(self._directory, self._run, start), os.O_RDONLY | os.O_CLOEXEC)
            if self._old is not None:
                os.close(self._old[1])
            self._old = (start, fd)
        return self._old[1]

    def discard(self) -> None:
        """Remove the empty first file of a run that never began."""
        os.close(self._fd)
        os.unlink(segment_path(self._directory, self._run, 0))


class JournalReader:
    """The journals in a session's folder, for reading only. Needs no keeper; nothing is cached between calls."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def runs(self) -> list[int]:
        """Numbers of all runs that left any file, oldest first."""
        names = (name.split(".") for name in os.listdir(self._directory))
        return sorted({int(parts[0]) for parts in names if len(parts) in (2, 3) and parts[0].isdecimal()})

    def segments(self, run: int) -> list[tuple[int, int]]:
        """(first offset, length) of each file of the run, in order."""
        found = []
        for name in os.listdir(self._directory):
            parts = name.split(".")
            if len(parts) == 3 and parts[0] == str(run) and parts[1].isdecimal() and parts[2] == "out":
                found.append((int(parts[1]), os.stat(f"{self._directory}/{name}").st_size))
        return sorted(found)

    def end(self, run: int) -> int:
        """Offset after the last byte of the run; 0 if there is none."""
        segments = self.segments(run)
        return segments[-1][0] + segments[-1][1] if segments else 0

    def read(self, run: int, offset: int, count: int) -> bytes:
        """Up to `count` bytes from `offset`, across files; fewer only before the end or a gap, b"" at the end.

        Raises JournalGap if byte `offset` is missing although the run has, or should have, more: a hole between
        files, a removed first file, or an offset beyond the end (the machine crashed before a sync).
        """
        pieces: list[bytes] = []
        wanted = count
        segments = self.segments(run)
        for start, length in segments:
            if start > offset:
                break
            if wanted and offset < start + length:
                piece = self._read_file(run, start, at=offset - start, count=min(wanted, start + length - offset))
                pieces.append(piece)
                offset += len(piece)
                wanted -= len(piece)
        if wanted == count:
            self._check_end(run, offset, segments)
        return b"".join(pieces)

    def _check_end(self, run: int, offset: int, segments: list[tuple[int, int]]) -> None:
        later = [start for start, _ in segments if start > offset]
        end = segments[-1][0] + segments[-1][1] if segments else 0
        if later or offset > end:
            raise JournalGap(run, offset, later[0] if later else None)

    def _read_file(self, run: int, start: int, *, at: int, count: int) -> bytes:
        fd = os.open(segment_path(self._directory, run, start), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(fd, count, at)
        finally:
            os.close(fd)
