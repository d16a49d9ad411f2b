"""`betcode db restore`: a backup in the place of the database, which is kept aside."""

from __future__ import annotations

from pathlib import Path

import apsw
import click

from betcode.adapters.clock import SystemClock
from betcode.adapters.rescue.going_back import go_back
from betcode.adapters.rescue.places import Places
from betcode.adapters.sqlite.backup import backups_of, folder_of
from betcode.adapters.sqlite.errors import cannot_open, translate
from betcode.adapters.survey.locks import read_locks
from betcode.cli.db_alone import alone
from betcode.cli.invocation import Invocation, pass_invocation
from betcode.cli.output import counted, say, say_json
from betcode.cli.progress import progress_line
from betcode.core.diagnosis.daemon import Held
from betcode.model.errors import BetcodeError


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object.")
@click.option("--yes", "-y", "sure", is_flag=True, help="Do not ask.")
@click.option("--exactly", is_flag=True, help="Let nothing come back that came since.")
@click.argument("backup", required=False, type=click.Path(path_type=Path))
@pass_invocation
def restore(invocation: Invocation, *, backup: Path | None, sure: bool, exactly: bool, as_json: bool) -> int:
    """Put BACKUP (a path, or a name in the folder `backups`; else the newest) in the place of the database.

    No daemon may run. The database that is there is kept as `daemon.db.replaced.<time>`. At the next start everything
    that was acknowledged since the backup comes back, from the intake log, newer backups and journals: a restore loses
    nothing of it.

    With --exactly nothing comes back: the intake log, the sessions' files and newer backups are kept aside too, under
    `.replaced.<time>`, and no claude may run. What was open when the backup was made is not done again, since it may
    have been done meanwhile. Claude's own conversations stay as they are: claude remembers what is not shown any more.

    \b
    Examples:
      betcode daemon stop && betcode db restore
      betcode db restore --exactly --yes daemon-20261127T101500Z-manual.db
    """
    paths = invocation.paths
    chosen = _chosen(paths.database, backup)
    if not sure:
        if as_json:
            raise BetcodeError("request.usage", "--json cannot ask", hint="Add --yes.")
        click.confirm(f"Put {chosen.name} in the place of {paths.database}?", abort=True, err=True)
    try:
        with alone(paths), progress_line() as progress:
            progress("restore", 0, 0)
            if exactly:
                _refuse_processes(paths.sessions)
            done = go_back(Places(paths.database, paths.data), chosen, exactly=exactly, now=SystemClock().now())
    except apsw.Error as error:
        raise translate(error) from error
    except OSError as error:
        raise cannot_open(error) from error
    kept = [str(path) for path in done.kept]
    if as_json:
        body = {"database": str(paths.database), "backup": str(chosen), "rows": done.rows, "kept": kept}
        say_json({**body, "exactly": exactly, "renumbered": list(done.renumbered)})
        return 0
    say(f"{chosen.name} is the database now ({counted(done.rows, 'row')}, each verified).")
    for path in kept:
        say(f"kept: {path}")
    if exactly:
        say(f"Nothing comes back. {counted(len(done.renumbered), 'session')} had gone on since; that is not shown now.")
    else:
        say("At the next start what was acknowledged since comes back: intake log, newer backups and journals have it.")
    return 0


def _chosen(database: Path, given: Path | None) -> Path:
    """The backup to take. Raises BetcodeError."""
    found = backups_of(database)
    if given is None:
        if not found:
            raise BetcodeError("request.file", "there are no backups", hint="See: betcode db stats")
        return folder_of(database) / found[-1].name
    for path in (given, folder_of(database) / given):
        if path.is_file():
            return path
    names = ", ".join(one.name for one in found[-5:]) or "none"
    raise BetcodeError("request.file", f"there is no backup {str(given)!r}", hint=f"The newest: {names}")


def _refuse_processes(sessions: Path) -> None:
    """What a claude prints from now on would be nobody's, and two must not work at once. Raises BetcodeError."""
    locks = read_locks()
    held = [lock.parent.name for lock in sessions.glob("*/lock") if locks.look(lock).state is not Held.FREE]
    if held:
        raise BetcodeError(
            "store.processes",
            f"claude still runs for {counted(len(held), 'session')} ({', '.join(held[:3])})",
            hint="First: betcode daemon start && betcode daemon stop --stop-sessions",
        )
