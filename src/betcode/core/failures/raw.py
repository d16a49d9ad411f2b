"""What errors of the system, of SQLite and of sockets mean for the next try (CB-3)."""

from __future__ import annotations

import errno
from typing import Final

from betcode.model.failures import Failure, FailureClass, Strategy

_T, _P, _C, _K = (
    FailureClass.TRANSIENT,
    FailureClass.PERSISTENT,
    FailureClass.CORRUPTION,
    FailureClass.CASCADING,
)
_ROOM: Final = "Make room on the disk; BetCode goes on by itself."
_DISK: Final = "Look at the disk (`dmesg`, `smartctl`)."
_RIGHTS: Final = "Let its user read and write the files and folders that are named."
_LOAD: Final = "End what uses so much of the machine; BetCode goes on by itself."
_AGAIN: Final = "Nothing: it is tried again by itself, later each time."
_DEFECT: Final = "Report it with the daemon's log."

OS_ERRORS: Final[dict[int, Failure]] = {
    number: Failure(failure_class, strategy, what, hint)
    for numbers, failure_class, strategy, what, hint in (
        ((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _T, Strategy.RETRY, "The disk is full.", _ROOM),
        ((errno.EIO, errno.ENXIO), _T, Strategy.RETRY, "The disk failed.", _DISK),
        ((errno.EROFS,), _P, Strategy.STOP, "The disk cannot be written.", "Mount it so that it can be written."),
        ((errno.EACCES, errno.EPERM), _P, Strategy.STOP, "Access is refused.", _RIGHTS),
        ((errno.ENOENT, errno.ENOTDIR), _P, Strategy.STOP, "A file or folder is not there.", _RIGHTS),
        ((errno.ENOEXEC,), _P, Strategy.STOP, "A program cannot be executed.", "Install it anew."),
        ((errno.E2BIG,), _P, Strategy.STOP, "A command line is too long.", "Use fewer or shorter options."),
        ((errno.EMFILE, errno.ENFILE), _K, Strategy.SHED, "Too many files are open.", _LOAD),
        ((errno.ENOMEM, errno.EAGAIN), _K, Strategy.SHED, "Memory or processes are used up.", _LOAD),
        ((errno.EINTR, errno.EBUSY, errno.ETXTBSY), _T, Strategy.RETRY, "Something is busy.", _AGAIN),
        (
            (errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ENOTCONN),
            _T,
            Strategy.RETRY,
            "The other side of a connection is not there.",
            _AGAIN,
        ),
        (
            (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN),
            _T,
            Strategy.RETRY,
            "The network does not reach the other side.",
            "If it lasts, look at the network and the proxy.",
        ),
        ((errno.EADDRINUSE,), _T, Strategy.RETRY, "Another program listens there.", "End it, or use another place."),
        ((errno.ENAMETOOLONG,), _P, Strategy.STOP, "A path is too long.", "Use a shorter BETCODE_RUNTIME_DIR."),
    )
    for number in numbers
}
"""By `errno`."""

SQLITE: Final[dict[str, Failure]] = {
    "full": OS_ERRORS[errno.ENOSPC],
    "intake_full": OS_ERRORS[errno.ENOSPC],
    "io": OS_ERRORS[errno.EIO],
    "intake_io": OS_ERRORS[errno.EIO],
    "corrupt": Failure(_C, Strategy.REPAIR, "The database is damaged.", "Nothing: the daemon repairs it."),
    "notadb": Failure(_C, Strategy.REPAIR, "The file is no database.", "Nothing: the daemon repairs it."),
    "busy": Failure(_T, Strategy.RETRY, "Another process holds the database.", "Find it with `fuser`, and end it."),
    "readonly": Failure(_P, Strategy.STOP, "The database cannot be written.", _RIGHTS),
    "cantopen": Failure(_P, Strategy.STOP, "The database cannot be opened.", _RIGHTS),
    "perm": Failure(_P, Strategy.STOP, "The database refuses access.", _RIGHTS),
    "nomem": OS_ERRORS[errno.ENOMEM],
    "toobig": Failure(_P, Strategy.STOP, "A value is too large.", "Send it in smaller parts."),
    "constraint": Failure(_P, Strategy.STOP, "Rows contradict each other.", _DEFECT),
    "defect": Failure(_P, Strategy.STOP, "A transaction contradicts what is stored.", _DEFECT),
    "closed": Failure(_T, Strategy.RETRY, "The database is closed: it is being repaired, or the daemon stops.", _AGAIN),
    "other": Failure(_P, Strategy.STOP, "The database failed in a way that is not known.", _DEFECT),
}
"""By the label of `adapters.sqlite.errors`."""

_UNKNOWN: Final = Failure(_P, Strategy.STOP, "An error of the system that is not known.", _DEFECT)


def of_os_error(number: int | None) -> Failure:
    """What an `errno` means, of files, processes and sockets alike. An unknown one is never tried again by itself."""
    return _UNKNOWN if number is None else OS_ERRORS.get(number, _UNKNOWN)


def of_sqlite(error_type: str) -> Failure:
    """What a failed operation of the database means, by its label."""
    return SQLITE.get(error_type, SQLITE["other"])
