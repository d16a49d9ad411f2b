"""`betcode db recover`: the database built anew from all that is left of it, with or without a daemon."""

from __future__ import annotations

import os
import sys
import time
from random import Random
from typing import Any, Final

import click
import msgspec

from betcode.adapters.clock import SystemClock
from betcode.adapters.environment import child_environment
from betcode.adapters.rescue.places import Places
from betcode.adapters.rescue.rebuild import ALL
from betcode.adapters.rescue.repair import Task, Ways, read_report, repair
from betcode.cli.ask import ask
from betcode.cli.db_alone import alone
from betcode.cli.invocation import Invocation, pass_invocation
from betcode.cli.output import remark, say, say_json
from betcode.cli.progress import progress_line
from betcode.client import brief
from betcode.config.paths import Paths
from betcode.model import rescue_limits
from betcode.model.errors import BetcodeError
from betcode.model.frames import Repair
from betcode.model.rescue import Outcome, RescueReport

_POLL_S: Final = 0.1
"""Between looks at a repair that takes seconds."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object.")
@click.option("--report", "only_report", is_flag=True, help="Repair nothing: show what came of the newest rescue.")
@pass_invocation
def recover(invocation: Invocation, *, as_json: bool, only_report: bool) -> int:
    """Build the database anew from the intake log, the journals, the backups and whatever can be read of the old one.

    A daemon does this by itself as soon as it finds damage. Nothing is lost by doing it once more: the old files are
    kept beside the new one, and what exists is taken over as it is. With a daemon, sessions go on meanwhile.

    Exit status 0: nothing is missing; 1: something is, and the report says what; 7: it could not be done.

    \b
    Examples:
      betcode db recover
      betcode db recover --report
      betcode db recover --json | jq -r '.missing[]'
    """
    paths = invocation.paths
    if only_report:
        found = read_report(paths.data)
        if found is None:
            if as_json:
                say_json(None)
            else:
                say("This database was never rescued.")
            return 0
        return _tell(found, as_json=as_json)
    if brief.answers(paths.socket):
        return _tell(_by_daemon(invocation), as_json=as_json)
    return _tell(_alone(paths), as_json=as_json)


def _by_daemon(invocation: Invocation) -> RescueReport:
    before = _newest(invocation)
    ask(invocation, Repair(id=1), start=False)
    deadline = time.monotonic() + rescue_limits.START_WAIT_S
    with progress_line() as progress:
        while time.monotonic() < deadline:
            database = brief.ask(invocation.paths.socket, "status")["database"]
            if database["state"] != "repairing":
                break
            progress(str(database.get("repair", "")), 0, 1)
            time.sleep(_POLL_S)
    found = _newest(invocation)
    if found is None or found == before:
        raise BetcodeError(
            "store.failed", "the daemon could not repair its database", hint="See why: betcode daemon logs -n 20"
        )
    return msgspec.convert(found, RescueReport)


def _newest(invocation: Invocation) -> Any:
    return brief.ask(invocation.paths.socket, "status")["database"].get("rescue")


def _alone(paths: Paths) -> RescueReport:
    with alone(paths), progress_line() as progress:
        task = Task(
            Places(paths.database, paths.data),
            SystemClock().now(),
            Random(),
            lambda row: child_environment(os.environ, row.options, ()),
            progress,
        )
        return repair(task, "a person asked for it", Ways(ALL, _way_failed))


def _way_failed(name: str, error: Exception) -> None:
    sys.stderr.write(f"betcode: {name} did not work ({error!r}); a simpler way is tried\n")


def _tell(found: RescueReport, *, as_json: bool) -> int:
    status = 0 if found.outcome is Outcome.REPAIRED else 1
    if as_json:
        say_json(msgspec.to_builtins(found))
        return status
    for sentence in found.sentences:
        say(sentence)
    remark(f"found at {found.at}: {found.cause}")
    return status
