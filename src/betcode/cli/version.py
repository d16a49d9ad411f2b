"""`betcode version`."""

from __future__ import annotations

import platform
import sys

import click

from betcode import __version__
from betcode.cli.invocation import Invocation, pass_invocation
from betcode.cli.output import say, say_json
from betcode.client.brief import PROTOCOL, ask
from betcode.model.errors import BetcodeError


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object.")
@pass_invocation
def version(invocation: Invocation, *, as_json: bool) -> int:
    """Print the versions of betcode, of the daemon if one runs, and of Python. Put this into bug reports.

    \b
    Examples:
      betcode version
      betcode version --json | jq -r .betcode
    """
    try:
        daemon = ask(invocation.paths.socket, "status")["daemon"]["version"]
    except BetcodeError:
        daemon = None
    found = {
        "betcode": __version__,
        "protocol": PROTOCOL,
        "daemon": daemon,
        "python": platform.python_version(),
        "platform": sys.platform,
    }
    if as_json:
        say_json(found)
    else:
        for name, value in found.items():
            say(f"{name:9} {'not running' if value is None else value}")
    return 0
