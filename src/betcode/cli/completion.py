"""`betcode completion`: the script that makes a shell complete betcode's verbs and options."""

from __future__ import annotations

import click

from betcode.cli.output import write


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, *, shell: str) -> int:
    """Print the completion script of SHELL.

    \b
    Examples:
      betcode completion bash > ~/.local/share/bash-completion/completions/betcode
      betcode completion zsh > "${fpath[1]}/_betcode"
      betcode completion fish > ~/.config/fish/completions/betcode.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    # Not kind(...).source(): for bash that would start a bash to ask its version, which may be missing here.
    maker = kind(ctx.find_root().command, {}, "betcode", "_BETCODE_COMPLETE")
    write(maker.source_template % maker.source_vars() + "\n")
    return 0
