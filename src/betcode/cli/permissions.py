"""`betcode permissions`: the questions that claude waits for, and their answers."""

from __future__ import annotations

import json
from typing import Any

import click

from betcode.cli.complete import question_argument, sessions
from betcode.cli.invocation import Invocation, pass_invocation
from betcode.model.errors import BetcodeError

json_option = click.option("--json", "as_json", is_flag=True, help="For programs: JSON instead of text.")


@click.group()
def permissions() -> None:
    """See what claude asks permission for, and answer.

    The first answer counts. A question that nobody answers in time is denied.

    \b
    Examples:
      betcode permissions list
      betcode permissions allow p0123456789ab
      betcode permissions deny p0123456789ab --message "use the staging server"
    """


@permissions.command("list")
@click.option(
    "--session", default="", metavar="ID", shell_complete=sessions, help="Only the questions of this session."
)
@json_option
@pass_invocation
def list_questions(invocation: Invocation, *, session: str, as_json: bool) -> int:
    """List the open questions with the whole input of their tools.

    \b
    Examples:
      betcode permissions list
      betcode permissions list --session k3jq --json | jq -r '.permissions[].id'
    """
    from betcode.cli.ask import ask
    from betcode.cli.lines import how_to_answer, question_lines
    from betcode.cli.output import say, say_json
    from betcode.model.frames import Permissions

    found: list[dict[str, Any]] = ask(invocation, Permissions(session=session))["permissions"]
    if as_json:
        say_json({"permissions": found})
        return 0
    for question in found:
        for line in question_lines(question, question.get("dir", "")):
            say(line)
        say(f"  session {question['session']}")
        for line in how_to_answer(question["id"], question["expires_at"]):
            say(line)
    if not found:
        say("no open questions")
    return 0


@permissions.command()
@question_argument
@click.option("--edit", metavar="JSON", help="Run the tool with this input instead (a whole JSON object).")
@click.option("--session", "for_session", is_flag=True, help="And do not ask for this tool again in this session.")
@json_option
@pass_invocation
def allow(invocation: Invocation, question: str, *, edit: str | None, for_session: bool, as_json: bool) -> int:
    """Let claude run the tool of question ID.

    \b
    Examples:
      betcode permissions allow p0123456789ab
      betcode permissions allow --edit '{"command": "ls -l"}' p0123456789ab
      betcode permissions allow --session p0123456789ab
    """
    from betcode.model.frames import Answer

    updated = None if edit is None else parse_edit(edit)
    answer = Answer(permission=question, allow=True, updated_input=updated, for_session=for_session)
    return _answer(invocation, answer, as_json)


@permissions.command()
@question_argument
@click.option("--message", default="", metavar="TEXT", help="What claude is told; otherwise that the user refused.")
@click.option("--interrupt", is_flag=True, help="And stop the turn.")
@json_option
@pass_invocation
def deny(invocation: Invocation, question: str, *, message: str, interrupt: bool, as_json: bool) -> int:
    """Refuse the tool of question ID. claude goes on without it.

    \b
    Examples:
      betcode permissions deny p0123456789ab
      betcode permissions deny --message "ask me before you push" p0123456789ab
    """
    from betcode.model.frames import Answer

    return _answer(invocation, Answer(permission=question, allow=False, message=message, interrupt=interrupt), as_json)


def parse_edit(text: str) -> dict[str, Any]:
    """The input given with --edit. Raises BetcodeError `request.invalid` unless it is a JSON object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BetcodeError(
            "request.invalid", f"--edit is not JSON: {error}", hint='For example: --edit \'{"command": "ls -l"}\''
        ) from error
    if not isinstance(value, dict):
        raise BetcodeError(
            "request.invalid", "--edit must be a JSON object", hint='For example: --edit \'{"command": "ls -l"}\''
        )
    return value


def _answer(invocation: Invocation, answer: Any, as_json: bool) -> int:
    from betcode.cli.ask import ask
    from betcode.cli.output import say, say_json

    body = ask(invocation, answer)
    if as_json:
        say_json(body)
    else:
        say(f"question {body['permission_id']} {body['state']}")
    return 0
