"""What each error code of the program means for the next try (CB-3). `docs/failures.md` is generated from here."""

from __future__ import annotations

from typing import Final

from betcode.model.errors import CODES
from betcode.model.failures import Failure, FailureClass, Strategy

_T, _P, _C, _K = (
    FailureClass.TRANSIENT,
    FailureClass.PERSISTENT,
    FailureClass.CORRUPTION,
    FailureClass.CASCADING,
)
_RETRY, _WAIT, _PAUSE, _STOP, _REPAIR, _SHED = Strategy

_ITSELF: Final = "Nothing: it goes on by itself."
_AGAIN: Final = "Try again in a moment."
_SENT: Final = "Correct what was asked, and ask again."

_ROWS: Final[dict[str, tuple[FailureClass, Strategy, str]]] = {
    "agent.error": (_P, _STOP, "Read what claude said, and change what is asked."),
    "agent.spawn_failed": (_T, _RETRY, "If it goes on: betcode doctor"),
    "agent.answer_unread": (_P, _STOP, "Ask claude to repeat its last answer."),
    "agent.ended": (_T, _RETRY, "Nothing: it is started again, later each time. If it goes on: betcode doctor"),
    "agent.crashed": (_P, _STOP, "Find the cause, then: betcode sessions retry ID"),
    "agent.recovered": (_T, _RETRY, _ITSELF),
    "agent.stall": (_T, _RETRY, _ITSELF),
    "agent.hang": (_T, _RETRY, _ITSELF),
    "agent.garbled": (_C, _REPAIR, "Nothing: claude is replaced when its turn is over."),
    "agent.unknown_outcome": (_P, _STOP, "Look at what was done, then send a message such as `go on`."),
    "session.directory_gone": (_P, _STOP, "Create the directory again, or close the session."),
    "session.foreign_use": (_P, _PAUSE, "End the other claude, then release the queue."),
    "agent.transcript_unreadable": (_P, _STOP, "Let its user read claude's files; see the daemon's log."),
    "agent.rate_limited": (_T, _WAIT, "Nothing; to try at once: betcode sessions retry ID"),
    "agent.api_down": (_T, _WAIT, "Nothing; if it lasts, look at the network and at the API's status page."),
    "agent.credentials": (_P, _PAUSE, "Log in again or correct the key; what waits then goes on by itself."),
    "claude.not_found": (_P, _STOP, "Install claude, or name it in agent.claude."),
    "claude.not_executable": (_P, _STOP, "Make the file executable, or name another one in agent.claude."),
    "claude.too_old": (_P, _STOP, "Update claude."),
    "claude.version_unknown": (_P, _STOP, "See what `claude --version` says."),
    "claude.changed": (_T, _RETRY, "Nothing: the session goes on with the other version."),
    "claude.limited": (_P, _STOP, "Update claude to have what is missing."),
    "config.invalid": (_P, _STOP, "Correct the line that is named."),
    "config.unwritable": (_P, _STOP, "Let its user write the directory that is named."),
    "config.insecure": (_P, _STOP, "Take the rights of other users away, as the hint says."),
    "config.network_disk": (_P, _STOP, "Put the data directory on a disk of this machine."),
    "daemon.unreachable": (_T, _RETRY, "Start it: betcode daemon start"),
    "daemon.start_failed": (_P, _STOP, "See why: betcode daemon logs -n 20"),
    "daemon.already_running": (_P, _STOP, "Use the one that runs, or stop it first."),
    "daemon.stopping": (_T, _RETRY, _AGAIN),
    "daemon.socket": (_T, _RETRY, "See the hint; a shorter BETCODE_RUNTIME_DIR may be needed."),
    "service.unavailable": (_P, _STOP, "Start the daemon without a service: betcode daemon start"),
    "service.failed": (_P, _STOP, "See what systemd or launchd said, in the message."),
    "frame.invalid": (_P, _STOP, _SENT),
    "frame.too_large": (_P, _STOP, "Send less at once."),
    "frame.unexpected": (_P, _STOP, _SENT),
    "protocol.version": (_P, _STOP, "Update the older one of client and daemon."),
    "request.invalid": (_P, _STOP, _SENT),
    "request.directory": (_P, _STOP, "Give the absolute path of an existing directory of yours."),
    "request.file": (_P, _STOP, "Name a file that can be read."),
    "request.usage": (_P, _STOP, "See --help."),
    "session.not_found": (_P, _STOP, "See: betcode sessions list"),
    "session.ambiguous": (_P, _STOP, "Give more characters of the id."),
    "session.deleted": (_P, _STOP, "Start another one: betcode run PROMPT"),
    "session.busy": (_P, _STOP, "Wait for its end, or use --force."),
    "session.closed": (_P, _STOP, "Start another one: betcode run PROMPT"),
    "session.queue_full": (_K, _SHED, "Send it again when `retry_after_ms` has passed."),
    "session.nothing_to_interrupt": (_P, _STOP, "Nothing: no turn is running."),
    "message.key_conflict": (_P, _STOP, "Make a new key for a new message."),
    "permission.not_found": (_P, _STOP, "See the open ones: betcode permissions list"),
    "permission.already_settled": (_P, _STOP, "Nothing: the first answer counts."),
    "permission.denied": (_P, _STOP, "Allow the tool in a new session, or ask for another way."),
    "store.failed": (_T, _RETRY, "Make room, or look at the disk; nothing was acknowledged."),
    "store.damaged": (_C, _REPAIR, "Nothing: the daemon repairs it. Else: betcode db recover"),
    "store.restored": (_C, _REPAIR, "Look at what the report says: betcode db recover --report"),
    "store.missing": (_P, _STOP, "Start the daemon first: betcode daemon start"),
    "store.newer": (_P, _STOP, "Use the newer program, or restore a backup of the older one."),
    "store.processes": (_P, _STOP, "Stop the sessions first: betcode daemon stop --stop-sessions"),
    "import.not_found": (_P, _STOP, "See: betcode import"),
    "import.in_use": (_P, _STOP, "End the other claude first."),
    "import.line": (_C, _REPAIR, "Nothing: the other lines were taken over."),
    "salvage.source": (_P, _STOP, "Name the damaged file."),
    "salvage.exists": (_P, _STOP, "Name a file that does not exist."),
    "salvage.nothing": (_C, _STOP, "Go back to a backup: betcode db restore"),
    "salvage.failed": (_P, _STOP, "Make room, or name another place."),
    "limit.connections": (_K, _SHED, "Close a client, or come again when `retry_after_ms` has passed."),
    "limit.messages": (_K, _SHED, "Send it again when `retry_after_ms` has passed."),
    "limit.rate": (_K, _SHED, "Send it again when `retry_after_ms` has passed."),
    "limit.memory": (_P, _STOP, "See what used the memory, or raise agent.memory_bytes_max."),
    "limit.memory_near": (_P, _STOP, "See what uses the memory before the limit is reached."),
    "limit.cost_near": (_P, _STOP, "Raise the limit before it is reached, or let the work end there."),
    "limit.usage_near": (_P, _STOP, "Nothing; when it is reached sessions wait for the time that is named."),
    "limit.cost_reached": (_P, _PAUSE, "Raise the limit in settings.json, then: betcode daemon restart"),
    "limit.deletions": (_K, _SHED, "Delete again tomorrow."),
    "run.timeout": (_P, _STOP, "Go on with: betcode run --resume ID"),
    "run.interrupted": (_P, _STOP, "Nothing: you stopped it."),
    "internal": (_P, _STOP, "Report it with the daemon's log."),
}


def of_code(code: str) -> Failure:
    """The row of an error code. One that this version does not know is never tried again by itself."""
    failure_class, strategy, hint = _ROWS.get(code, (FailureClass.PERSISTENT, Strategy.STOP, "See the message."))
    what = CODES[code].meaning if code in CODES else "An error of another version of BetCode."
    return Failure(failure_class, strategy, what, hint)


def rows() -> dict[str, Failure]:
    """All rows, in the order of `CODES`, and after them any that no code has."""
    return {code: of_code(code) for code in (*(c for c in CODES if c in _ROWS), *(c for c in _ROWS if c not in CODES))}
