"""Whether a database that opens well has lost something: what SQLite's own checks cannot see (SQ-3).

A lost or cut write-ahead log, or an older copy put in the place of the file, leave a database that is sound and too
old. What stands outside of it tells: the marks of the sessions, and the intake log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from betcode.model.ids import SessionId
from betcode.model.rows import Mark, Transaction

Position = tuple[int, int]
"""(epoch, seq) of a session's newest event."""


def lost_end(
    stored: Mapping[SessionId, Position], marks: Mapping[SessionId, Mark], unstored: Sequence[Transaction]
) -> str:
    """What proves that something is lost, in words; empty when nothing does.

    Args:
        stored: sessions in the database with their positions; deleted ones are beyond everything.
        marks: of the sessions that have a folder.
        unstored: what the intake log holds and the database lacks, in order. After a kill in the middle of a commit
            that is the last group of transactions, each of which goes on where the database ends.
    """
    reached = dict(stored)
    for transaction in unstored:
        row = transaction.session
        if transaction.deletion is not None:
            continue
        if not _follows(reached.get(row.id), transaction):
            return f"the intake log knows changes of session {row.id} that the database has lost"
        reached[row.id] = (row.epoch, row.seq)
    for session, mark in marks.items():
        if session not in reached:
            return f"session {session} has files and a mark, and the database does not know it"
        if (mark.epoch, mark.seq) > reached[session]:
            return f"session {session} had come to event {mark.epoch}.{mark.seq}; the database ends before that"
    return ""


def _follows(before: Position | None, transaction: Transaction) -> bool:
    row = transaction.session
    first = row.seq - len(transaction.events)
    if before is None or transaction.creates:
        return before is None and transaction.creates and first == 0
    return (row.epoch, first) == before or (row.epoch > before[0] and first == 0)
