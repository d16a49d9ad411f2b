"""`betcode run`: one prompt, its answer, an exit status that says how it went."""

from __future__ import annotations

import click

from betcode.cli.claude_flags import claude_flags, passed_on
from betcode.cli.complete import sessions
from betcode.cli.invocation import Invocation, pass_invocation


@click.command()
@click.argument("prompt", required=False)
@click.option("-p", "--print", "print_", is_flag=True, help="Accepted for scripts written for claude -p; always on.")
@click.option(
    "--output-format",
    type=click.Choice(["text", "json", "stream-json"]),
    help="text (default): the answer. json: claude's result object. stream-json: the lines that claude -p prints.",
)
@click.option("--raw", is_flag=True, help="Print every line that claude prints, as it is, until it is idle.")
@click.option("--verbose", is_flag=True, help="Accepted for scripts written for claude -p; always on.")
@click.option("--include-partial-messages", "partial", is_flag=True, help="With stream-json: text while it is written.")
@click.option(
    "-r",
    "--resume",
    metavar="ID",
    shell_complete=sessions,
    help="Go on with this session (its id, or the first 4 or more characters).",
)
@click.option("-c", "--continue", "continue_", is_flag=True, help="Go on with the newest session of this directory.")
@click.option(
    "--allow", multiple=True, metavar="RULE", help="Let claude do this without asking, as in Bash(git *). Repeatable."
)
@click.option("--model", metavar="NAME", help="The model, as claude --model takes it.")
@click.option("--max-turns", type=click.IntRange(1), metavar="N", help="End after so many steps of the model.")
@click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Interrupt after this; exit 124."
)
@click.option(
    "--on-rate-limit",
    type=click.Choice(["wait", "fail"]),
    default="wait",
    help="When the API is not to be asked for a while: wait (default), or cancel the message and exit with 4.",
)
@click.option("--dir", "directory", metavar="DIR", help="Work in this directory instead of the present one.")
@click.option("--name", metavar="NAME", help="A name for a new session, shown in lists.")
@click.option("--claude-config-dir", metavar="DIR", help="CLAUDE_CONFIG_DIR of a new session, that is its account.")
@click.option(
    "--permission-ttl",
    type=float,
    metavar="SECONDS",
    help="Deny a question that nobody answers for this long. [default: 60 without a terminal, else a week]",
)
@click.option(
    "--stream/--no-stream", default=None, help="Show the answer while it is written. [default: on a terminal]"
)
@claude_flags
@click.pass_context
@pass_invocation
def run(invocation: Invocation, context: click.Context, /, **options: object) -> int:
    """Send PROMPT to claude, show the answer, end when it is done.

    Without PROMPT, or with `-`, standard input is the prompt. With PROMPT, piped text is added as context.

    On a terminal questions for permission are asked here. Elsewhere they wait for somebody to answer with `betcode
    permissions`, and are denied after --permission-ttl. The session stays: go on with --continue or --resume.
    Ctrl-c interrupts claude; a second one leaves at once. If this terminal dies, claude goes on.

    The usual flags of `claude -p` are understood. Those that choose what claude may do hold for the life of a session:
    with --resume and --continue they are refused.

    \b
    Examples:
      betcode run "what does this project do?"
      git diff | betcode run "review this diff"
      betcode run --allow "Bash(pytest *)" --allow Edit "make the tests pass"
      betcode run --continue "now add a test for it"
      betcode run --output-format json "count the files" < /dev/null | jq -r .result
      betcode run --claude-config-dir ~/.claude-work "with my other account"
      betcode run --timeout 300 --resume k3jq "finish it"
      betcode run -p "list the todos" --allowedTools "Read,Grep" --output-format stream-json --verbose

    \b
    Exit statuses: 0 done; 1 claude failed; 3 the last tool call of the turn was denied (after a denial claude
    may find another way: then it is 0); 4 a limit of BetCode, or with --on-rate-limit fail one of the API;
    5 wrong arguments; 6 no such session; 124 --timeout; 130 interrupted.
    """
    from betcode.cli.run_options import RunOptions
    from betcode.cli.run_session import run_prompt

    options.pop("print_")
    options.pop("verbose")
    return run_prompt(invocation, RunOptions(passed_on=passed_on(context), **options))  # type: ignore[arg-type]
