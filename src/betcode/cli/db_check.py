"""`betcode db check`: all of the database looked at, and nothing changed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from betcode.adapters.survey.database import Depth, look_at_database
from betcode.cli.invocation import Invocation, pass_invocation
from betcode.cli.output import say, say_json
from betcode.cli.progress import progress_line, ticking
from betcode.client import brief
from betcode.core.diagnosis.daemon import judge_database
from betcode.core.diagnosis.finding import Severity
from betcode.model.errors import BetcodeError


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object.")
@click.argument("path", required=False, type=click.Path(path_type=Path))
@pass_invocation
def check(invocation: Invocation, *, path: Path | None, as_json: bool) -> int:
    """Look at the structure of the database, the checksum of every row, the numbering of events, and whether its end
    is lost.

    Without PATH it is the daemon's own, whether a daemon runs or not; PATH may be a backup. Nothing is changed.

    Exit status 0: it is whole; 5: it is damaged or has lost something, or cannot be looked at; the text says what to
    do.

    \b
    Examples:
      betcode db check
      betcode db check ~/.local/state/betcode/backups/daemon-20261127T101500Z-auto.db
    """
    own = path is None or path == invocation.paths.database
    database = invocation.paths.database if path is None else path
    if not own and not database.exists():
        raise BetcodeError("request.file", f"there is no file {str(database)!r}", hint="Give the path of a database.")
    sessions = invocation.paths.sessions if own else database.with_name("no sessions")
    live = own and brief.answers(invocation.paths.socket)
    left = own and any(invocation.paths.sessions.glob("*/mark"))
    with progress_line() as progress:
        depth = Depth(wait_s=math.inf, whole=True, ticking=ticking(progress, "check"))
        found = look_at_database(database, sessions, live=live, others_left=left, depth=depth)
    findings = judge_database(found, daemon_state="", data=str(invocation.paths.data))
    bad = [finding for finding in findings if finding.severity is Severity.ERROR or found.not_looked]
    body: dict[str, Any] = {
        "database": str(database),
        "ok": not bad,
        "rows": found.rows,
        "finished": found.finished,
        "bad_rows": list(found.bad_rows),
        "holes": list(found.holes),
        "behind": list(found.behind),
        "findings": [{"id": f.id, "severity": f.severity.value, "what": f.what, "hint": f.hint} for f in findings],
    }
    if as_json:
        say_json(body)
    else:
        for finding in findings:
            mend = f"  -> {finding.hint}" if finding.hint and finding in bad else ""
            say(f"{finding.severity.value:<8}{finding.what}{mend}")
    return 5 if bad else 0
