"""`betcode doctor env`: names of the variables that a session's claude gets, and of those kept from it (PS-10)."""

from __future__ import annotations

from pathlib import Path

import apsw

from betcode.adapters.survey import history
from betcode.adapters.survey.database import NotLookedError, opened
from betcode.adapters.survey.locks import read_locks
from betcode.adapters.survey.programs import names_of
from betcode.adapters.survey.sessions import look_at_lock
from betcode.adapters.survey.variables import sort_out
from betcode.cli.doctor_daemon import look_at_daemon
from betcode.cli.invocation import Invocation
from betcode.cli.output import remark, say, say_json
from betcode.config.load import load
from betcode.config.paths import Paths
from betcode.core.diagnosis.daemon import Held
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.rows import Options, SessionRow


def show_environment(invocation: Invocation, given: str, *, as_json: bool) -> int:
    """Print the names. Raises BetcodeError: there is no such session, or nobody can say what it was started with."""
    paths = invocation.paths
    row = _row(paths, given) if given else None
    daemon, _ = look_at_daemon(paths)
    theirs = names_of(daemon.pid) if daemon.pid is not None else None
    claude = look_at_lock(paths.sessions / row.id)[2] if row is not None else None
    actual = names_of(claude) if claude is not None else None
    if daemon.pid is not None and theirs is None:
        remark("the environment of the daemon cannot be read here: this is what one started from this shell would do")
    options = row.options if row is not None else Options(path=invocation.env.get("PATH", ""))
    found = sort_out(invocation.env if theirs is None else theirs, options, _env_pass(invocation), actual=actual or ())
    source = "shell" if theirs is None else "daemon"
    if as_json:
        fields = {"gets": found.gets, "removed": found.removed, "added": found.added}
        say_json({"session": row.id if row else None, "running": bool(actual), "source": source} | fields)
        return 0
    who = f"claude of session {row.id}" if row else "claude in a new session"
    tense = "got when it was started" if actual else "gets when it is started"
    say(f"{who} {tense}, of the variables of the {source}:")
    for name in found.gets:
        say(f"  {name}" + ("  (set by BetCode)" if name in found.added else ""))
    say("kept from it:")
    for name in found.removed or ("nothing",):
        say(f"  {name}")
    return 0


def _row(paths: Paths, given: str) -> SessionRow:
    """The session as it is stored. Raises BetcodeError."""
    live = read_locks().look(paths.lock).state is Held.HELD
    try:
        if not Path(paths.database).exists():
            raise BetcodeError("session.not_found", f"no session {given!r}", hint="See: betcode sessions list")
        with opened(paths.database, live=live, wait_s=limits.DOCTOR_READ_S) as connection:
            return history.find_session(connection, given)
    except (NotLookedError, apsw.Error, OSError, ValueError) as error:
        raise BetcodeError("store.failed", f"the database cannot be read: {error}", hint="betcode doctor") from error


def _env_pass(invocation: Invocation) -> tuple[str, ...]:
    """Names that the settings let pass; with broken settings those that pass always are told of alone."""
    try:
        loaded = load(flags={}, env=invocation.env, project_dir=None, paths=invocation.paths)
    except BetcodeError as error:
        remark(f"the settings are not valid, so `agent.env_pass` is left out: {error}")
        return ()
    return tuple(loaded.config.agent.env_pass)
