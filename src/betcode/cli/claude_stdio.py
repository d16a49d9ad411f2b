"""`betcode-claude`: stands in for `claude` under the Agent SDK (`cli_path`) and keeps the session in the daemon.

It reads what the SDK writes for claude, hands messages and decisions to the daemon, and prints claude's own lines. The
session outlives this process, and this process outlives the daemon. docs/sdk.md says what is supported.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence

from betcode.cli.claude_arguments import ClaudeArguments, help_text, read_arguments
from betcode.cli.claude_bridge import Bridge
from betcode.cli.invocation import Invocation
from betcode.cli.output import fail, remark
from betcode.cli.standard_input import lines_of_stdin
from betcode.client.client import Client
from betcode.model import limits
from betcode.model.errors import BetcodeError, Exit
from betcode.model.frames import Create, ListSessions, Show


def main(argv: Sequence[str] | None = None) -> int:
    """Run until standard input has ended and everything is answered. The status is the one that claude would give."""
    invocation = Invocation(flags={}, claude=None, env=os.environ)
    try:
        arguments = read_arguments(list(sys.argv[1:] if argv is None else argv), os.environ)
        if arguments.help:
            sys.stdout.write(help_text())
            return 0
        if arguments.version:
            from betcode import __version__

            sys.stdout.write(f"{__version__} (BetCode)\n")
            return 0
        return asyncio.run(_serve(invocation, arguments, os.path.realpath(os.getcwd())))
    except BetcodeError as error:
        return fail(error, as_json=False)
    except KeyboardInterrupt:
        return int(Exit.INTERRUPTED)


async def _serve(invocation: Invocation, arguments: ClaudeArguments, directory: str) -> int:
    async with invocation.client() as client:
        session = await _session(client, arguments, directory)
        bridge = Bridge(client, session, arguments)
        async with bridge.running():
            async for line in lines_of_stdin():
                await bridge.take(line)
            return await bridge.end()


async def _session(client: Client, arguments: ClaudeArguments, directory: str) -> str:
    """The session to work in. Raises BetcodeError."""
    if arguments.resume:
        shown = await client.request(Show(session=arguments.resume))
        remark("betcode-claude: going on with a session; it keeps the options that it was made with")
        return str(shown["session"]["id"])
    if arguments.continues:
        listed = await client.request(ListSessions(limit=limits.LIST_MAX, closed=False))
        for summary in listed["sessions"]:
            if summary["dir"] == directory:
                return str(summary["id"])
    made = await client.request(
        Create(directory=directory, name="", options=arguments.options, key=arguments.session_id or _new_key())
    )
    return str(made["session"]["id"])


def _new_key() -> str:
    import uuid

    return str(uuid.uuid4())
