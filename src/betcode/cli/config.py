"""`betcode config`: the settings in force, and where each comes from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from betcode.cli.invocation import Invocation, pass_invocation
from betcode.cli.output import counted, remark, say, say_json, table, write

if TYPE_CHECKING:
    from betcode.config.load import Loaded

json_option = click.option("--json", "as_json", is_flag=True, help="For programs: JSON instead of text.")


@click.group()
def config() -> None:
    """See the settings and check them.

    The first of these that gives a value decides: options, environment (BETCODE_...), .betcode/settings.local.json and
    .betcode/settings.json of the project, your settings.json, the default.

    \b
    Examples:
      betcode config show
      betcode config check && betcode daemon stop && betcode daemon start
      $EDITOR "$(betcode config path)"
    """


def _load(invocation: Invocation) -> Loaded:
    from betcode.config.load import load

    flags = {"agent.claude": invocation.claude_program() or None}
    return load(flags=flags, env=invocation.env, project_dir=Path(os.getcwd()), paths=invocation.paths)


@config.command()
@json_option
@pass_invocation
def show(invocation: Invocation, *, as_json: bool) -> int:
    """Print every setting with its value and where that comes from, as seen from this directory.

    \b
    Examples:
      betcode config show
      betcode config show --json | jq '.settings["daemon.log_level"]'
    """
    from betcode.config.settings import value_of
    from betcode.config.show import rows, source_text

    loaded = _load(invocation)
    if as_json:
        settings = {
            key: {"value": value_of(loaded.config, key), "source": source_text(source)}
            for key, source in loaded.sources.items()
        }
        say_json({"settings": settings, "warnings": loaded.warnings})
        return 0
    say(table([["SETTING", "VALUE", "SOURCE"], *([row.key, row.value, row.source] for row in rows(loaded))]))
    for warning in loaded.warnings:
        remark(f"warning: {warning}")
    return 0


@config.command()
@json_option
@pass_invocation
def check(invocation: Invocation, *, as_json: bool) -> int:
    """Check all settings that hold in this directory. Exit status 78 if a value is not allowed.

    \b
    Examples:
      betcode config check
      betcode config check --json | jq -r '.problems[]? | "\\(.file):\\(.line): \\(.key) \\(.range)"'
    """
    from betcode.config.load import InvalidError
    from betcode.config.show import problem_fields

    try:
        loaded = _load(invocation)
    except InvalidError as error:
        if not as_json:
            raise
        told = {"code": error.code, "message": str(error), "hint": error.hint}
        problems = [problem_fields(problem) for problem in error.problems]
        say_json({"ok": False, "error": told, "problems": problems, "warnings": error.warnings})
        return error.exit_status
    if as_json:
        say_json({"ok": True, "problems": [], "warnings": loaded.warnings})
        return 0
    for warning in loaded.warnings:
        remark(f"warning: {warning}")
    say("the settings are valid" + (f"; {counted(len(loaded.warnings), 'warning')}" if loaded.warnings else ""))
    return 0


@config.command()
@json_option
@pass_invocation
def path(invocation: Invocation, *, as_json: bool) -> int:
    """Print the path of your settings.json; with --json all directories and files in use.

    \b
    Examples:
      betcode config path
      betcode config path --json
    """
    paths = invocation.paths
    if not as_json:
        write(f"{paths.settings}\n")
        return 0
    found = {
        "settings": paths.settings,
        "config": paths.config,
        "data": paths.data,
        "runtime": paths.runtime,
        "database": paths.database,
        "socket": paths.socket,
        "log": paths.log,
    }
    say_json({name: str(place) for name, place in found.items()})
    return 0
