"""What was left behind: keepers and claudes that no daemon knows, sockets that nobody serves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from betcode.core.diagnosis.finding import Finding, command, info, ok, some, warning
from betcode.model.states import SessionState

AT_WORK = frozenset({SessionState.SPAWNING, SessionState.ACTIVE, SessionState.BACKING_OFF})
"""States in which a process that the daemon did not name may be just starting or ending."""


@dataclass(frozen=True, slots=True)
class Folder:
    """One session's folder."""

    session: str
    path: str
    held: bool
    """Whether anybody holds the session's lock."""
    keeper: int | None = None
    """The keeper of the newest run, if it lives."""
    claude: int | None = None
    """Its claude, if it lives."""
    socket: str = ""
    """The keeper's socket, if the file is there."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the daemon says of one session."""

    state: str
    keeper: int | None
    claude: int | None


def judge_folders(
    folders: Sequence[Folder], known: dict[str, Known] | None, *, unread: int, hidden: Sequence[str] = ()
) -> list[Finding]:
    """What of the sessions' folders nobody looks after.

    Args:
        folders: as they were found.
        known: sessions by id, from the daemon; None when no daemon answers.
        unread: folders that were not looked at.
        hidden: folders that could not be looked at.
    """
    findings: list[Finding] = []
    held = [folder for folder in folders if folder.held]
    if known is None and held:
        names = some([folder.session for folder in held])
        what = f"{len(held)} sessions run under their keepers until a daemon takes them over: {names}"
        findings.append(info("sessions.waiting", what, "betcode daemon start"))
    if known is not None:
        findings += [_orphan(folder, known.get(folder.session)) for folder in held if is_orphan(folder, known)]
    headless = [f for f in held if f.keeper is None and f.claude is not None and not (known and is_orphan(f, known))]
    for folder in headless:
        what = f"claude (pid {folder.claude}) of session {folder.session} runs without its keeper: nobody reads it"
        findings.append(warning("sessions.headless", what, f"kill {folder.claude}"))
    stale = [folder for folder in folders if folder.socket and not folder.held]
    if stale:
        what = f"{len(stale)} sockets of keepers that have ended: {some([f.session for f in stale])}; they do no harm"
        findings.append(info("sessions.sockets", what, command("rm", *(f.socket for f in stale[:20]))))
    if hidden:
        what = f"{len(hidden)} sessions' folders could not be looked at: {some(list(hidden))}"
        findings.append(warning("sessions.hidden", what, command("ls", "-ld", *hidden[:20])))
    rest = f"; {unread} older folders were not looked at" if unread else ""
    return findings or [ok("sessions.leftovers", f"nothing was left behind in {len(folders)} sessions' folders{rest}")]


def is_orphan(folder: Folder, known: dict[str, Known]) -> bool:
    """Whether a lock is held by processes that the daemon does not look after."""
    mine = known.get(folder.session)
    return mine is None or (mine.state not in AT_WORK and mine.keeper is None and mine.claude is None)


def _orphan(folder: Folder, mine: Known | None) -> Finding:
    pid = folder.keeper or folder.claude
    who = f"keeper pid {folder.keeper}, claude pid {folder.claude}" if pid else "by a process that is not known"
    why = "the daemon does not know this session" if mine is None else f"the daemon calls it {mine.state}"
    what = f"session {folder.session} is held ({who}), and {why}"
    end = f"kill {pid}" if pid else f"fuser -v {command(folder.path)}/lock"
    return warning("sessions.orphan", what, end)
