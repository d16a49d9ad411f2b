"""What holds for every command there is: help with examples, JSON for scripts, completion in the shell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from betcode.cli.main import cli
from betcode.testing.command import Command
from betcode.testing.installation import scripted

WITHOUT_JSON = {
    "run": "--output-format says in which form",
    "daemon run": "it prints nothing but its log, which is JSON in the file",
    "completion": "it prints a script for a shell",
}


def walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command and group with the words that lead to it."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from walk(found, (*path, name))


COMMANDS = {" ".join(path): command for path, command in walk(cli)}
VERBS = {path: command for path, command in COMMANDS.items() if not isinstance(command, click.Group)}


@pytest.mark.parametrize("path", COMMANDS)
def test_help_teaches_with_an_example(path: str) -> None:
    done = CliRunner().invoke(cli, [*path.split(), "--help"])
    assert done.exit_code == 0
    assert re.search(rf"Examples?:\n(.*\n)*?.*betcode {path}", done.output), done.output
    for param in COMMANDS[path].params:
        if isinstance(param, click.Option) and not param.hidden:
            assert param.help, f"{param.name} has no sentence"
    assert all(len(line) <= 110 for line in done.output.splitlines())


@pytest.mark.parametrize("path", VERBS)
def test_scripts_get_json(path: str) -> None:
    options = {name for param in VERBS[path].params for name in param.opts}
    assert ("--json" in options) is (path not in WITHOUT_JSON)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(betcode: Command, shell: str) -> None:
    done = betcode("completion", shell)
    assert done.status == 0
    assert "_BETCODE_COMPLETE" in done.out


def complete(betcode: Command, *words: str) -> list[str]:
    """What bash would offer for the last word."""
    line = " ".join(["betcode", *words])
    asked = betcode.with_env(_BETCODE_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=str(len(words)))()
    assert (asked.status, asked.err) == (0, "")
    return [item.partition(",")[2] for item in asked.out.splitlines() if item]


@pytest.mark.parametrize("path", COMMANDS)
def test_every_word_and_option_is_completed(betcode: Command, path: str) -> None:
    if path:
        *before, last = path.split()
        assert last in complete(betcode, *before, last)
    names = {n for p in COMMANDS[path].params for n in p.opts if n.startswith("--") and not getattr(p, "hidden", False)}
    assert names <= set(complete(betcode, *path.split(), "--"))


def test_ids_are_completed_from_the_daemon_and_nothing_is_said_without_one(betcode: Command) -> None:
    assert complete(betcode, "sessions", "show", "x") == []
    assert betcode("status").status == 2, "completing starts no daemon"
    assert betcode("run", scripted("hello", {"text": "hello"})).status == 0
    (session,) = [s["id"] for s in betcode("sessions", "list", "--json").json()["sessions"]]
    for words in (("sessions", "show"), ("attach",), ("run", "--resume"), ("--resume",)):
        assert complete(betcode, *words, session[:3]) == [session]
    assert complete(betcode, "permissions", "allow", "p") == []


def test_errors_of_every_verb_are_json_where_json_was_asked_for(betcode: Command) -> None:
    for path, command in VERBS.items():
        needs = [p for p in command.params if isinstance(p, click.Argument) and p.required]
        if path in WITHOUT_JSON or not needs:
            continue
        ended = betcode(*path.split(), "--json")
        assert ended.status == 5, path
        assert json.loads(ended.out)["error"]["code"] == "request.usage", path
