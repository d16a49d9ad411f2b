"""A backup put in the place of the database, with the real daemon and the real claude."""

from __future__ import annotations

import json
from collections.abc import Iterator

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


def answered(betcode: Command, name: str, session: str = "") -> str:
    resume = ["--resume", session] if session else []
    return betcode.session_of(betcode("run", *resume, "--output-format", "json", scripted(name, {"words": 20})))

@pytest.mark.parametrize("how", [[], ["--exactly"]])
def test_x(betcode: Command, made: Installation, how) -> None:
    session = answered(betcode, "one")
    path = betcode("db", "backup", "--json").json()["path"]
    answered(betcode, "two", session)
    other = answered(betcode, "three")
    betcode("db", "backup", "--json")
    print(betcode("daemon", "stop"))
    print(betcode("db", "restore", "--yes", path, *how))
    if how:
        print(betcode("daemon", "start"))
        print(betcode("daemon", "stop", "--stop-sessions"))
        print(betcode("db", "restore", "--yes", path, *how))
    print(betcode("daemon", "start"))
    print(betcode("status", "--json").json()["database"])
    print(betcode("sessions", "list"))
    print(betcode("sessions", "show", session, "--json").out)
    try:
        answered(betcode, "four", session)
    finally:
        print(betcode("sessions", "show", session).out)
        print(betcode("daemon", "logs", "-n", "30").out)
    assert 0
