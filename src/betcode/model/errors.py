"""Errors as part of the interface: what happened, what to do about it, and a stable code.

`CODES` is the whole catalogue: every code with the exit status of a command that fails with it and one line of
meaning. `docs/errors.md` is generated from it. A code is public: clients and tests match it; messages may change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """Exit statuses of every command."""

    OK = 0
    AGENT_ERROR = 1
    CANNOT_CONNECT = 2
    PERMISSION_DENIED = 3
    RATE_LIMITED = 4
    BAD_ARGUMENTS = 5
    NO_SUCH_SESSION = 6
    INTERNAL = 7
    CLAUDE_NOT_FOUND = 72
    BAD_CONFIGURATION = 78
    TIMEOUT = 124
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Code:
    """One entry of the catalogue: the exit status it leads to and its meaning in a sentence."""

    exit: Exit
    meaning: str


CODES: dict[str, Code] = {
    "agent.error": Code(Exit.AGENT_ERROR, "The turn ended with an error that claude reported."),
    "agent.spawn_failed": Code(Exit.AGENT_ERROR, "The claude process could not be started."),
    "agent.answer_unread": Code(Exit.AGENT_ERROR, "claude finished a message while nobody could read its answer."),
    "agent.ended": Code(Exit.AGENT_ERROR, "claude ended unexpectedly, or was of no use; it is started again."),
    "agent.crashed": Code(
        Exit.AGENT_ERROR, "claude ended unexpectedly, or could not be read, too often to go on by itself."
    ),
    "agent.recovered": Code(Exit.AGENT_ERROR, "A turn whose claude process ended goes on; nothing is repeated."),
    "agent.stall": Code(Exit.AGENT_ERROR, "The API was silent in the middle of a turn, which was interrupted."),
    "agent.hang": Code(Exit.AGENT_ERROR, "claude was silent in the middle of a turn, which was interrupted."),
    "agent.garbled": Code(Exit.AGENT_ERROR, "Too much of what claude printed could not be read; it is replaced."),
    "agent.unknown_outcome": Code(Exit.AGENT_ERROR, "claude ended in a turn that had used tools."),
    "session.directory_gone": Code(Exit.BAD_ARGUMENTS, "The session's directory does not exist any more."),
    "session.foreign_use": Code(Exit.AGENT_ERROR, "Somebody else's claude works on the session's conversation."),
    "agent.transcript_unreadable": Code(Exit.AGENT_ERROR, "What claude has stored of the conversation cannot be read."),
    "agent.rate_limited": Code(Exit.RATE_LIMITED, "The API refused the turn because of a rate or usage limit."),
    "agent.api_down": Code(Exit.RATE_LIMITED, "The API is overloaded, fails, or cannot be reached; it is tried again."),
    "agent.credentials": Code(Exit.AGENT_ERROR, "The API refuses the credentials or the account: nothing is sent."),
    "claude.not_found": Code(Exit.CLAUDE_NOT_FOUND, "No claude executable was found."),
    "claude.not_executable": Code(Exit.CLAUDE_NOT_FOUND, "The configured claude exists but cannot be executed."),
    "claude.too_old": Code(Exit.BAD_CONFIGURATION, "claude is older than the oldest version that is safe to drive."),
    "claude.version_unknown": Code(Exit.BAD_CONFIGURATION, "claude did not tell its version."),
    "claude.changed": Code(Exit.AGENT_ERROR, "A session's new process is another version of claude than its last one."),
    "claude.limited": Code(Exit.AGENT_ERROR, "This version of claude lacks something; BetCode does without it."),
    "config.invalid": Code(Exit.BAD_CONFIGURATION, "A configuration file or variable has a value that is not allowed."),
    "config.unwritable": Code(Exit.BAD_CONFIGURATION, "A directory that BetCode needs cannot be written."),
    "config.insecure": Code(Exit.BAD_CONFIGURATION, "A directory or socket is open to other users."),
    "config.network_disk": Code(Exit.BAD_CONFIGURATION, "The data directory is on a disk that another machine keeps."),
    "daemon.unreachable": Code(Exit.CANNOT_CONNECT, "No daemon answers on the socket."),
    "daemon.start_failed": Code(Exit.CANNOT_CONNECT, "The daemon was started and did not become ready."),
    "daemon.already_running": Code(Exit.CANNOT_CONNECT, "Another daemon holds the lock of this data directory."),
    "daemon.stopping": Code(Exit.CANNOT_CONNECT, "The daemon is stopping and takes no new work."),
    "daemon.socket": Code(Exit.CANNOT_CONNECT, "The daemon's socket could not be created."),
    "service.unavailable": Code(Exit.CANNOT_CONNECT, "Neither the user's systemd nor launchd runs a service here."),
    "service.failed": Code(Exit.CANNOT_CONNECT, "systemd or launchd did not do what it was told."),
    "frame.invalid": Code(Exit.BAD_ARGUMENTS, "A frame is not valid JSON of a known shape."),
    "frame.too_large": Code(Exit.BAD_ARGUMENTS, "A frame is larger than the protocol allows."),
    "frame.unexpected": Code(Exit.BAD_ARGUMENTS, "A frame came at a moment where it makes no sense."),
    "protocol.version": Code(Exit.CANNOT_CONNECT, "Client and daemon have no protocol version in common."),
    "request.invalid": Code(Exit.BAD_ARGUMENTS, "A request field has a value outside its limits."),
    "request.directory": Code(Exit.BAD_ARGUMENTS, "The working directory does not exist or is not the user's."),
    "request.file": Code(Exit.BAD_ARGUMENTS, "A file that was named does not exist or cannot be read."),
    "request.usage": Code(Exit.BAD_ARGUMENTS, "The command line is not understood."),
    "session.not_found": Code(Exit.NO_SUCH_SESSION, "No session has this id."),
    "session.ambiguous": Code(Exit.NO_SUCH_SESSION, "Several sessions start with these characters."),
    "session.deleted": Code(Exit.NO_SUCH_SESSION, "The session was deleted; its keys are not used again."),
    "session.busy": Code(Exit.BAD_ARGUMENTS, "The session is at work, so it was not deleted."),
    "session.closed": Code(Exit.BAD_ARGUMENTS, "The session is closed and takes no messages."),
    "session.queue_full": Code(
        Exit.RATE_LIMITED, "As many messages wait in the session, or sessions for a slot, as may."
    ),
    "session.nothing_to_interrupt": Code(Exit.BAD_ARGUMENTS, "No turn is running."),
    "message.key_conflict": Code(Exit.BAD_ARGUMENTS, "The idempotency key was used before with another text."),
    "permission.not_found": Code(Exit.BAD_ARGUMENTS, "No permission question has this id."),
    "permission.already_settled": Code(Exit.BAD_ARGUMENTS, "The question was settled before this answer came."),
    "permission.denied": Code(Exit.PERMISSION_DENIED, "A denied permission ended the task."),
    "store.failed": Code(Exit.INTERNAL, "The database could not store the change; nothing was acknowledged."),
    "store.damaged": Code(Exit.BAD_CONFIGURATION, "The database is damaged; nothing more is written to it."),
    "store.restored": Code(Exit.INTERNAL, "The database had lost what was acknowledged; it came back from elsewhere."),
    "store.missing": Code(Exit.BAD_ARGUMENTS, "There is no database yet."),
    "store.newer": Code(Exit.BAD_CONFIGURATION, "The database was written by a newer version of BetCode."),
    "import.not_found": Code(Exit.NO_SUCH_SESSION, "Claude has no conversation of this id on this machine."),
    "import.in_use": Code(Exit.BAD_ARGUMENTS, "Another claude works on the conversation at this moment."),
    "import.line": Code(Exit.AGENT_ERROR, "A line of the transcript of a conversation that was taken over is damaged."),
    "store.processes": Code(
        Exit.BAD_ARGUMENTS, "claude runs, and what is wanted of the database would lose its output."
    ),
    "salvage.source": Code(Exit.BAD_ARGUMENTS, "There is no damaged database to read, or it is empty."),
    "salvage.exists": Code(Exit.BAD_ARGUMENTS, "The file that is to be written exists already."),
    "salvage.nothing": Code(Exit.BAD_ARGUMENTS, "The file has no whole row of BetCode's in it."),
    "salvage.failed": Code(Exit.INTERNAL, "The salvaged rows could not be written."),
    "limit.connections": Code(Exit.RATE_LIMITED, "As many clients are connected as the daemon admits."),
    "limit.messages": Code(Exit.RATE_LIMITED, "As many messages run or wait in all sessions as the daemon takes."),
    "limit.rate": Code(Exit.RATE_LIMITED, "The client makes sessions or messages faster than it may."),
    "limit.memory": Code(Exit.AGENT_ERROR, "claude and its tools used more memory than allowed, and were ended."),
    "limit.memory_near": Code(Exit.AGENT_ERROR, "claude and its tools use nearly as much memory as allowed."),
    "limit.cost_near": Code(
        Exit.RATE_LIMITED, "Turns have cost 80 % of a limit that a user set; a session is told so."
    ),
    "limit.usage_near": Code(Exit.RATE_LIMITED, "A usage window of the account is nearly used up; people are told so."),
    "limit.cost_reached": Code(Exit.RATE_LIMITED, "Turns have cost what a user allows: no new turn begins."),
    "limit.deletions": Code(Exit.RATE_LIMITED, "As many deleted messages are remembered as there is room for."),
    "run.timeout": Code(Exit.TIMEOUT, "The time given with --timeout is over."),
    "run.interrupted": Code(Exit.INTERRUPTED, "The user interrupted the command."),
    "internal": Code(Exit.INTERNAL, "A defect in BetCode itself."),
}


EXHAUSTED = "RESOURCE_EXHAUSTED"
"""`status` of an error that says nothing but: not now, there is too much of it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Which bound a refused request would have passed."""

    limit: str
    """Its name; that of the setting where it is one."""
    scope: str
    """Whose it is: `session`, `client` or `daemon`."""
    retry_after_ms: int
    """When the same may be tried again."""


class BetcodeError(Exception):
    """What happened (`str(e)`), what to do about it (`hint`), how to match it (`code`, a key of `CODES`).

    `refusal` is there when a limit was reached: the same request may succeed later.
    """

    def __init__(self, code: str, message: str, *, hint: str, refusal: Refusal | None = None) -> None:
        """Raise ValueError for a code that the catalogue lacks: that is a defect of the caller."""
        if code not in CODES:
            raise ValueError(f"error code {code!r} is not in the catalogue")
        super().__init__(message)
        self.code = code
        self.hint = hint
        self.refusal = refusal

    def view(self) -> dict[str, object]:
        """As programs get it: `code`, `message`, `hint`; of a refusal also `status` and what `Refusal` has."""
        told: dict[str, object] = {"code": self.code, "message": str(self), "hint": self.hint}
        if self.refusal is not None:
            told |= {"status": EXHAUSTED, **asdict(self.refusal)}
        return told

    @property
    def exit_status(self) -> int:
        """The exit status of a command that ends with this error; a limit of a newer daemon is one too."""
        return int(Exit.RATE_LIMITED if self.refusal is not None else CODES[self.code].exit)


def error_of(told: Mapping[str, Any]) -> BetcodeError:
    """The error of a `BetcodeError.view`. A code that this version does not know is shown in the text."""
    code, message, hint = str(told["code"]), str(told["message"]), str(told["hint"])
    refusal = None
    if told.get("status") == EXHAUSTED:
        refusal = Refusal(str(told["limit"]), str(told["scope"]), max(0, int(told["retry_after_ms"] or 0)))
    if code not in CODES:
        code, message = "internal", f"{message} ({code})"
    return BetcodeError(code, message, hint=hint, refusal=refusal)


def exit_status(code: str) -> int:
    """Exit status for a code from the wire; a code this version does not know counts as internal."""
    entry = CODES.get(code)
    return int(entry.exit if entry else Exit.INTERNAL)
