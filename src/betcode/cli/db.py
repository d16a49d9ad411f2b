"""`betcode db`: the database looked at, saved, mended and brought back, with or without a running daemon."""

from __future__ import annotations

import importlib

import click

COMMANDS: dict[str, str] = {
    "backup": "betcode.cli.db_backup:backup",
    "check": "betcode.cli.db_check:check",
    "recover": "betcode.cli.db_recover:recover",
    "restore": "betcode.cli.db_restore:restore",
    "salvage": "betcode.cli.db_salvage:salvage",
    "stats": "betcode.cli.db_stats:stats",
}
"""Where each command is. Only the one that is used is imported."""


class DatabaseCommands(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in alphabetical order."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None when there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.group(cls=DatabaseCommands)
def db() -> None:
    """Check, save, mend and bring back the database. All but `restore` work with or without a running daemon.

    \b
    Examples:
      betcode db check
      betcode db backup
      betcode db stats
      betcode db recover
      betcode db restore
      betcode db salvage damaged.db rescued.db --json
    """
