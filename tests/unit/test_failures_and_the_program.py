"""The table of failures says what the program does: its other lists, and the commands it names, agree with it."""

from __future__ import annotations

import re

import click
import pytest

from betcode.adapters.sqlite.errors import DAMAGE
from betcode.cli.main import cli
from betcode.core.failures import api, codes, raw
from betcode.core.inputs import LASTING, StartFailed
from betcode.core.service.service import LASTING as ENDS_A_SERVICE
from betcode.model.errors import CODES, BetcodeError
from betcode.model.failures import RETRYING, FailureClass

RAISED_BY_A_START = LASTING | {"config.insecure", "agent.spawn_failed"}
"""Codes with which the launcher says that claude could not be started."""

HINTS = sorted(
    {failure.hint for _, failure in api.TABLE.values()}
    | {failure.hint for failure in codes.rows().values()}
    | {failure.hint for failure in (*raw.OS_ERRORS.values(), *raw.SQLITE.values())}
)


def commands_in(hint: str) -> list[list[str]]:
    """The words after each `betcode` of a sentence."""
    return [found.split() for found in re.findall(r"\bbetcode ([^;.)]*)", hint)]


@pytest.mark.req("CB-3")
@pytest.mark.parametrize("words", [words for hint in HINTS for words in commands_in(hint)], ids=" ".join)
def test_a_command_that_a_hint_names_exists_with_its_options(words: list[str]) -> None:
    command: click.Command = cli
    left = list(words)
    while isinstance(command, click.Group) and left:
        found = command.get_command(click.Context(command), left[0])
        if found is None:
            break
        command, left = found, left[1:]
    assert command is not cli, words
    options = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in left if word.startswith("-")} <= options, words


@pytest.mark.req("CB-3")
@pytest.mark.parametrize("code", sorted(RAISED_BY_A_START))
def test_a_start_that_failed_is_tried_again_only_if_the_table_says_so(code: str) -> None:
    failed = StartFailed.of(1, BetcodeError(code, "no", hint="do this"))
    assert failed.lasting is (codes.of_code(code).failure_class is FailureClass.PERSISTENT)


@pytest.mark.req("CB-3")
def test_a_daemon_that_a_service_leaves_ended_has_a_failure_that_is_not_retried() -> None:
    ends = {code for code, entry in CODES.items() if entry.exit in ENDS_A_SERVICE}
    assert {code for code in ends if codes.of_code(code).strategy in RETRYING} == set()


@pytest.mark.req("CB-3")
def test_what_stops_all_writing_is_corruption_and_nothing_else_of_the_database_is() -> None:
    assert {label for label, f in raw.SQLITE.items() if f.failure_class is FailureClass.CORRUPTION} == DAMAGE
