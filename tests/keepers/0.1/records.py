"""The record of stdin, `<run>.in`: one JSON line before the first and one after the last byte of each line.

    {"id", "state": "intent" | "done" | "failed", "time_unix_s", "out_offset", "bytes"}

An intent without an end means that nobody knows whether claude got the line. The last line of the file may be
torn (a crash in the middle of a write); it then stands for nothing that was begun.
"""

from __future__ import annotations

import os

from betcode.keeper.bare import dump_json, parse_json, suppress
from betcode.keeper.files import Files, write_all


class StdinRecords:
    """Appends to one run's file. What fails to be written leaves no trace that a later record would not cover."""

    def __init__(self, directory: str, run: int, *, files: Files) -> None:
        """Create the file. Raises OSError; FileExistsError means that this run has been before."""
        self._path = f"{directory}/{run}.in"
        self._files = files
        self.fd = files.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        self._end = 0
        self._before_last = 0
        self._late: list[bytes] = []

    def append(self, record: dict[str, object]) -> None:
        """Append one record. Raises OSError with the file as before."""
        self.append_late()
        self._append(dump_json(record) + b"\n")

    def append_sometime(self, record: dict[str, object]) -> None:
        """Append one record now, or with a later one: for what has happened already and must be told.

        At most two wait (done, failed): while one waits no intent can be appended, so no further line begins.
        """
        self._late.append(dump_json(record) + b"\n")
        with suppress(OSError):  # kept, and tried again before the next record and once a second
            self.append_late()

    def append_late(self) -> None:
        """Append what waits. Raises OSError if it still cannot be."""
        while self._late:
            self._append(self._late[0])
            del self._late[0]

    @property
    def late(self) -> int:
        """How many records wait for a disk that takes them."""
        return len(self._late)

    def take_back(self) -> None:
        """Undo the last record, which could not be made durable and must not be found later."""
        self._cut(self._before_last)

    def _append(self, line: bytes) -> None:
        self._before_last = self._end
        try:
            write_all(self._files, self.fd, line, self._end)
        except OSError:
            self._cut(self._end)
            raise
        self._end += len(line)

    def _cut(self, end: int) -> None:
        self._end = end
        with suppress(OSError):  # the next record is written over it; a reader ignores a torn last line
            self._files.ftruncate(self.fd, end)

    def discard(self) -> None:
        """Remove the empty file of a run that never began."""
        os.close(self.fd)
        os.unlink(self._path)


def read_records(path: str) -> list[dict[str, object]]:
    """All records of a run, without a torn last one. Raises OSError; an absent file is FileNotFoundError."""
    with open(path, "rb") as file:
        lines = file.read().split(b"\n")
    records = []
    for line in lines[:-1]:
        try:
            value = parse_json(line)
        except ValueError:
            continue  # the remains of a torn line, covered by a shorter one
        if isinstance(value, dict):
            records.append(value)
    return records
