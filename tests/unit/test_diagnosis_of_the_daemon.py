"""From facts about daemon, database, intake log and sessions' folders to findings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from betcode.core.diagnosis import leftovers
from betcode.core.diagnosis.daemon import (
    Daemon,
    Damage,
    Database,
    Held,
    Intake,
    Lock,
    judge_daemon,
    judge_database,
    judge_intake,
)
from betcode.core.diagnosis.finding import Severity
from betcode.core.diagnosis.leftovers import Folder, Known
from betcode.testing.findings import assert_a_shell_understands, found

DATA = "/home/me/it's data"

# --- daemon, database, intake ---------------------------------------------------------------------------------------

HELD, FREE = Lock(Held.HELD, (7,)), Lock(Held.FREE)
RUNNING = Daemon(
    HELD, 7, True, "/r/daemon.sock", True, answers=True, pid=7, version="1.0", database_path="/d/daemon.db"
)


def judged_daemon(**changes: Any) -> dict[str, Severity]:
    judged = judge_daemon(replace(RUNNING, **changes), client_version="1.0", database_path="/d/daemon.db")
    for one in judged:
        assert_a_shell_understands(one)
    return {one.id: one.severity for one in judged if one.severity is not Severity.OK}


@pytest.mark.parametrize(
    "changes, trouble",
    [
        ({}, {}),
        ({"version": "0.9"}, {"daemon.version": "warning"}),
        ({"database_path": "/other/daemon.db"}, {"daemon.data": "error"}),
        ({"lock": FREE}, {"daemon.lock": "error"}),
        ({"noted_pid": 8}, {"daemon.lock": "error"}),
        ({"lock": Lock(Held.HIDDEN, problem="denied")}, {"daemon.lock": "warning"}),
        ({"socket_problem": "open to others", "socket_hint": "chmod 600 /s"}, {"daemon.socket": "error"}),
        ({"answers": False, "problem": "no answer within 5 s"}, {"daemon.running": "error"}),
        ({"answers": False, "socket_exists": False}, {"daemon.running": "error"}),
        ({"answers": False, "lock": FREE}, {"daemon.running": "info"}),
        ({"answers": False, "lock": Lock(Held.NO_FILE), "socket_exists": False}, {"daemon.running": "info"}),
    ],
)
def test_a_daemon_is_judged_by_its_lock_its_answer_and_its_version(
    changes: dict[str, Any], trouble: dict[str, str]
) -> None:
    assert judged_daemon(**changes) == trouble


def test_a_daemon_that_hangs_is_ended_by_its_pid() -> None:
    judged = judge_daemon(replace(RUNNING, answers=False), client_version="1.0", database_path="/d/daemon.db")
    assert found(judged, "daemon.running").hint == "kill -9 7; betcode daemon start"


WHOLE = Database("/d/daemon.db", exists=True, size=4096, schema=2, newest_schema=2, rows=5)


@pytest.mark.parametrize(
    "changes, trouble",
    [
        ({}, {}),
        ({"exists": False}, {}),
        ({"exists": False, "others_left": True}, {"database.file": "error"}),
        ({"header": "not a database"}, {"database.file": "error"}),
        ({"not_looked": "it is busy"}, {"database.check": "info"}),
        ({"damage": "page 3"}, {"database.check": "error"}),
        ({"finished": False, "schema": None}, {"database.check": "info"}),
        ({"schema": 3}, {"database.schema": "error"}),
        ({"schema": 1}, {"database.schema": "info"}),
        ({"schema": 0, "foreign": True}, {"database.schema": "error"}),
        ({"bad_rows": ("a 1.2",)}, {"database.rows": "error"}),
        ({"behind": ("a",)}, {"database.behind": "error"}),
        ({"strangers": ("a",)}, {"database.strangers": "info"}),
    ],
)
def test_a_database_is_judged(changes: dict[str, Any], trouble: dict[str, str]) -> None:
    judged = judge_database(replace(WHOLE, **changes), daemon_state="ok", data=DATA)
    for one in judged:
        assert_a_shell_understands(one)
    assert {one.id: one.severity for one in judged if one.severity is not Severity.OK} == trouble


@pytest.mark.parametrize(
    "state, severities", [("", []), ("ok", ["ok"]), ("degraded", ["error"]), ("damaged", ["error"])]
)
def test_what_the_daemon_says_of_its_database_counts_too(state: str, severities: list[str]) -> None:
    judged = judge_database(WHOLE, daemon_state=state, data=DATA)
    assert [one.severity for one in judged if one.id == "database.state"] == severities


BAD, TORN = Damage(2, 100, 50, False, "damage"), Damage(3, 900, 10, True, "a torn end")


@pytest.mark.parametrize(
    "changes, trouble",
    [
        ({}, {}),
        ({"exists": False}, {}),
        ({"problem": "Permission denied"}, {"intake.readable": "error"}),
        ({"damage": (BAD,)}, {"intake.readable": "error"}),
        ({"damage": (TORN,)}, {"intake.end": "info"}),
        ({"damage": (TORN,), "live": True}, {}),
        ({"damage": (BAD, TORN)}, {"intake.readable": "error", "intake.end": "info"}),
    ],
)
def test_the_intake_log_is_judged(changes: dict[str, Any], trouble: dict[str, str]) -> None:
    judged = judge_intake(replace(Intake(f"{DATA}/intake", exists=True, records=3, segments=2), **changes), data=DATA)
    for one in judged:
        assert_a_shell_understands(one)
    assert {one.id: one.severity for one in judged if one.severity is not Severity.OK} == trouble


# --- sessions ---------------------------------------------------------------------------------------------------------


@pytest.mark.req("PS-11")
@pytest.mark.parametrize(
    "folder, known, trouble",
    [
        (Folder("a", "/s/a", False), {}, ["sessions.leftovers"]),
        (Folder("a", "/s/a", True, 5, 6), None, ["sessions.waiting"]),
        (Folder("a", "/s/a", True, 5, 6), {"a": Known("IDLE", 5, 6)}, ["sessions.leftovers"]),
        (Folder("a", "/s/a", True, 5, 6), {"a": Known("SPAWNING", None, None)}, ["sessions.leftovers"]),
        (Folder("a", "/s/a", True, 5, 6), {"a": Known("IDLE", None, None)}, ["sessions.orphan"]),
        (Folder("a", "/s/a", True, 5, 6), {}, ["sessions.orphan"]),
        (Folder("a", "/s/a", True), {}, ["sessions.orphan"]),
        (Folder("a", "/s/a", True, None, 6), {"a": Known("IDLE", 5, 6)}, ["sessions.headless"]),
        (Folder("a", "/s/a", False, socket="/s/a/keeper.sock"), {}, ["sessions.sockets"]),
        (Folder("a", "/s/a", True, 5, 6, "/s/a/keeper.sock"), {"a": Known("IDLE", 5, 6)}, ["sessions.leftovers"]),
    ],
)
def test_processes_and_sockets_that_nobody_looks_after_are_found(
    folder: Folder, known: dict[str, Known] | None, trouble: list[str]
) -> None:
    judged = leftovers.judge_folders([folder], known, unread=0)
    for one in judged:
        assert_a_shell_understands(one)
    assert [one.id for one in judged] == trouble


def test_an_orphan_is_ended_through_its_keeper() -> None:
    judged = leftovers.judge_folders([Folder("a", "/s/a", True, 5, 6)], {}, unread=0)
    assert found(judged, "sessions.orphan").hint == "kill 5"
