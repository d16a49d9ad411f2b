"""What can go wrong with the database and the intake log, in words, with a stable label for the metrics."""

from __future__ import annotations

import errno
from dataclasses import dataclass

import apsw

from betcode.model.errors import BetcodeError

RESCUE_HINT = (
    "The daemon repairs it by itself, and keeps the damaged files. If it does not: betcode daemon stop; betcode db"
    " recover"
)
_ROOM_HINT = "Make room on the disk that holds the data directory; BetCode goes on by itself."
_DISK_HINT = "Look at the disk that holds the data directory (`dmesg`, `smartctl`); BetCode goes on by itself."
_DEFECT_HINT = "This is a defect in BetCode. Report it with the daemon's log."


DAMAGE = frozenset({"corrupt", "notadb"})
"""Error types after which nothing more is written: SQLite itself would go on, into a damaged file."""


class StoreError(BetcodeError):
    """`store.failed`, or `store.damaged`, with its cause: the label of `betcode_sqlite_errors_total`."""

    def __init__(self, message: str, *, hint: str, error_type: str) -> None:
        super().__init__("store.damaged" if error_type in DAMAGE else "store.failed", message, hint=hint)
        self.error_type = error_type


@dataclass(frozen=True, slots=True)
class _Kind:
    error_type: str
    message: str
    hint: str


_KINDS: tuple[tuple[type[Exception], _Kind], ...] = (
    (apsw.FullError, _Kind("full", "the disk is full", _ROOM_HINT)),
    (apsw.IOError, _Kind("io", "the disk failed", _DISK_HINT)),
    (apsw.CorruptError, _Kind("corrupt", "the database is damaged", RESCUE_HINT)),
    (apsw.NotADBError, _Kind("notadb", "the database file is not a database", RESCUE_HINT)),
    (
        apsw.BusyError,
        _Kind("busy", "another process holds the database", "Find it with `fuser daemon.db` or `lsof`, and end it."),
    ),
    (
        apsw.ReadOnlyError,
        _Kind("readonly", "the database cannot be written", "Let its user write the data directory and its files."),
    ),
    (
        apsw.CantOpenError,
        _Kind("cantopen", "the database cannot be opened", "Let its user read and write the data directory."),
    ),
    (apsw.PermissionsError, _Kind("perm", "the database refuses access", "Let its user write the data directory.")),
    (apsw.NoMemError, _Kind("nomem", "memory is exhausted", "End what uses the memory; BetCode goes on by itself.")),
    (apsw.TooBigError, _Kind("toobig", "a value is too large for the database", "Send it in smaller parts.")),
    (apsw.ConstraintError, _Kind("constraint", "the rows contradict each other", _DEFECT_HINT)),
)
_OTHER = _Kind("other", "the database failed", _DEFECT_HINT)

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

ERROR_TYPES = frozenset(kind.error_type for _, kind in _KINDS) | {
    "other",
    "defect",
    "intake_full",
    "intake_io",
    "closed",
}
"""Every label that `StoreError.error_type` can have."""


def translate(error: apsw.Error | OSError) -> StoreError:
    """The error in our words. An OSError comes from the intake log, everything else from SQLite."""
    if isinstance(error, OSError):
        full = error.errno in _NO_ROOM
        failed = StoreError(
            f"the intake log could not be written: {error.strerror or error}",
            hint=_ROOM_HINT if full else _DISK_HINT,
            error_type="intake_full" if full else "intake_io",
        )
    else:
        kind = next((kind for foreign, kind in _KINDS if isinstance(error, foreign)), _OTHER)
        failed = StoreError(f"{kind.message}: {error}", hint=kind.hint, error_type=kind.error_type)
    failed.__cause__ = error
    return failed


def cannot_open(error: OSError) -> StoreError:
    """A file or folder of the store could not be opened, read or made."""
    full = error.errno in _NO_ROOM
    hint = (
        "Let its user read and write the data directory and all that is in it. If the disk is broken and a segment of"
        " the intake log cannot be saved, move it out of the intake folder: what only it holds is then missing."
    )
    return StoreError(
        f"the database or its intake log cannot be opened: {error}",
        hint=_ROOM_HINT if full else hint,
        error_type="full" if full else "cantopen",
    )


def defect(message: str) -> StoreError:
    """A transaction that contradicts what is stored, or that cannot be stored at all: nothing of it is kept."""
    return StoreError(message, hint=_DEFECT_HINT, error_type="defect")


def key_conflict(message_id: str) -> BetcodeError:
    """The id belongs to another message."""
    return BetcodeError(
        "message.key_conflict",
        f"the idempotency key {message_id!r} was already used for another message",
        hint="Make a new key (a UUID) for a new message; repeat a key only with the same text and session.",
    )
