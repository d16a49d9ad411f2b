"""`betcode db stats`: what is in the database and how much room it takes."""

from __future__ import annotations

from typing import Any

import apsw
import click

from betcode.adapters.intake import segments, total_bytes
from betcode.adapters.sqlite.backup import backups_of
from betcode.adapters.sqlite.errors import translate
from betcode.adapters.sqlite.tables import TABLES
from betcode.adapters.survey.database import NotLookedError, opened
from betcode.cli.invocation import Invocation, pass_invocation
from betcode.cli.output import say, say_json
from betcode.cli.output import table as aligned
from betcode.client import brief
from betcode.core.instant import iso
from betcode.model.errors import BetcodeError

_WAIT_S = 60.0
"""Counting takes a second per GB."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object.")
@pass_invocation
def stats(invocation: Invocation, *, as_json: bool) -> int:
    """Show rows by table, the size of the files, the age of what is oldest and newest, and the backups.

    \b
    Examples:
      betcode db stats
      betcode db stats --json | jq .rows.events
    """
    paths = invocation.paths
    if not paths.database.exists():
        raise BetcodeError(
            "store.missing", f"there is no database {str(paths.database)!r}", hint="Start a daemon first."
        )
    live = brief.answers(paths.socket)
    try:
        with opened(paths.database, live=live, wait_s=_WAIT_S) as connection:
            body = _content(connection)
    except apsw.Error as error:
        raise translate(error) from error
    except NotLookedError as error:
        raise BetcodeError("store.failed", str(error), hint="Start a daemon: betcode daemon start") from error
    files = {name: _size(paths.database.with_name(paths.database.name + name)) for name in ("", "-wal")}
    body["bytes"] = {"database": files[""], "log": files["-wal"], "intake": _intake(invocation)}
    body["backups"] = [
        {"name": b.name, "at": iso(b.at_unix_s), "reason": b.reason, "size": b.size} for b in backups_of(paths.database)
    ]
    if as_json:
        say_json(body)
    else:
        _tell(body)
    return 0


def _content(connection: apsw.Connection) -> dict[str, Any]:
    there = [t for t in TABLES if connection.table_exists(None, t.name)]
    rows = {t.name: int(connection.execute(f'SELECT count(*) FROM "{t.name}"').get) for t in there}  # noqa: S608 - ours
    oldest = connection.execute("SELECT min(time) FROM events").get
    newest = connection.execute("SELECT max(time) FROM events").get
    return {
        "rows": rows,
        "schema": int(connection.execute("PRAGMA user_version").get),
        "page_size": int(connection.execute("PRAGMA page_size").get),
        "pages": int(connection.execute("PRAGMA page_count").get),
        "free_pages": int(connection.execute("PRAGMA freelist_count").get),
        "oldest_event": oldest,
        "newest_event": newest,
    }


def _intake(invocation: Invocation) -> int:
    directory = invocation.paths.intake
    return total_bytes(directory) if directory.is_dir() and segments(directory) else 0


def _size(path: Any) -> int:
    return int(path.stat().st_size) if path.exists() else 0


def _tell(body: dict[str, Any]) -> None:
    say(aligned([["TABLE", "ROWS"], *[[name, f"{count:,}"] for name, count in body["rows"].items()]]))
    size = body["bytes"]
    say(f"database {size['database']:,} bytes, write-ahead log {size['log']:,}, intake log {size['intake']:,}")
    say(f"{body['pages']:,} pages of {body['page_size']:,} bytes, {body['free_pages']:,} of them free")
    if body["newest_event"]:
        say(f"events from {body['oldest_event']} to {body['newest_event']}")
    for backup in body["backups"]:
        say(f"backup {backup['name']}, {backup['size']:,} bytes")
    if not body["backups"]:
        say("no backups")
