"""What the doctor asks the daemon, briefly: one that hangs is told from one that is not there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from betcode.adapters.survey.locks import lives, read_locks
from betcode.adapters.survey.sessions import look_at_lock
from betcode.client import brief
from betcode.config.paths import Paths, secure_socket
from betcode.core.diagnosis.daemon import Daemon, Held
from betcode.core.diagnosis.leftovers import Folder, Known, is_orphan
from betcode.model import limits
from betcode.model.errors import BetcodeError

SUSPECTS_MAX = 20
"""Sessions that are asked for by name before they are called orphans."""


def ask(paths: Paths, op: str, **fields: Any) -> dict[str, Any]:
    """One request to a daemon that may hang. Raises BetcodeError."""
    return brief.ask(paths.socket, op, timeout_s=limits.DOCTOR_ASK_WAIT_S, **fields)


def look_at_daemon(paths: Paths) -> tuple[Daemon, dict[str, Any]]:
    """Lock, socket and answer of the daemon, and the whole answer to `status`; empty when there is none."""
    noted = _noted_pid(paths.lock)
    exists = os.path.lexists(paths.socket)
    problem = hint = why = ""
    body: dict[str, Any] = {}
    if exists:
        try:
            secure_socket(paths.socket)
        except BetcodeError as error:
            problem, hint = str(error), error.hint
    try:
        body = ask(paths, "status")
    except BetcodeError as error:
        why = str(error)
    daemon, database = body.get("daemon", {}), body.get("database", {})
    facts = Daemon(
        read_locks().look(paths.lock),
        noted_pid=noted,
        noted_lives=noted is not None and lives(noted),
        socket=str(paths.socket),
        socket_exists=exists,
        socket_problem=problem,
        socket_hint=hint,
        answers=bool(body),
        problem=why,
        pid=daemon.get("pid"),
        version=str(daemon.get("version", "")),
        started_at=str(daemon.get("started_at", "")),
        database_path=os.path.realpath(database["path"]) if database.get("path") else "",
        database_state=str(database.get("state", "")),
    )
    return facts, body


def _noted_pid(lock: Path) -> int | None:
    try:
        return int(lock.read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        return None


def known_sessions(body: dict[str, Any] | Any) -> dict[str, Known]:
    """Sessions by id as the answer to `status` has them."""
    return {one["id"]: _known(one) for one in body.get("sessions", [])}


def _known(summary: dict[str, Any]) -> Known:
    return Known(str(summary["state"]), summary["keeper_pid"], summary["claude_pid"])


def settled(paths: Paths, folders: Sequence[Folder], known: dict[str, Known]) -> tuple[list[Folder], dict[str, Known]]:
    """Look again at sessions that seem to be orphans: they may just have started or ended, or not have been listed."""
    folders, known = list(folders), dict(known)
    suspects = [place for place, folder in enumerate(folders) if folder.held and is_orphan(folder, known)]
    for place in suspects[:SUSPECTS_MAX]:
        folder = folders[place]
        lock, keeper, claude = look_at_lock(Path(folder.path))
        if lock.state is not Held.HELD:
            folders[place] = Folder(folder.session, folder.path, held=False)
            continue
        folders[place] = Folder(folder.session, folder.path, True, keeper, claude, folder.socket)
        try:
            known[folder.session] = _known(ask(paths, "show", session=folder.session)["session"])
        except BetcodeError as error:
            if error.code != "session.not_found":
                known[folder.session] = Known("ACTIVE", None, None)  # nobody can say
    return folders, known
