"""`betcode doctor session`: what went wrong in one session, from whoever still knows: daemon, database, files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from betcode.adapters.survey import history
from betcode.adapters.survey.database import NotLookedError, opened
from betcode.adapters.survey.locks import read_locks
from betcode.adapters.survey.sessions import look_at_lock, look_at_runs
from betcode.cli.doctor_daemon import ask
from betcode.cli.doctor_text import show_history, show_lock, show_runs
from betcode.cli.invocation import Invocation
from betcode.cli.output import say, say_json
from betcode.config.paths import Paths
from betcode.core.diagnosis.daemon import Held
from betcode.core.diagnosis.entry import merged
from betcode.core.diagnosis.runs import Run, run_entries
from betcode.core.diagnosis.trouble import Troubles
from betcode.core.diagnosis.waiting import Now, Standing, waits_for
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.ids import SessionId
from betcode.model.states import PermissionState

ID_CHARS_MAX = 40
"""A longer word is no id: ours have 10 characters, claude's 36."""


@dataclass(slots=True)
class Known:
    """What was found out about a session, and from whom."""

    id: str
    source: str
    """daemon, database or files."""
    summary: dict[str, Any] = field(default_factory=dict)
    troubles: Troubles = field(default_factory=lambda: Troubles(""))
    questions: list[str] = field(default_factory=list)
    messages: list[dict[str, str]] = field(default_factory=list)
    held: bool = False
    problem: str = ""
    """What could not be read."""


def diagnose(invocation: Invocation, given: str, *, as_json: bool) -> int:
    """Print everything. Returns the exit status; raises BetcodeError when there is no such session."""
    paths = invocation.paths
    known = find(paths, given)
    folder = paths.sessions / known.id
    lock, keeper, claude = look_at_lock(folder)
    try:
        runs, older = look_at_runs(folder)
    except OSError as error:
        runs, older = [], 0
        known.problem = f"{known.problem} its folder cannot be read: {error.strerror}".strip()
    now = waits_for(
        Standing(
            known.id,
            str(known.summary.get("state", "")),
            reason=str(known.summary.get("reason", "")),
            questions=known.questions,
            messages=[(m["state"], m["reason"]) for m in known.messages],
            held=known.held,
            undecided=bool(known.troubles.undecided),
            has_daemon=known.source == "daemon",
            process_lives=claude is not None,
        )
    )
    held = {Held.HELD: True, Held.HIDDEN: None}.get(lock.state, False)
    holder = {"held": held, "keeper_pid": keeper, "claude_pid": claude, "problem": lock.problem}
    if as_json:
        say_json(_object(known, holder, (runs, older), now))
    else:
        _show(known, holder, (runs, older), now)
    return 1 if now.needs_you or known.problem else 0


def _object(known: Known, lock: dict[str, Any], runs: tuple[list[Run], int], now: Now) -> dict[str, Any]:
    entries = merged(known.troubles.entries, run_entries(runs[0]))
    return {
        "session": {"id": known.id, **known.summary},
        "source": known.source,
        "problem": known.problem,
        "history": [entry.fields() for entry in entries],
        "history_left_out": known.troubles.left_out,
        "runs": [run.fields() for run in runs[0]],
        "runs_left_out": runs[1],
        "lock": lock,
        "questions": known.questions,
        "messages": known.messages,
        "undecided": known.troubles.undecided,
        "now": now.fields(),
    }


def _show(known: Known, lock: dict[str, Any], runs: tuple[list[Run], int], now: Now) -> None:
    summary = known.summary
    say(f"session {known.id}  {summary.get('state', 'unknown')}  {summary.get('dir', '')}".rstrip())
    say(f"read from the {known.source}" + (f"; {known.problem}" if known.problem else ""))
    show_history(merged(known.troubles.entries, run_entries(runs[0])), known.troubles.left_out)
    show_runs(*runs)
    show_lock(lock)
    say(f"now   {now.severity}: it waits for {now.what}")
    say(f"      -> {now.command}")


