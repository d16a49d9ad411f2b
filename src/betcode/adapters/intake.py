"""The intake log: what was acknowledged to people, a second time and outside the database (SQ-11).

`DATA/intake/<n>.log`, append-only. A record is a header (magic, length, CRC-32 of length and payload) and a JSON
payload; zeros follow the last one, written ahead because syncing a file is many times quicker while it does not grow.
Rules:
  1. `append` returns when everything it was given is on the disk: one write, one sync.
  2. A record that was not acknowledged may be found later; an acknowledged one is never missing.
  3. At opening, a torn end of the newest segment is cut off. Damage that whole records follow is never cut: the next
     record goes to a new segment; whoever reads gets what follows, and is told what could not be read.

One thread uses a log at a time; the lock of the data directory keeps other processes out.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
from msgspec import Raw, Struct

from betcode.model import limits
from betcode.model.rows import Deletion, EventRow, Message, Permission, SessionRow, Transaction
from betcode.model.states import SessionState

_MAGIC: Final = b"\xffBI1"
"""Begins with a byte that no JSON text holds, so that it is never found inside a payload."""
_HEADER: Final = struct.Struct("<4sII")


class Record(Struct, frozen=True, omit_defaults=True):
    """A transaction. A field added here or in the rows needs a default: old logs lack it."""

    session: SessionRow
    creates: bool = False
    messages: tuple[Message, ...] = ()
    permissions: tuple[Permission, ...] = ()
    events: tuple[Raw, ...] = ()
    """Bodies of the events, so that a transaction that the database missed can be repeated exactly."""
    deletion: Deletion | None = None
    rev: int = 0
    """The revision of the transaction in the database; 0 in a log from before it was kept."""

    def transaction(self) -> Transaction:
        """What was to be committed. Raises msgspec.DecodeError for an event that is none."""
        events = tuple(self._event(bytes(body)) for body in self.events)
        return Transaction(self.session, events, self.messages, self.permissions, self.creates, self.deletion)

    def _event(self, body: bytes) -> EventRow:
        head = _decode_head(body)
        return EventRow(self.session.id, head.epoch, head.seq, head.kind, head.time, body)


class _Head(Struct, frozen=True):
    """The columns of an event that are also in its body."""

    kind: str
    epoch: int
    seq: int
    time: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A stretch of a segment that could not be read."""

    segment: int
    offset: int
    lost_bytes: int
    torn_end: bool
    """No whole record follows: an append that was interrupted, so never acknowledged."""
    detail: str
    records: int = 1
    """How many records began in it, as far as can be told."""


