"""A damaged database under the real daemon and the real claude: nothing that survived anywhere is lost."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from betcode.testing.command import Command
from betcode.testing.installation import Installation, installation, scripted, words

WAIT_S = 60.0


@pytest.fixture
def made() -> Iterator[Installation]:
    with installation() as one:
        yield one


@pytest.fixture
def betcode(made: Installation) -> Command:
    return Command(made.env, made.project)


def answered(betcode: Command, session: str = "") -> str:
    """The id of a session that has answered (once more)."""
    resume = ["--resume", session] if session else []
    return betcode.session_of(betcode("run", *resume, "--output-format", "json", scripted("hello", {"words": 20})))


def database_of(betcode: Command) -> dict[str, object]:
    database: dict[str, object] = betcode("status", "--json").json()["database"]
    return database


def history(betcode: Command, session: str) -> list[dict[str, object]]:
    """What is shown of a session, without its numbers."""
    shown = betcode("sessions", "show", session, "--json").out.splitlines()
    return [json.loads(line) for line in shown]


def texts(betcode: Command, session: str) -> list[str]:
    return [str(event["text"]) for event in history(betcode, session) if event["kind"] in ("user_message", "assistant")]


def damage(path: Path) -> None:
    """Random bytes in the place of the table of messages, behind the back of whoever uses it."""
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        connection.execute("UPDATE meta SET value = value")
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'messages'").get
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xa5" * 4096)


@pytest.mark.req("INV-6", "SQ-3", "SQ-4", "SQ-5")
def test_a_database_that_is_gone_comes_back_with_every_answer(betcode: Command, made: Installation) -> None:
    session = answered(betcode)
    answered(betcode, session)
    before = texts(betcode, session)
    assert before.count(words(20)) == 2
    assert betcode("daemon", "stop").status == 0
    for ending in ("", "-wal", "-shm"):
        made.paths.database.with_name(f"daemon.db{ending}").unlink(missing_ok=True)
    told = betcode("daemon", "start")
    assert (told.status, "being repaired" in told.err) == (0, True), told
    assert texts(betcode, session) == before
    assert database_of(betcode)["rescue"]["outcome"] == "repaired"  # type: ignore[index]
    answered(betcode, session)
    assert texts(betcode, session) == [*before, *before[:2]]


@pytest.mark.req("INV-6", "SQ-3", "SQ-11")
def test_damage_while_the_daemon_works_is_repaired_and_a_running_turn_ends_as_usual(
    betcode: Command, made: Installation
) -> None:
    session = answered(betcode)
    busy = answered(betcode)
    assert betcode("send", busy, scripted("long", {"words": 60, "delta_ms": 50})).status == 0
    damage(made.paths.database)
    assert betcode("send", session, scripted("again", {"words": 3})).status == 0
    end = time.monotonic() + WAIT_S
    while "rescue" not in database_of(betcode) or database_of(betcode)["state"] != "ok":
        assert time.monotonic() < end
    while words(60) not in texts(betcode, busy):
        assert time.monotonic() < end
    while texts(betcode, session).count(words(3)) < 1:
        assert time.monotonic() < end
    assert texts(betcode, busy).count(words(60)) == 1
    assert list(made.paths.data.glob("daemon.db.corrupt.*"))


@pytest.mark.req("SQ-4", "SQ-7")
def test_recover_repairs_with_a_daemon_and_without_one(betcode: Command, made: Installation) -> None:
    session = answered(betcode)
    before = texts(betcode, session)
    with_daemon = betcode("db", "recover", "--json")
    assert (with_daemon.status, with_daemon.json()["outcome"]) == (0, "repaired"), with_daemon
    assert texts(betcode, session) == before
    assert betcode("daemon", "stop").status == 0
    made.paths.database.write_bytes(bytes(5000))
    alone = betcode("db", "recover")
    assert (alone.status, "repaired" in alone.out) == (0, True), alone
    assert betcode("db", "recover", "--report").out == alone.out
    assert texts(betcode, session) == before
