"""`betcode db backup`: a verified copy of the database, now."""

from __future__ import annotations

import click

from betcode.adapters.clock import SystemClock
from betcode.adapters.sqlite.backup import make_backup
from betcode.adapters.sqlite.errors import cannot_open, translate
from betcode.cli.db_alone import alone
from betcode.cli.invocation import Invocation, pass_invocation
from betcode.cli.output import counted, say, say_json
from betcode.cli.progress import progress_line, ticking
from betcode.client import brief
from betcode.model.errors import BetcodeError


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object.")
@pass_invocation
def backup(invocation: Invocation, *, as_json: bool) -> int:
    """Copy the database into the folder `backups` of the data directory, and verify the copy row by row.

    A daemon does this by itself every 6 hours, if anything has changed. One that was made by hand is kept for 30 days.
    It holds what the database holds; journals and the intake log beside it are not in it.

    \b
    Examples:
      betcode db backup
      betcode db backup --json | jq -r .path
    """
    import apsw

    database = invocation.paths.database
    if not database.exists():
        raise BetcodeError("store.missing", f"there is no database {str(database)!r}", hint="Start a daemon first.")
    now = SystemClock().now().unix_s
    try:
        with progress_line() as progress:
            asked = ticking(progress, "backup")
            if brief.answers(invocation.paths.socket):
                made = make_backup(database, "manual", now, stop=asked)
            else:
                with alone(invocation.paths):
                    made = make_backup(database, "manual", now, alone=True, stop=asked)
    except apsw.Error as error:
        raise translate(error) from error
    except OSError as error:
        raise cannot_open(error) from error
    if as_json:
        say_json({"path": str(made.path), "rows": made.rows, "size": made.size})
    else:
        say(f"{made.path}: {counted(made.rows, 'row')}, {made.size:,} bytes, each row verified.")
    return 0
