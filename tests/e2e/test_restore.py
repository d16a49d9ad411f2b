"""A backup put in the place of the database, with the real daemon and the real claude."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from betcode.testing.command import Command
from betcode.testing.installation import Installation, installation, scripted


@pytest.fixture
def made() -> Iterator[Installation]:
    with installation() as one:
        yield one


@pytest.fixture
def betcode(made: Installation) -> Command:
    return Command(made.env, made.project)


def answered(betcode: Command, text: str, session: str = "") -> str:
    """The id of a session that has answered (once more)."""
    resume = ["--resume", session] if session else []
    return betcode.session_of(betcode("run", *resume, "--output-format", "json", scripted(text, {"words": 3})))


def asked(betcode: Command, session: str) -> list[str]:
    """First words of the messages of a session, in their order."""
    shown = [json.loads(line) for line in betcode("sessions", "show", session, "--json").out.splitlines()]
    return [event["text"].split()[0] for event in shown if event["kind"] == "user_message"]


@pytest.mark.req("SQ-7", "INV-2")
def test_a_database_put_back_exactly_has_nothing_that_came_since_and_works_on(
    betcode: Command, made: Installation
) -> None:
    session = answered(betcode, "one")
    backup = betcode("db", "backup", "--json").json()["path"]  # beside the daemon
    answered(betcode, "two", session)
    refused = betcode("db", "restore", "--yes", "--exactly", backup)
    assert (refused.status, "betcode daemon stop" in refused.err) == (2, True)
    assert betcode("daemon", "stop", "--stop-sessions").status == 0
    done = betcode("db", "restore", "--yes", "--exactly", "--json", backup).json()
    assert done["renumbered"] == [session]
    assert all(Path(path).exists() for path in done["kept"])
    answered(betcode, "three", session)  # nothing of the sessions that were put aside holds it back
    assert asked(betcode, session) == ["one", "three"]
