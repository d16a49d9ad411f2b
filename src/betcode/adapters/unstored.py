"""What the intake log holds and the database lacks: after a kill between the two, or with an older database file.

The database commits in the order of the log, so it holds all that stands before a record that it holds: the newest
segments are read until one begins with such a record. Normally that is one segment.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from betcode.adapters.intake import DiskFiles, Problem, Record, read_segment, segments
from betcode.model.ids import SessionId
from betcode.model.rows import Transaction

Positions = Mapping[SessionId, tuple[int, int]]
"""Session -> (epoch, seq) up to which the database has it."""


def find_unstored(
    directory: Path, stored: Positions, problems: list[Problem], files: DiskFiles | None = None
) -> tuple[list[Transaction], int]:
    """The transactions that are missing, in the order of the log, and the highest revision among what was read.

    What is damaged is appended to `problems`.

    Raises OSError when a segment cannot be read: a start without it could hide for ever what it holds.

    A start that is cut off while it stores them has written them to the log once more: the first of equal ones counts.
    A transaction whose acknowledgement was refused because neither the database nor the log could be brought back to
    the state before is among them: whoever asked was told that it was not stored, and asks again with the same key.
    """
    parts: list[list[Transaction]] = []
    rev = 0
    for number in reversed(segments(directory)):
        part: list[Transaction] = []
        whole = True
        for index, record in enumerate(read_segment(directory, number, problems, files)):
            rev = max(rev, record.rev)
            if _lacks(stored, record):
                part.append(_transaction(record, number, problems))
            elif index == 0:
                whole = False
        parts.append(part)
        if not whole:
            break
    problems.sort(key=lambda problem: (problem.segment, problem.offset))
    return _once([transaction for part in reversed(parts) for transaction in part]), rev


def _once(transactions: list[Transaction]) -> list[Transaction]:
    """Without those that equal an earlier one."""
    found: dict[tuple[SessionId, int, int], list[Transaction]] = {}
    kept = []
    for transaction in transactions:
        row = transaction.session
        same_place = found.setdefault((row.id, row.epoch, row.seq), [])
        if transaction not in same_place:
            same_place.append(transaction)
            kept.append(transaction)
    return kept


def _lacks(stored: Positions, record: Record) -> bool:
    row = record.session
    if row.id not in stored:
        return True
    position = (row.epoch, row.seq)
    return position > stored[row.id] or (record.deletion is not None and position == stored[row.id])


def _transaction(record: Record, number: int, problems: list[Problem]) -> Transaction:
    try:
        return record.transaction()
    except msgspec.DecodeError as error:
        detail = f"events of session {record.session.id} are not understood: {error}"
        problems.append(Problem(number, 0, 0, False, detail))
        return Transaction(record.session, (), record.messages, record.permissions, record.creates, record.deletion)