class DiskFiles:
    """The file operations of the log, all raising OSError. Tests pass a subclass that fails on demand."""

    def open(self, path: Path, flags: int) -> int:
        """A descriptor; a new file is private to its owner."""
        return os.open(path, flags, 0o600)

    def open_to_read(self, path: Path) -> BinaryIO:
        """The whole file, from its beginning."""
        return path.open("rb")

    def pwrite(self, fd: int, content: bytes | memoryview, offset: int) -> int:
        """How many bytes the system took, perhaps fewer than given."""
        return os.pwrite(fd, content, offset)

    def sync(self, fd: int) -> None:
        """Return when the content is on the disk, also past the drive's own cache."""
        if hasattr(fcntl, "F_FULLFSYNC"):  # macOS
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
        else:
            os.fdatasync(fd)

    def truncate(self, fd: int, length: int) -> None:
        """Cut the file."""
        os.ftruncate(fd, length)

    def sync_directory(self, path: Path) -> None:
        """Make the names of new files durable."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def encode(transaction: Transaction, rev: int = 0) -> bytes | None:
    """The payload for a transaction, or None when it holds nothing that people were promised.

    Raises TypeError, ValueError, OverflowError or RecursionError for values that JSON cannot hold.
    """
    closes = transaction.session.life.get("closing") or transaction.session.state == SessionState.CLOSED
    if not (transaction.creates or transaction.messages or transaction.permissions or transaction.deletion or closes):
        return None
    return encode_whole(transaction, rev)


def encode_whole(transaction: Transaction, rev: int) -> bytes:
    """The payload for a transaction, whatever it holds: for when the log is all that there is.

    Raises as `encode` does.
    """
    events = tuple(Raw(event.body) for event in transaction.events)
    kept = (transaction.messages, transaction.permissions, events, transaction.deletion)
    return _encode(Record(transaction.session, transaction.creates, *kept, rev))


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Record).decode
_decode_head = msgspec.json.Decoder(_Head).decode


class IntakeLog:
    """The writing end. Raises OSError from every method but `close`; `problems` says what opening found and did."""

    def __init__(
        self,
        directory: Path,
        *,
        files: DiskFiles | None = None,
        segment_bytes: int = limits.INTAKE_SEGMENT_BYTES,
        step_bytes: int = limits.INTAKE_STEP_BYTES,
    ) -> None:
        """Make the directory, and go on behind the last whole record of the newest segment."""
        self._directory = directory
        self._files = files or DiskFiles()
        self._segment_bytes = segment_bytes
        self._step = step_bytes
        self._fd: int | None = None
        self._number = 0
        self._end = 0
        self._size = 0
        self.problems: tuple[Problem, ...] = ()
        directory.mkdir(mode=0o700, exist_ok=True)
        directory.chmod(0o700)
        self._files.sync_directory(directory.parent)  # also of an earlier start, which may have failed right here
        numbers = segments(directory)
        if numbers:
            self._number = numbers[-1]
            self._go_on(_path(directory, self._number))

    def append(self, payloads: list[bytes]) -> int:
        """Write records and return when they are durable. On OSError none of them counts.

        The number returned is for `undo`.
        """
        if self._fd is None or self._end >= self._segment_bytes:
            self._begin_segment()
        assert self._fd is not None
        block = memoryview(b"".join(_frame(payload) for payload in payloads))
        try:
            self._write(self._fd, block)
        except OSError:
            self._cut()
            raise
        try:
            self._files.sync(self._fd)
        except OSError:
            self._cut()
            self._leave_segment()  # after a failed sync the system may have dropped pages and call the next one good
            raise
        before = self._end
        self._end += len(block)
        return before

    def begin(self) -> None:
        """Have what comes next stand in a new segment. Raises OSError."""
        self._begin_segment()

    def undo(self, before: int) -> None:
        """Take back the newest append, because its transactions were not committed. Best effort, see rule 2."""
        if self._fd is not None:
            self._end = before
            self._cut()

    def close(self) -> None:
        """Let go of the file; nothing is pending."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _write(self, fd: int, block: memoryview) -> None:
        offset = self._end
        end = offset + len(block)
        if end > self._size:
            self._size = -(-end // self._step) * self._step
            block = memoryview(bytes(block) + bytes(self._size - end))
        while block:
            taken = self._files.pwrite(fd, block, offset)
            if taken <= 0:
                raise OSError(errno.ENOSPC, "the system took no bytes")  # the only known cause of a write of nothing
            offset += taken
            block = block[taken:]

    def _cut(self) -> None:
        """Remove what stands behind the last good record. Where that fails the next record gets a new segment."""
        assert self._fd is not None
        try:
            self._files.truncate(self._fd, self._end)
            self._size = self._end
        except OSError:
            self._leave_segment()

    def _leave_segment(self) -> None:
        if self._fd is None:
            return
        self.close()
        if self._end == 0:  # without a record in it: a disk that stays broken must not fill the directory with these
            with contextlib.suppress(OSError):
                _path(self._directory, self._number).unlink()

    def _begin_segment(self) -> None:
        self.close()
        self._number += 1
        self._end = self._size = 0
        path = _path(self._directory, self._number)
        self._fd = self._files.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            self._files.sync_directory(self._directory)
        except OSError:
            self._leave_segment()
            raise

    def _go_on(self, path: Path) -> None:
        problems: list[Problem] = []
        with self._files.open_to_read(path) as file:
            for payload, offset in _scan(file, self._number, problems):
                self._end = offset + _HEADER.size + len(payload)
            self._size = os.fstat(file.fileno()).st_size
        self.problems = tuple(problems)
        if any(not problem.torn_end for problem in problems):
            return
        self._fd = self._files.open(path, os.O_RDWR)
        if problems:
            self._files.truncate(self._fd, self._end)
            self._size = self._end
            self._files.sync(self._fd)


def read_all(directory: Path, problems: list[Problem]) -> Iterator[Record]:
    """All records in the order of their acknowledgement; what is damaged is appended to `problems`. Raises OSError."""
    for number in segments(directory):
        yield from read_segment(directory, number, problems)


def read_segment(
    directory: Path, number: int, problems: list[Problem], files: DiskFiles | None = None
) -> Iterator[Record]:
    """The records of one segment, as `read_all` does. Reading goes on behind what is damaged.

    Raises OSError when the disk does not give it: what it holds may be there at the next attempt.
    """
    with (files or DiskFiles()).open_to_read(_path(directory, number)) as file:
        for payload, offset in _scan(file, number, problems):
            try:
                yield _decode(payload)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                lost = _HEADER.size + len(payload)
                problems.append(Problem(number, offset, lost, False, f"a whole record, not understood: {error}"))


def _frame(payload: bytes) -> bytes:
    return _HEADER.pack(_MAGIC, len(payload), _crc(payload)) + payload


def _crc(payload: bytes) -> int:
    return zlib.crc32(payload, len(payload))


def _path(directory: Path, number: int) -> Path:
    return directory / f"{number}.log"


def total_bytes(directory: Path) -> int:
    """The size of all segments together. Raises OSError."""
    return sum(_path(directory, number).stat().st_size for number in segments(directory))


def segments(directory: Path) -> list[int]:
    """The numbers of all segments, oldest first."""
    return sorted(int(path.stem) for path in directory.glob("*.log") if path.stem.isdecimal())


def _scan(file: BinaryIO, number: int, problems: list[Problem]) -> Iterator[tuple[bytes, int]]:
    """The whole payloads of a segment with the offsets of their records; what stands between them is a problem."""
    size = os.fstat(file.fileno()).st_size
    offset = 0
    while offset < size:
        header = file.read(_HEADER.size)
        payload = _payload(header, file.read(_length(header, size - offset)))
        if payload is None:
            file.seek(offset)
            yield from _salvage(file.read(), offset, number, problems)
            return
        yield payload, offset
        offset += _HEADER.size + len(payload)


def _salvage(rest: bytes, base: int, number: int, problems: list[Problem]) -> Iterator[tuple[bytes, int]]:
    """As `_scan`, for the end of a segment that begins with something else than a record; it stands at `base`."""
    end = len(rest.rstrip(b"\0"))  # zeros were written ahead
    at = 0
    while at < end:
        payload = _payload_at(rest, at)
        if payload is not None:
            yield payload, base + at
            at += _HEADER.size + len(payload)
            continue
        found = rest.find(_MAGIC, at + 1)
        while found >= 0 and _payload_at(rest, found) is None:
            found = rest.find(_MAGIC, found + 1)
        torn = found < 0
        detail = "a torn end" if torn else "damage that whole records follow"
        stop = len(rest) if torn else found
        records = max(1, rest.count(_MAGIC, at, stop))
        problems.append(Problem(number, base + at, stop - at, torn, detail, records))
        if torn:
            return
        at = found


def _length(header: bytes, room: int) -> int:
    """How many bytes of payload the header announces; 0 when it is none, or announces more than there is."""
    if len(header) < _HEADER.size or not header.startswith(_MAGIC):
        return 0
    length = int(_HEADER.unpack(header)[1])
    return length if _HEADER.size + length <= room else 0


def _payload(header: bytes, payload: bytes) -> bytes | None:
    """The payload if it is the one that the header announces and protects."""
    if len(header) < _HEADER.size:
        return None
    magic, length, crc = _HEADER.unpack(header)
    return payload if magic == _MAGIC and length == len(payload) and crc == _crc(payload) else None


def _payload_at(content: bytes, at: int) -> bytes | None:
    """The payload of the whole record that begins at `at`, if one does."""
    header = content[at : at + _HEADER.size]
    begin = at + _HEADER.size
    return _payload(header, content[begin : begin + _length(header, len(content) - at)])
