"""The command `betcode`: finds the verb, runs it, and turns whatever happens into an exit status and a clear sentence.

Verbs raise BetcodeError, or return their exit status. Nothing else prints an error and nothing else ends the process.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from betcode import __version__
from betcode.cli.complete import sessions
from betcode.cli.invocation import Invocation
from betcode.cli.output import fail, wants_json
from betcode.model.errors import BetcodeError, Exit

VERBS = {
    "attach": "betcode.cli.attach:attach",
    "completion": "betcode.cli.completion:completion",
    "config": "betcode.cli.config:config",
    "daemon": "betcode.cli.daemon:daemon",
    "db": "betcode.cli.db:db",
    "doctor": "betcode.cli.doctor:doctor",
    "import": "betcode.cli.import_:import_",
    "interrupt": "betcode.cli.send:interrupt",
    "permissions": "betcode.cli.permissions:permissions",
    "protocol": "betcode.cli.protocol:protocol",
    "run": "betcode.cli.run:run",
    "send": "betcode.cli.send:send",
    "sessions": "betcode.cli.sessions:sessions",
    "status": "betcode.cli.status:status",
    "usage": "betcode.cli.usage:usage",
    "version": "betcode.cli.version:version",
}
"""Where each verb is. Only the one that is used is imported: `betcode status` must not pay for `betcode run`."""


class Verbs(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in alphabetical order."""
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb; None when there is none of this name."""
        if cmd_name not in VERBS:
            return None
        module, _, attribute = VERBS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.group(
    cls=Verbs,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--config-dir", metavar="DIR", help="Where settings.json is. [env: BETCODE_CONFIG_DIR]")
@click.option("--data-dir", metavar="DIR", help="Where sessions are stored. [env: BETCODE_DATA_DIR]")
@click.option("--runtime-dir", metavar="DIR", help="Where the daemon's socket is. [env: BETCODE_RUNTIME_DIR]")
@click.option("--claude", metavar="FILE", help="The claude to use, for a daemon started by this. [env: BETCODE_CLAUDE]")
@click.option(
    "-c",
    "--continue",
    "continue_",
    is_flag=True,
    help="Conversation: this directory's newest session; an error if there is none.",
)
@click.option("-r", "--resume", metavar="ID", shell_complete=sessions, help="Conversation: this session.")
@click.option("--new", is_flag=True, help="Conversation: a new session.")
@click.option("--model", metavar="NAME", help="Conversation: the model of a new session.")
@click.option("--allow", multiple=True, metavar="RULE", help="Conversation: what claude may do without asking.")
@click.option("--name", metavar="NAME", help="Conversation: a name for a new session.")
@click.option("--claude-config-dir", metavar="DIR", help="Conversation: CLAUDE_CONFIG_DIR, that is the account.")
@click.version_option(version=__version__, message="%(prog)s %(version)s")
@click.pass_context
def cli(
    ctx: click.Context,
    /,
    config_dir: str | None,
    data_dir: str | None,
    runtime_dir: str | None,
    claude: str | None,
    **conversation: Any,
) -> int | None:
    """Run Claude Code sessions that survive whatever happens to this terminal.

    Without a command: a conversation in this directory. It goes on with the newest session there, or starts one. What
    you type is sent, questions are asked in place, ctrl-c interrupts claude, ctrl-d leaves; the session goes on.

    A daemon in the background keeps the sessions; it is started when it is needed. Any number of terminals and scripts
    can look at one session and steer it.

    \b
    Examples:
      betcode                                    talk, here
      betcode --new --model opus                 talk in a new session
      betcode run "explain this repository"      ask, see the answer, leave
      git diff | betcode run "review this"       standard input is context
      betcode run --continue "now fix it"        go on with this directory's newest session
      betcode sessions list                      what there is
      betcode attach ID                          watch a session
      betcode status                             how things are
      betcode usage                              tokens and cost by day
      betcode doctor                             what is wrong, and what mends it

    \b
    Exit statuses: 0 done; 1 claude failed; 2 no daemon; 3 a denied permission ended the task; 4 rate limited;
    5 wrong arguments; 6 no such session; 7 defect; 72 no claude; 78 wrong configuration; 124 time is over;
    130 interrupted.
    """
    ctx.obj = Invocation(
        flags={"config_dir": config_dir, "data_dir": data_dir, "runtime_dir": runtime_dir},
        claude=claude,
        env=os.environ,
    )
    if ctx.invoked_subcommand is None:
        from betcode.cli.converse import converse
        from betcode.cli.new_session import Choice

        return converse(ctx.obj, Choice(**conversation))
    if given := [f"--{name.strip('_').replace('_', '-')}" for name, value in conversation.items() if value]:
        hint = f"Where {ctx.invoked_subcommand} has such an option, put it behind: betcode {ctx.invoked_subcommand} ..."
        raise BetcodeError(
            "request.usage", f"{', '.join(given)} belongs to a conversation, without a command", hint=hint
        )
    return None


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    open_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    as_json = wants_json(arguments)
    try:
        result = cli.main(args=arguments, prog_name="betcode", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except BetcodeError as error:
        return fail(error, as_json=as_json)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return int(Exit.BAD_ARGUMENTS)
    except click.ClickException as error:
        return fail(usage(error), as_json=as_json)
    except (click.Abort, KeyboardInterrupt):
        return fail(
            BetcodeError(
                "run.interrupted", "interrupted", hint="What a session was doing goes on; see `betcode status`."
            ),
            as_json=as_json,
        )
    except Exception as error:  # noqa: BLE001 - the boundary: a defect must become one clear line
        return fail(defect(error), as_json=as_json)


def open_streams() -> None:
    """Put /dev/null where the caller closed a standard stream, so that the next file opened does not become one."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest free number, which is this
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def usage(error: click.ClickException) -> BetcodeError:
    """click's own complaint in our words."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "betcode"
    hint = f"{command} --help explains it."
    if isinstance(error, click.NoSuchOption):
        if context is not None and context.parent is None and _run_takes(error.option_name):
            hint = f"It belongs behind a command: betcode run {error.option_name} ..."
        return BetcodeError("request.usage", f"No such option: {error.option_name}", hint=hint)
    if command == "betcode run" and "unexpected extra argument" in error.format_message():
        hint = 'Put the prompt in quotes, and lists in one word: --allowedTools "Bash(git *),Edit".'
    return BetcodeError("request.usage", error.format_message().rstrip("."), hint=hint)


def _run_takes(option: str) -> bool:
    """Whether `betcode run` has this option."""
    run = cli.get_command(click.Context(cli), "run")
    return run is not None and any(option in param.opts for param in run.params)


def defect(error: Exception) -> BetcodeError:
    """A defect of BetCode: the details go to a file, since nobody reads them in a terminal that scrolls."""
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="betcode-error-", suffix=".txt", delete=False) as file:
        file.write("".join(traceback.format_exception(error)))
    text = f"{type(error).__name__}: {error}".split("\n", 1)[0]
    return BetcodeError("internal", f"a defect in betcode: {text}", hint=f"Please report it with {file.name}")
