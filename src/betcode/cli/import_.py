"""`betcode import`: conversations that claude had without us, listed and taken over."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import click

from betcode.adapters.conversations import Listed, conversations, history
from betcode.adapters.environment import child_environment
from betcode.adapters.other_claudes import others
from betcode.cli.invocation import Invocation, pass_invocation
from betcode.cli.local_time import local
from betcode.cli.new_session import account_dir
from betcode.cli.output import counted, remark, say, say_json, table
from betcode.client import brief
from betcode.config.load import load
from betcode.core.instant import iso
from betcode.model.errors import BetcodeError
from betcode.model.frames import Create
from betcode.model.rows import Options
from betcode.wire.visible import visible


@click.command("import")
@click.option("--all", "everything", is_flag=True, help="All that are listed and not in use.")
@click.option("--claude-config-dir", metavar="DIR", help="CLAUDE_CONFIG_DIR of the conversations, that is the account.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object.")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@pass_invocation
def import_(
    invocation: Invocation, *, ids: tuple[str, ...], everything: bool, claude_config_dir: str | None, as_json: bool
) -> int:
    """List the conversations that claude had on this machine, or take some of them over as sessions.

    Without an ID they are listed, newest first; nothing is started for that. One that is taken over shows what was said
    in it, and the next message goes on there. One that another claude works on at this moment is not taken over. The
    same again does nothing new. Claude's own files are not changed.

    \b
    Examples:
      betcode import
      betcode import 8f41c41f
      betcode import --all
    """
    options = _options(invocation, claude_config_dir)
    env = child_environment(os.environ, options, ())
    found, older = conversations(env)
    known = _sessions(invocation)
    if not ids and not everything:
        body = {"conversations": [_view(one, env, known) for one in found], "older": older}
        if as_json:
            say_json(body)
        else:
            _tell(body)
        return 0
    chosen = [_chosen(found, given) for given in ids] if ids else [one for one in found if one.id not in known]
    taken: list[dict[str, Any]] = []
    for one in chosen:
        if busy := others(env, one.id, ()):
            if ids:
                raise BetcodeError(
                    "import.in_use",
                    f"claude (pid {busy[0].pid}) works on the conversation {one.id} at this moment",
                    hint="End it there first: two on one conversation would overwrite each other's work.",
                )
            remark(f"in use, left out: {one.id} (claude pid {busy[0].pid})")
            continue
        taken.append(_take(invocation, one, options, env))
        if not as_json:
            say(f"{taken[-1]['session']}  {one.id}  {visible(one.words, keep_newlines=False)}")
    if as_json:
        say_json({"taken": taken})
    elif not taken:
        say("Nothing was taken over.")
    return 0


def _options(invocation: Invocation, given: str | None) -> Options:
    env = invocation.env
    agent = load(flags={}, env=env, project_dir=None, paths=invocation.paths).config.agent
    return Options(
        path=env.get("PATH", ""),
        virtual_env=env.get("VIRTUAL_ENV", ""),
        claude_config_dir=account_dir(given, agent.config_dir, env),
    )


def _sessions(invocation: Invocation) -> dict[str, str]:
    """Claude's ids of our sessions -> ours; empty without a daemon."""
    try:
        body = brief.ask(invocation.paths.socket, "status")
    except BetcodeError:
        return {}
    return {session["claude_session_id"]: session["id"] for session in body["sessions"]}


def _chosen(found: list[Listed], given: str) -> Listed:
    """By id or its beginning. Raises BetcodeError."""
    same = [one for one in found if one.id == given] or [one for one in found if one.id.startswith(given)]
    if len(same) != 1:
        what = "no conversation begins" if not same else f"{len(same)} conversations begin"
        raise BetcodeError("import.not_found", f"{what} with {given!r}", hint="See which there are: betcode import")
    return same[0]


def _take(invocation: Invocation, one: Listed, options: Options, env: dict[str, str]) -> dict[str, Any]:
    directory = one.directory or history(env, one.id).directory
    request = Create(directory=directory, name=one.words, options=options, key=one.id, imports=True)

    async def once() -> dict[str, Any]:
        async with invocation.client() as client:
            return await client.request(request)

    made = asyncio.run(once())["session"]
    return {"conversation": one.id, "session": made["id"], "dir": directory}


def _view(one: Listed, env: dict[str, str], known: dict[str, str]) -> dict[str, Any]:
    busy = others(env, one.id, ()) if one.id not in known else ()
    return {
        "id": one.id,
        "used_at": iso(one.used_unix_s),
        "dir": one.directory,
        "words": one.words,
        "size": one.size,
        "session": known.get(one.id),
        "in_use_by": busy[0].pid if busy else None,
    }


def _tell(body: dict[str, Any]) -> None:
    if not body["conversations"]:
        say("claude had no conversations here.")
        return
    rows = [["ID", "LAST USED", "", "DIRECTORY", "FIRST WORDS"]]
    for one in body["conversations"]:
        state = f"session {one['session']}" if one["session"] else ""
        state = f"in use (pid {one['in_use_by']})" if one["in_use_by"] else state
        rows.append([one["id"], local(one["used_at"]), state, one["dir"], visible(one["words"], keep_newlines=False)])
    say(table(rows))
    if body["older"]:
        say(f"and {counted(body['older'], 'older one')}")
