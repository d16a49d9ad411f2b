"""`betcode daemon`: the background process that keeps the sessions."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import click

from betcode.cli.invocation import Invocation, pass_invocation
from betcode.cli.output import say, say_json
from betcode.client import brief
from betcode.model import limits
from betcode.model.errors import BetcodeError

if TYPE_CHECKING:
    from betcode.cli.daemon_install import Installed

slots_option = click.option(
    "--slots", type=int, metavar="N", help="Turns that may run at the same time, as the setting `daemon.slots`."
)
json_option = click.option("--json", "as_json", is_flag=True, help="For programs: JSON instead of text.")


@click.group()
def daemon() -> None:
    """Start, stop and watch the daemon. Other commands start it when they need it.

    Sessions outlive it: when it is stopped or killed, running turns go on, and the next daemon takes them over.

    \b
    Examples:
      betcode daemon start
      betcode daemon status
      betcode daemon logs --follow
      betcode daemon upgrade
      betcode daemon install
      betcode daemon stop
    """


@daemon.command()
@click.option("--report-fd", type=int, hidden=True, help="Where to report to the process that started this one.")
@slots_option
@click.option("--replaces", is_flag=True, hidden=True, help="Prepare, and wait for the end of the daemon that runs.")
@pass_invocation
def run(invocation: Invocation, *, report_fd: int | None, slots: int | None, replaces: bool) -> int:
    """Run the daemon in the foreground until ctrl-c; its log goes to standard error too.

    For service managers. Exit statuses: 2 another daemon runs; 72 no claude; 78 wrong configuration.

    \b
    Examples:
      betcode daemon run
      BETCODE_DAEMON_LOG_LEVEL=debug betcode daemon run
    """
    from betcode.daemon.start import start as start_here

    return start_here(
        invocation.paths,
        invocation.env,
        claude=invocation.claude_program() or None,
        slots=slots,
        report_fd=report_fd,
        replaces=replaces,
    )


@daemon.command()
@slots_option
@json_option
@pass_invocation
def start(invocation: Invocation, *, as_json: bool, slots: int | None) -> int:
    """Start the daemon in the background, unless one runs, and wait until it answers.

    \b
    Examples:
      betcode daemon start
      betcode daemon start --slots 10
    """
    running = brief.answers(invocation.paths.socket)
    if not running:
        warn_of_settings(invocation)
        asyncio.run(invocation.start_daemon(*([] if slots is None else ["--slots", str(slots)])))
    found = brief.ask(invocation.paths.socket, "status")["daemon"]
    if as_json:
        say_json({"daemon": found, "started": not running})
    else:
        say(f"the daemon {'was running already' if running else 'has started'}: pid {found['pid']}")
    return 0


def warn_of_settings(invocation: Invocation) -> None:
    """Tell here what the daemon writes into its log. What is wrong it tells itself, and does not start."""
    import contextlib

    from betcode.cli.output import remark
    from betcode.config.load import load

    flags = {"agent.claude": invocation.claude_program() or None}
    with contextlib.suppress(BetcodeError):
        for warning in load(flags=flags, env=invocation.env, project_dir=None, paths=invocation.paths).warnings:
            remark(f"warning: {warning}")


@daemon.command()
@click.option("--stop-sessions", is_flag=True, help="End every claude too. Otherwise they go on and are taken over.")
@json_option
@pass_invocation
def stop(invocation: Invocation, *, stop_sessions: bool, as_json: bool) -> int:
    """Stop the daemon and wait until it has ended. Running turns go on, unless --stop-sessions.

    \b
    Examples:
      betcode daemon stop
      betcode daemon stop --stop-sessions
    """
    from betcode.cli.daemon_end import stop_daemon

    pid = stop_daemon(invocation.paths.socket, end_sessions=stop_sessions)
    if as_json:
        say_json({"stopped": pid is not None, "pid": pid})
    else:
        say("no daemon is running" if pid is None else f"the daemon (pid {pid}) has ended")
    return 0


@daemon.command()
@json_option
@pass_invocation
def upgrade(invocation: Invocation, *, as_json: bool) -> int:
    """Replace the running daemon by the version of BetCode that is installed now. Sessions go on meanwhile.

    The new one is started first, checks the settings and claude, and waits; only then the old one is stopped. Running
    turns are taken over, clients come back by themselves. A daemon that is a service is checked and restarted as one.

    \b
    Examples:
      pip install --upgrade betcode && betcode daemon upgrade
      betcode daemon upgrade --json | jq -r .new.version
    """
    from betcode.cli.daemon_upgrade import upgrade_daemon

    return _replaced(invocation, upgrade_daemon, as_json)


@daemon.command()
@json_option
@pass_invocation
def restart(invocation: Invocation, *, as_json: bool) -> int:
    """End the daemon and start it again, as the service that it is or in the background. Sessions go on meanwhile.

    Settings and claude are checked first: if no daemon could start, the one that runs goes on.

    \b
    Examples:
      betcode daemon restart
      betcode daemon restart --json | jq -r .new.pid
    """
    from betcode.cli.daemon_upgrade import upgrade_daemon

    return _replaced(invocation, upgrade_daemon, as_json)


def _replaced(invocation: Invocation, replace: Callable[[Invocation], Coroutine[Any, Any, Any]], as_json: bool) -> int:
    warn_of_settings(invocation)
    old, new = asyncio.run(replace(invocation))
    if as_json:
        say_json({"old": old, "new": new})
    elif old is None:
        say(f"no daemon was running; betcode {new['version']} has started: pid {new['pid']}")
    else:
        same = " again" if old["version"] == new["version"] else ""
        say(f"betcode {old['version']} (pid {old['pid']}) was replaced by {new['version']}{same} (pid {new['pid']})")
    return 0


@daemon.command()
@click.option("--dry-run", is_flag=True, help="Print what would be written, and change nothing.")
@json_option
@pass_invocation
def install(invocation: Invocation, *, dry_run: bool, as_json: bool) -> int:
    """Make the daemon a service of your user (systemd or launchd): started at login, and again when it fails.

    It gets the PATH and the BETCODE_* variables of this shell; secrets are not written down, see docs/service.md. A
    daemon that runs hands over and its turns go on. Again after a change of these directories or variables.

    \b
    Examples:
      betcode daemon install --dry-run
      betcode daemon install
      betcode daemon install --json | jq -r '.warnings[]'
    """
    from betcode.cli import daemon_install

    if dry_run:
        planned = daemon_install.plan(invocation)
        if as_json:
            say_json(planned.fields())
        else:
            say(f"# {planned.file}\n{planned.text}".rstrip("\n"))
        return 0
    warn_of_settings(invocation)
    _show_service(daemon_install.install(invocation), as_json=as_json)
    return 0


@daemon.command()
@json_option
@pass_invocation
def uninstall(invocation: Invocation, *, as_json: bool) -> int:
    """Take back `betcode daemon install`. The service's daemon ends; data stays, and sessions that run go on.

    \b
    Example:
      betcode daemon uninstall && betcode daemon start
    """
    from betcode.cli import daemon_install

    done = daemon_install.uninstall(invocation)
    if done is None:
        if as_json:
            say_json({"removed": False})
        else:
            say("the daemon is not installed as a service")
    elif as_json:
        say_json({"removed": True, **done.fields()})
    else:
        _show_service(done, as_json=False)
        say("the service is removed; data and running sessions stay, and the next command starts a daemon")
    return 0


def _show_service(done: Installed, *, as_json: bool) -> None:
    """What was written and run, and what people should know."""
    from betcode.cli.output import remark

    if as_json:
        say_json(done.fields())
        return
    say(f"{'wrote' if done.text else 'removed'}  {done.file}")
    for command in done.commands:
        say(f"ran    {shlex.join(command)}")
    if done.pid is not None:
        say(f"the daemon runs as a {done.kind} service: pid {done.pid}")
    for warning in done.warnings:
        remark(f"warning: {warning}")


@daemon.command()
@json_option
@pass_invocation
def status(invocation: Invocation, *, as_json: bool) -> int:
    """Show whether a daemon runs. Exit status 2 if not.

    \b
    Example:
      betcode daemon status || betcode daemon start
    """
    body = brief.ask(invocation.paths.socket, "status")
    found = {**body["daemon"], "socket": str(invocation.paths.socket), "sessions": len(body["sessions"])}
    if as_json:
        say_json(found)
    else:
        for name, value in found.items():
            say(f"{name:11} {value}")
    return 0


@daemon.command()
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0, limits.LOG_LINES_MAX),
    default=50,
    show_default=True,
    help="So many last lines.",
)
@click.option("-f", "--follow", is_flag=True, help="And go on with what is written from now on.")
@click.option("--json", "as_json", is_flag=True, help="The lines as they are in the file.")
@pass_invocation
def logs(invocation: Invocation, *, lines: int, follow: bool, as_json: bool) -> int:
    """Show the daemon's log.

    \b
    Examples:
      betcode daemon logs --follow
      betcode daemon logs -n 1000 --json | jq 'select(.level == "error")'
    """
    from betcode.cli.log_file import print_log

    return print_log(invocation.paths.log, lines=lines, follow=follow, as_json=as_json)
