"""`betcode doctor`: what is wrong, how bad it is, and the command that mends it. It changes and starts nothing."""

from __future__ import annotations

import click

from betcode.cli.complete import sessions
from betcode.cli.invocation import Invocation, pass_invocation

json_option = click.option("--json", "as_json", is_flag=True, help="For programs: JSON instead of text.")


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="For programs: a list of {id, severity, what, hint}.")
@click.pass_context
def doctor(ctx: click.Context, *, as_json: bool) -> int | None:
    """Look at everything that BetCode needs, and say what is wrong and which command mends it.

    It works with no daemon, with broken settings and with a broken database. It changes nothing, starts nothing, and
    shows no value of any variable.

    Exit status 0: nothing worse than a warning; 1: at least one error.

    \b
    Examples:
      betcode doctor
      betcode doctor --json | jq -r '.[] | select(.severity == "error").hint'
      betcode doctor session k3jq
      betcode doctor env k3jq
    """
    if ctx.invoked_subcommand is not None:
        return None
    from betcode.cli.doctor_checks import examine
    from betcode.cli.doctor_text import show_findings
    from betcode.cli.output import say_json
    from betcode.core.diagnosis.finding import has_error

    findings = examine(ctx.obj)
    if as_json:
        say_json([finding.fields() for finding in findings])
    else:
        show_findings(findings)
    return 1 if has_error(findings) else 0


@doctor.command()
@click.argument("session", metavar="ID", shell_complete=sessions)
@json_option
@pass_invocation
@click.pass_context
def session(ctx: click.Context, invocation: Invocation, /, session: str, *, as_json: bool) -> int:
    """Show what went wrong in session ID, in order, what was done about it, and what the session waits for now.

    Read from the daemon if one answers, else from its files; nothing is started.

    Exit status 0: it goes on by itself or waits for a message; 1: it needs you, or its history could not be read;
    6: there is no such session.

    \b
    Examples:
      betcode doctor session k3jq
      betcode doctor session --json k3jq | jq -r .now.command
    """
    from betcode.cli.doctor_session import diagnose

    return diagnose(invocation, session, as_json=as_json or _asked_before(ctx))


@doctor.command()
@click.argument("session", metavar="[ID]", required=False, default="", shell_complete=sessions)
@json_option
@pass_invocation
@click.pass_context
def env(ctx: click.Context, invocation: Invocation, /, session: str, *, as_json: bool) -> int:
    """Show which variables claude gets in session ID, or in a new one, and which are kept from it: names, never values.

    \b
    Examples:
      betcode doctor env
      betcode doctor env k3jq
      betcode doctor env --json k3jq | jq -r '.removed[]'
    """
    from betcode.cli.doctor_env import show_environment

    return show_environment(invocation, session, as_json=as_json or _asked_before(ctx))


def _asked_before(ctx: click.Context) -> bool:
    """Whether --json stands before the subcommand."""
    return bool(ctx.parent and ctx.parent.params.get("as_json"))
