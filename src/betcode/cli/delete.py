"""What `betcode sessions delete` does: name the session, ask, delete."""

from __future__ import annotations

import sys
from typing import Any

import click

from betcode.cli.invocation import Invocation
from betcode.cli.output import say, say_json
from betcode.model.errors import BetcodeError
from betcode.model.frames import Delete, Show
from betcode.wire.visible import visible


async def delete_session(invocation: Invocation, given: str, *, yes: bool, force: bool, as_json: bool) -> int:
    """Delete one session. Raises BetcodeError: then it is still there."""
    async with invocation.client() as client:
        session = (await client.request(Show(session=given)))["session"]
        if not yes:
            _confirm(session)
        # By its whole id: if the connection is lost the request is repeated, and a prefix would then find nothing.
        body = await client.request(Delete(session=session["id"], force=force))
    if as_json:
        say_json(body)
    else:
        say(f"session {body['session']} is deleted")
    return 0


def _confirm(session: dict[str, Any]) -> None:
    """Have a person say yes. Raises BetcodeError when there is none, or when the answer is another one."""
    name = f" {session['name']!r}" if session["name"] else ""
    what = f"session {session['id']}{name} in {session['dir']} ({session['state']}, {session['seq']} events)"
    if not sys.stdin.isatty():
        raise BetcodeError(
            "request.usage",
            f"nobody can be asked whether {what} is to be deleted",
            hint=f"If it is: betcode sessions delete --yes {session['id']}",
        )
    if not click.confirm(visible(f"Delete {what} for good?", keep_newlines=False), err=True):
        hint = "`betcode sessions close` ends a session and keeps what was said."
        raise BetcodeError("run.interrupted", "nothing was deleted", hint=hint)
