"""Flags of `claude -p` that `betcode run` takes too, so that a script need not be rewritten; and those it refuses."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NoReturn

import click

from betcode.model.errors import BetcodeError

MODES = ("default", "acceptEdits", "plan")
ASKS = "A tool runs when a rule allows it or somebody says yes: --allow RULE, or betcode permissions."
REFUSED = {
    "--dangerously-skip-permissions": (False, "betcode never lets all tools run unasked", ASKS),
    "--allow-dangerously-skip-permissions": (False, "betcode never lets all tools run unasked", ASKS),
    "--permission-prompt-tool": (True, "betcode asks its own clients", ASKS),
    "--settings": (True, "not supported", "Put them into .claude/settings.json of the project."),
    "--fork-session": (False, "a session cannot be copied yet", "Start a new one, or go on with --resume ID alone."),
    "--agents": (True, "not supported", "Put them into .claude/agents of the project."),
    "--no-session-persistence": (False, "sessions are always kept", "Remove one with: betcode sessions delete ID"),
    "--replay-user-messages": (False, "messages are not repeated", "Programs of the Agent SDK use betcode-claude."),
}
"""Flag -> (takes a value, why it is refused, what to do instead). Any other is not known, and click says so."""
PASSED = {
    "--fallback-model": "NAMES",
    "--effort": "LEVEL",
    "--tools": "LIST",
    "--betas": "LIST",
    "--json-schema": "JSON",
    "--max-budget-usd": "AMOUNT",
    "--plugin-dir": "DIR",
}
"""Flags with a value that claude gets as they are, and what their value is called."""

Command = Callable[..., Any]


def claude_flags(command: Command) -> Command:
    """Add them all to a command."""
    options: list[Callable[[Any], Any]] = [
        click.option(
            "--allowedTools",
            "--allowed-tools",
            "allowed_tools",
            multiple=True,
            metavar="LIST",
            help='As --allow, several rules in one word: "Bash(git *),Edit".',
        ),
        click.option(
            "--disallowedTools",
            "--disallowed-tools",
            "disallowed_tools",
            multiple=True,
            metavar="LIST",
            help="Rules for what claude may never do in this session.",
        ),
        click.option(
            "--permission-mode",
            metavar="MODE",
            callback=_mode,
            help=f"How claude asks: {', '.join(MODES[:-1])} or plan.",
        ),
        click.option("--system-prompt", metavar="TEXT", help="Instead of claude's own."),
        click.option("--append-system-prompt", metavar="TEXT", help="Added to claude's own."),
        click.option(
            "--add-dir", multiple=True, metavar="DIR", help="A further directory that claude may use. Repeatable."
        ),
        click.option("--mcp-config", multiple=True, metavar="FILE|JSON", help="MCP servers. Repeatable."),
        click.option("--strict-mcp-config", is_flag=True, help="Only the MCP servers of --mcp-config."),
        click.option("--setting-sources", metavar="LIST", help="Which settings files of its own claude reads."),
        click.option("--session-id", metavar="UUID", help="The id that claude gives a new session."),
        click.option("--input-format", metavar="text", expose_value=False, callback=_input_format, hidden=True),
        *(
            click.option(f, metavar=m, help="Given to claude as it is.", expose_value=False, callback=_pass)
            for f, m in PASSED.items()
        ),
        *(_refused(flag) for flag in REFUSED),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def passed_on(context: click.Context) -> tuple[str, ...]:
    """The flags of `PASSED` that were given, as `Options.more` takes them."""
    return tuple(context.meta.get(__name__, ()))


def _pass(context: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.meta.setdefault(__name__, []).append(f"{param.opts[0]}={value}")


def _refused(flag: str) -> Callable[[Command], Command]:
    takes_value, why, instead = REFUSED[flag]

    def refuse(_context: click.Context, _param: click.Parameter, value: object) -> None:
        if value:
            _no(f"{flag}: {why}", instead)

    return click.option(flag, is_flag=not takes_value, expose_value=False, hidden=True, callback=refuse)


def _mode(_context: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is not None and value not in MODES:
        _no(
            f"--permission-mode {value}: must be {', '.join(MODES[:-1])} or plan; modes that never ask are refused",
            ASKS,
        )
    return value


def _input_format(_context: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value not in (None, "text"):
        _no(f"--input-format {value}: betcode run takes text", "Programs of the Agent SDK use betcode-claude.")


def _no(what: str, instead: str) -> NoReturn:
    raise BetcodeError("request.usage", what, hint=instead)


def mcp_config(given: str) -> str:
    """JSON as it is, a file as the daemon can find it. Raises BetcodeError when there is no such file."""
    if given.lstrip().startswith("{"):
        return given
    if not os.path.isfile(given):
        raise BetcodeError("request.file", f"--mcp-config: there is no file {given!r}", hint="Give a file, or JSON.")
    return os.path.abspath(given)


def further_directory(given: str) -> str:
    """A directory as claude, which may work elsewhere, can find it. Raises BetcodeError when there is none."""
    found = os.path.abspath(os.path.expanduser(given))
    if not os.path.isdir(found):
        raise BetcodeError("request.directory", f"--add-dir: {given!r} is not a directory", hint="Make it first.")
    return found