def find(paths: Paths, given: str) -> Known:
    """The session, from the best source there is. Raises BetcodeError `session.*`."""
    if len(given) > ID_CHARS_MAX or not given.isascii():
        raise BetcodeError("session.not_found", f"no session {given!r}", hint="See: betcode sessions list")
    try:
        return _from_daemon(paths, given)
    except BetcodeError as error:
        if error.code.startswith("session."):
            return _from_leftovers(paths, given, error)
        silence = str(error)
    try:
        return _from_database(paths, given)
    except (NotLookedError, apsw.Error, OSError, ValueError) as error:
        return _from_files(paths, given, f"no daemon answers ({silence}), and the database cannot be read ({error})")
    except BetcodeError as error:
        return _from_leftovers(paths, given, error)


def _from_leftovers(paths: Paths, given: str, error: BetcodeError) -> Known:
    """The files of a session that the database does not know. Raises `error` when there are none."""
    if error.code == "session.not_found":
        with suppress(BetcodeError):
            return _from_files(paths, given, "the database does not know this session")
    raise error


def _from_daemon(paths: Paths, given: str) -> Known:
    """Raises BetcodeError: `session.*`, or that there is no daemon."""
    summary = ask(paths, "show", session=given)["session"]
    session = str(summary["id"])
    known = Known(session, "daemon", summary, Troubles(session))
    deadline = time.monotonic() + limits.DOCTOR_HISTORY_S
    for epoch in range(1, int(summary["epoch"]) + 1):
        known.problem = known.problem or _feed(paths, known, epoch, deadline)
    queue = ask(paths, "queue", session=session)
    known.held = bool(queue["held"])
    known.messages = [{name: str(m[name]) for name in ("id", "state", "reason")} for m in queue["messages"]]
    known.questions = [q["id"] for q in ask(paths, "permissions", session=session)["permissions"]]
    return known


def _feed(paths: Paths, known: Known, epoch: int, deadline: float) -> str:
    """Read the events of one epoch. Returns what is missing."""
    newest = int(known.summary["seq"]) if epoch == known.summary["epoch"] else 0
    after = max(0, newest - limits.DOCTOR_EVENTS_MAX)
    missing = f"the first {after} events were not read" if after else ""
    more = True
    while more:
        if time.monotonic() > deadline:
            return f"there was no time for the events after {epoch}.{after}"
        try:
            page = ask(paths, "events", session=known.id, epoch=epoch, after=after, limit=limits.PAGE_EVENTS_MAX)
        except BetcodeError as error:
            if error.code == "daemon.unreachable":
                raise
            return f"the events after {epoch}.{after} cannot be read: {error}"
        for event in page["events"]:
            known.troubles.feed(event)
            after = event["seq"]
        more = page["more"] and bool(page["events"])
    return missing


def _from_database(paths: Paths, given: str) -> Known:
    """Raises NotLookedError, apsw.Error, OSError, ValueError; BetcodeError `session.*`."""
    if not paths.database.stat().st_size:
        raise NotLookedError("it is empty")
    live = read_locks().look(paths.lock).state is Held.HELD
    with opened(paths.database, live=live, wait_s=limits.DOCTOR_HISTORY_S) as connection:
        row = history.find_session(connection, given)
        stored = history.read_stored(connection, row)
        summary = {
            "claude_session_id": row.claude_session_id,
            "state": row.state,
            "epoch": row.epoch,
            "seq": row.seq,
            "dir": row.directory,
            "name": row.name,
            "reason": row.reason,
            "created_at": row.created_at,
            "run": row.run,
        }
        known = Known(row.id, "database", summary, Troubles(row.id), held=bool(row.life.get("held")))
        known.messages = [{"id": m.id, "state": m.state.value, "reason": m.reason} for m in stored.messages]
        known.questions = [p.id for p in stored.permissions if p.state is PermissionState.PENDING]
        known.problem = _feed_all(known, history.read_events(connection, row.id))
    return known


def _feed_all(known: Known, events: Iterator[dict[str, Any]]) -> str:
    """Returns what is missing: a damaged database gives what it still has."""
    try:
        for event in events:
            known.troubles.feed(event)
    except apsw.Error as error:
        return f"the rest of its events cannot be read: {error}"
    return ""


def _from_files(paths: Paths, given: str, problem: str) -> Known:
    """Only what keepers noted. Raises BetcodeError `session.*`."""
    try:
        ids = [SessionId(folder.name) for folder in Path(paths.sessions).iterdir() if folder.is_dir()]
    except OSError:
        ids = []
    session = history.choose(given, ids, {one: one for one in ids})
    return Known(session, "files", troubles=Troubles(session), problem=problem)
