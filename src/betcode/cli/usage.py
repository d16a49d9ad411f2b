"""`betcode usage`: what turns have used, in tokens and in dollars."""

from __future__ import annotations

from typing import Any

import click

from betcode.cli.complete import sessions
from betcode.cli.invocation import Invocation, pass_invocation
from betcode.cli.local_time import local
from betcode.cli.output import counted, say, say_json, table
from betcode.core.spent import dollars
from betcode.model.usage import DAYS_MAX

_HEADS = {"day": "DAY", "session": "SESSION", "model": "MODEL", "upstream": "UPSTREAM"}


@click.command()
@click.option("--session", metavar="ID", default="", shell_complete=sessions, help="Only this session.")
@click.option(
    "--days",
    metavar="N",
    type=click.IntRange(1, DAYS_MAX),
    help="Only the last N days, today included. [default: all that is stored]",
)
@click.option("--by", type=click.Choice(list(_HEADS)), default="day", show_default=True, help="What to sum by.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object.")
@pass_invocation
def usage(invocation: Invocation, *, session: str, days: int | None, by: str, as_json: bool) -> int:
    """Show what claude's turns have used: tokens, and the cost by claude's own list of prices.

    A subscription does not pay that cost; it says how much of it was used. Days are local. INPUT is without what came
    from the cache (CACHE READ) or went to it (CACHE WRITE). A turn counts when it has ended; of one that was killed
    claude tells nothing. What a deleted session used goes with it.

    With --by model a turn that used two models counts for both. `unknown`: an older claude, which names no models.

    \b
    To set a bound, in settings.json (see: betcode config show):
      {"limits": {"cost_per_day_usd": 20, "cost_per_session_usd": 5}}

    \b
    Examples:
      betcode usage
      betcode usage --days 7 --by model
      betcode usage --by session --json | jq -r '.rows[] | [.key, .cost_usd] | @tsv'
      betcode usage --session k3jq --json | jq .total.cost_usd
    """
    from betcode.cli.ask import ask
    from betcode.model.frames import GetUsage

    body = ask(invocation, GetUsage(session=session, by=by, days=days or 0))
    if as_json:
        say_json(body)
    elif body["rows"]:
        say(usage_table(body))
        if body["left_off"]:
            say(f"and {counted(body['left_off'], 'more row')}, which the total includes")
    else:
        say(_nothing(body))
    if body["windows"] and not as_json:
        say(windows_table(body["windows"]))
    return 0


def usage_table(body: dict[str, Any]) -> str:
    """The reply as a table for people; the last line has the sums, if there is more than one."""
    rows = [[_HEADS[body["by"]], "TURNS", "INPUT", "OUTPUT", "CACHE READ", "CACHE WRITE", "COST"]]
    rows += [[one["key"], *_cells(one)] for one in body["rows"]]
    if len(body["rows"]) > 1:
        rows.append(["total", *_cells(body["total"])])
    return table(rows)


def windows_table(windows: list[dict[str, Any]]) -> str:
    """How much of each usage window is used, as the API last told it."""
    rows = [["USAGE WINDOW", "USED", "RESETS", "TOLD", "API"]]
    for one in windows:
        used = f"{one['utilization']:.0%}" if one["status"] != "rejected" else "all"
        rows.append(
            [one["name"].replace("_", " "), used, local(one["resets_at"]), local(one["told_at"]), one["upstream"]]
        )
    return table(rows)


def _cells(one: dict[str, Any]) -> list[str]:
    names = ("turns", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
    return [*(f"{one[name]:,}" for name in names), dollars(one["cost_usd"])]


def _nothing(body: dict[str, Any]) -> str:
    where = f" in session {body['session']}" if body["session"] else ""
    when = f" in the last {counted(body['days'], 'day')}" if body["days"] else ""
    return f"no turn has ended{where}{when}"
