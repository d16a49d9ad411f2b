"""docs/errors.md: the catalogue of error codes, and the exit statuses of the commands."""

from __future__ import annotations

from tools.docs.markdown import literal, mark, page, table

from betcode.model.errors import CODES, Exit

INTRODUCTION = """\
# Errors

An error has a *code*, a message that says what happened, and a hint that says what to do. The code is stable: match
it in scripts and clients (`error` frames, `--json` output). Messages and hints may change. A command that fails ends
with the exit status of its error; a code that a command does not know counts as `internal`."""

STATUSES = {
    Exit.OK: "Done.",
    Exit.AGENT_ERROR: "claude could not be started, or the turn did not end well.",
    Exit.CANNOT_CONNECT: "The daemon could not be reached or started.",
    Exit.PERMISSION_DENIED: "A refused permission ended the task.",
    Exit.RATE_LIMITED: "A limit of the API or of BetCode was reached; later it may work.",
    Exit.BAD_ARGUMENTS: "The command or request cannot be done as it was given.",
    Exit.NO_SUCH_SESSION: "The session is not known, or its short id fits several.",
    Exit.INTERNAL: "A defect, or a database that cannot be written.",
    Exit.CLAUDE_NOT_FOUND: "claude is missing or cannot be executed.",
    Exit.BAD_CONFIGURATION: "Settings, directories, the database or the version of claude must be mended first.",
    Exit.TIMEOUT: "The time that was given with the command is over.",
    Exit.INTERRUPTED: "Ended by the user (Ctrl-C), or the message was cancelled.",
}


def render() -> str:
    """The page."""
    codes = [(literal(code), str(int(entry.exit)), entry.meaning) for code, entry in CODES.items()]
    statuses = [(str(int(status)), STATUSES[status], _codes_of(status)) for status in Exit]
    return page(
        mark("src/betcode/model/errors.py"),
        INTRODUCTION,
        "## Codes",
        table(("code", "exit status", "meaning"), codes),
        "## Exit statuses",
        table(("status", "meaning", "codes"), statuses),
    )


def _codes_of(status: Exit) -> str:
    return ", ".join(literal(code) for code, entry in CODES.items() if entry.exit is status)
