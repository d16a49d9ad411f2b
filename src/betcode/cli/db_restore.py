"""`betcode db restore`: a backup in the place of the database, which is kept aside."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

import apsw
import click

from betcode.adapters.clock import SystemClock
from betcode.adapters.durable import sync
from betcode.adapters.rescue.put_back import SUFFIXES
from betcode.adapters.sqlite.backup import backups_of, folder_of, verify
from betcode.adapters.sqlite.errors import cannot_open, translate
from betcode.cli.db_alone import alone
from betcode.cli.invocation import Invocation, pass_invocation
from betcode.cli.output import counted, say, say_json
from betcode.core.instant import iso
from betcode.model.errors import BetcodeError


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object.")
@click.option("--yes", "-y", "sure", is_flag=True, help="Do not ask.")
@click.option("--exactly", is_flag=True, help="Put the intake log and the marks aside too, so that nothing comes back.")
@click.argument("backup", required=False, type=click.Path(path_type=Path))
@pass_invocation
def restore(invocation: Invocation, *, backup: Path | None, sure: bool, exactly: bool, as_json: bool) -> int:
    """Put BACKUP (a path, or a name in the folder `backups`; else the newest) in the place of the database.

    No daemon may run. The database that is there is kept as `daemon.db.replaced.<time>`. At the next start everything
    that was acknowledged since the backup comes back from the intake log and the journals: a restore loses nothing of
    it. With --exactly it does not, and the sessions are as they were when the backup was made.

    \b
    Examples:
      betcode daemon stop && betcode db restore
      betcode db restore --exactly --yes daemon-20261127T101500Z-manual.db
    """
    database = invocation.paths.database
    chosen = _chosen(database, backup)
    if not sure:
        if as_json:
            raise BetcodeError("request.usage", "--json cannot ask", hint="Add --yes.")
        click.confirm(f"Put {chosen.name} in the place of {database}?", abort=True, err=True)
    try:
        with alone(invocation.paths):
            body = _restore(invocation, chosen, exactly=exactly)
    except apsw.Error as error:
        raise translate(error) from error
    except OSError as error:
        raise cannot_open(error) from error
    if as_json:
        say_json(body)
        return 0
    say(f"{chosen.name} is the database now ({counted(body['rows'], 'row')}, each verified).")
    for path in body["kept"]:
        say(f"kept: {path}")
    if not exactly:
        say("What was acknowledged since comes back at the next start of the daemon, from the intake log and journals.")
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


def _restore(invocation: Invocation, chosen: Path, *, exactly: bool) -> dict[str, Any]:
    """Raises StoreError when the backup is damaged; apsw.Error; OSError."""
    paths = invocation.paths
    rows = verify(chosen)
    part = paths.database.with_name(paths.database.name + ".restore-part")
    shutil.copyfile(chosen, part)
    part.chmod(0o600)
    sync(part)
    stamp = iso(SystemClock().now().unix_s)[:19].replace("-", "").replace(":", "") + "Z"
    kept: list[Path] = []
    for suffix in SUFFIXES:
        kept += _aside(paths.database.with_name(paths.database.name + suffix), f"daemon.db.replaced.{stamp}{suffix}")
    if exactly:
        kept += _aside(paths.intake, f"intake.replaced.{stamp}")
        for mark in paths.sessions.glob("*/mark"):
            mark.unlink()
    os.rename(part, paths.database)
    sync(paths.data)
    return {"database": str(paths.database), "backup": str(chosen), "rows": rows, "kept": [str(path) for path in kept]}


def _aside(path: Path, name: str) -> list[Path]:
    with contextlib.suppress(FileNotFoundError):
        return [path.rename(path.with_name(name))]
    return []
