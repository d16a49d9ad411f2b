"""`betcode status`: the daemon and its sessions at a glance. It must be quick, so it asks without the libraries."""

from __future__ import annotations

from typing import Any

import click

from betcode.cli.invocation import Invocation, pass_invocation
from betcode.cli.local_time import local
from betcode.cli.output import counted, say, say_json, table
from betcode.client.brief import ask


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object.")
@pass_invocation
def status(invocation: Invocation, *, as_json: bool) -> int:
    """Show the daemon and all sessions. Starts nothing: without a daemon it says so and ends with 2.

    \b
    Examples:
      betcode status
      betcode status --json | jq -r '.sessions[] | select(.state == "ACTIVE").id'
    """
    body = ask(invocation.paths.socket, "status")
    if as_json:
        say_json({**body, "sessions": [pinned(session) for session in body["sessions"]]})
        return 0
    daemon, database = body["daemon"], body["database"]
    say(
        f"daemon    pid {daemon['pid']}, version {daemon['version']}, since {local(daemon['started_at'], seconds=True)}"
    )
    say(f"database  {database['state']}, {database['path']}")
    if backup := database.get("backup"):
        say(f"backup    {_age(backup['age_s'])} old, {backup['path']}")
    if database.get("repair"):
        say(f"repair    {database['repair']}; messages are stored meanwhile, and nothing is lost")
    if rescue := database.get("rescue"):
        say(f"rescue    {local(rescue['at'], seconds=True)}: {rescue['outcome']}; see betcode db recover --report")
    claude = body.get("claude", {})  # an older daemon says nothing of it
    if claude.get("version"):
        say(f"claude    {claude['version']}, {claude['path']}")
    for warning in [*database.get("warnings", []), *claude.get("warnings", [])]:
        say(f"warning   {warning}")
    if pool := body.get("pool"):
        say(f"pool      {_pool_text(pool)}")
    for upstream in body.get("upstreams", []):
        if upstream["state"] != "closed":
            say(f"api       {_upstream_text(upstream)}")
    if body["sessions"]:
        rows = [["ID", "STATE", "SEQ", "CLAUDE PID", "DIRECTORY"]]
        for one in body["sessions"]:
            place = one.get("place") or (one.get("api") or {}).get("place")
            state = f"{one['state']} place {place}" if place else one["state"]
            rows.append([one["id"], state, str(one["seq"]), str(one["claude_pid"] or ""), one["dir"]])
        say(table(rows))
    else:
        say("no sessions")
    return 0


def _age(seconds: float) -> str:
    """Rounded as people do."""
    if seconds < 5_400:
        return counted(round(seconds / 60), "minute")
    return counted(round(seconds / 3_600), "hour") if seconds < 172_800 else counted(round(seconds / 86_400), "day")


def _upstream_text(upstream: dict[str, Any]) -> str:
    """What is known against an upstream, and when it is tried again."""
    states = {"half_open": "one session tries it", "slow_start": "sessions go on one after the other", "paused": ""}
    text = f"{upstream['name']}: {upstream['reason']}"
    if upstream.get("retry_at"):
        text += f" Next try at {local(upstream['retry_at'], seconds=True)}, in {upstream['retry_in_s']:.0f} s;"
    elif states.get(upstream["state"]):
        text += f" Now {states[upstream['state']]};"
    waits = counted(upstream["waiting"], "session")
    return f"{text} {waits} waiting" + (f". {upstream['hint']}" if upstream.get("hint") else "")


def _pool_text(pool: dict[str, int]) -> str:
    """How busy it is."""
    works = f"{pool['working']} of {pool['slots']} slots taken, {counted(pool['waiting'], 'session')} waiting"
    return f"{works}; {pool['processes']} of {pool['processes_max']} claude processes"


def pinned(session: dict[str, Any]) -> dict[str, Any]:
    """A session with the fields that programs rely on first."""
    first = ("id", "claude_session_id", "state", "epoch", "seq", "keeper_pid", "claude_pid", "dir")
    return {name: session[name] for name in first} | session
