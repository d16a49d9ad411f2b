"""`betcode attach`: watch a session."""

from __future__ import annotations

import asyncio
import contextlib
import sys

import click

from betcode.cli.complete import session_argument
from betcode.cli.invocation import Invocation, pass_invocation


@click.command()
@session_argument
@click.option("--json", "as_json", is_flag=True, help="Print each event as a line of JSON, as it is stored.")
@click.option("--until-idle", is_flag=True, help="End when nothing is being done or waiting any more.")
@click.option("--new", "only_new", is_flag=True, help="Leave out what happened before.")
@pass_invocation
def attach(invocation: Invocation, session: str, *, as_json: bool, until_idle: bool, only_new: bool) -> int:
    """Show session ID from its beginning, and then what happens, until ctrl-c.

    This only watches; ctrl-c ends the watching, not the session. Any number of terminals can watch. If the daemon is
    restarted, it goes on by itself: no event is lost or shown twice.

    \b
    Examples:
      betcode attach k3jq                      the first characters of the id are enough
      betcode attach --new k3jq                only what is new
      betcode attach --until-idle --json k3jq | jq -r 'select(.kind == "assistant").text'
    """
    return asyncio.run(_attach(invocation, session, as_json=as_json, until_idle=until_idle, only_new=only_new))


async def _attach(invocation: Invocation, given: str, *, as_json: bool, until_idle: bool, only_new: bool) -> int:
    from betcode.cli.idle import Idle
    from betcode.cli.lines import event_lines
    from betcode.cli.live import Live
    from betcode.cli.output import say, say_raw, show
    from betcode.client.session_view import Durable
    from betcode.model.frames import Show

    live = Live(streams=sys.stdout.isatty(), tell=say, put=show, describe=event_lines)
    idle = Idle()
    async with invocation.client() as client:
        session = (await client.request(Show(session=given)))["session"]
        async with contextlib.aclosing(client.stream(session["id"], from_end=only_new)) as stream:
            async for item in stream:
                if not as_json:
                    live.take(item)
                elif isinstance(item, Durable):
                    say_raw(item.raw)
                idle.take(item)
                if until_idle and idle.now:
                    return 0
    return 0
