"""A claude that prints what nobody can read: seen, saved, replaced, given up, and well again after a retry."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from betcode.model import limits
from betcode.testing.claude_home import bundled_claude
from betcode.testing.command import Command
from betcode.testing.installation import Installation, installation, until
from betcode.testing.keeper_process import is_running
from betcode.testing.odd_claude import install, order

WAIT_S = 60.0
LONG = b"{" + b"x" * (2 * limits.QUARANTINE_COPY_BYTES)
BAD = [b"warning: \x1b[2Jnot JSON", b"\xff\xfe", b'{"type":', b"\x00\x00", LONG]
GOOD = [b'{"type":"weather","sky":"\xe2\x80\xaeblue"}', b'{"type":"user","mood":1,"message":{"content":"x"}}']
UTF8 = {b"\xff\xfe": "invalid_utf8"}


@pytest.fixture
def made() -> Iterator[Installation]:
    with installation() as one:
        one.env |= {"BETCODE_CLAUDE": str(install(one.home, bundled_claude()))}
        order(one.project, "lines", lines=[line.hex() for line in BAD + GOOD])
        yield one


def quarantined(betcode: Command, session: str) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = betcode("sessions", "quarantine", "--json", session).json()["lines"]
    return lines


def state(betcode: Command, session: str) -> str:
    (found,) = [s for s in betcode("sessions", "list", "--json").json()["sessions"] if s["id"] == session]
    return str(found["state"])


def ended(made: Installation, runs: int) -> None:
    """Wait until so many processes were there, and none is."""

    def gone() -> bool:
        found = made.runs()
        return len(found) == runs and not any(is_running(run["claude_pid"]) for run in found)

    asyncio.run(until(gone, within_s=WAIT_S, what="the end of the process"))


def are_shown_and_saved(betcode: Command, session: str, tmp_path: Path) -> None:
    """The lines of the first process."""
    lines = quarantined(betcode, session)
    kinds = [UTF8.get(line, "invalid_json") for line in BAD]
    assert [(line["size"], line["error_type"]) for line in lines] == [
        (len(line), kind) for line, kind in zip(BAD, kinds, strict=True)
    ]
    assert all(line["reason"] and line["time"] and line["run"] == 1 for line in lines)
    shown = betcode("sessions", "quarantine", session).out
    assert "warning: \\x1b[2Jnot JSON" in shown
    assert "\x1b" not in shown

    exported = betcode("sessions", "quarantine", "--export", str(tmp_path / "bad"), session)
    assert (exported.status, exported.out) == (0, f"5 lines saved in {tmp_path / 'bad'}\n")
    assert (tmp_path / "bad").read_bytes() == b"".join(line + b"\n" for line in BAD)
    assert betcode("protocol", "check", "--json", str(tmp_path / "bad")).json()["errors"] == {
        "invalid_utf8": 1,
        "invalid_json": 4,
        "schema": 0,
        "oversize": 0,
    }
    again = betcode("sessions", "quarantine", "--export", str(tmp_path / "bad"), session)
    assert (again.status, "File exists" in again.err) == (5, True)


@pytest.mark.req("ND-6", "ND-9", "PS-3", "SE-4")
def test_bad_lines_are_kept_and_saved_and_their_process_is_replaced_once_and_then_given_up(
    made: Installation, tmp_path: Path
) -> None:
    betcode = Command(made.env, made.project)
    first = betcode("run", "--output-format", "json", "go")
    assert (first.status, first.json()["result"]) == (0, "printed"), "the turn is left to its end"
    session = betcode.session_of(first)
    ended(made, 1)
    assert state(betcode, session) == "IDLE"

    are_shown_and_saved(betcode, session, tmp_path)
    drift = betcode("protocol", "drift", "--json").json()["drift"]
    assert [(d["version"], d["what"], d["name"], d["count"], d["session"]) for d in drift] == [
        ("2.1.330", "field", "user.mood", 1, session),
        ("2.1.330", "kind", "weather", 1, session),
    ]
    assert "\\u202e" in betcode("protocol", "drift").out

    assert made.kill_daemon()
    second = betcode("run", "--resume", session, "again")
    assert second.status == 0, "its answer came whole"
    ended(made, 2)
    asyncio.run(until(lambda: state(betcode, session) == "CRASHED", within_s=WAIT_S, what="CRASHED"))
    notices = [e for e in betcode("sessions", "show", "--json", session).lines() if e["kind"] == "notice"]
    assert [e["code"] for e in notices] == ["agent.garbled", "agent.garbled", "agent.crashed"]
    assert f"betcode sessions quarantine {session}" in notices[-1]["hint"]
    assert f"betcode sessions retry {session}" in notices[-1]["hint"]
    assert len(quarantined(betcode, session)) == 2 * len(BAD)

    for journal in (made.paths.sessions / session).glob("*.out"):
        journal.unlink()
    without = betcode("sessions", "quarantine", "--json", "--export", str(tmp_path / "copies"), session)
    assert (without.status, [line["saved"] for line in without.json()["cut"]]) == (
        1,
        [limits.QUARANTINE_COPY_BYTES] * 2,
    )
    copies = [line[: limits.QUARANTINE_COPY_BYTES] for line in BAD]
    assert (tmp_path / "copies").read_bytes() == b"".join(line + b"\n" for line in copies) * 2

    (made.project / "odd.json").unlink()
    assert betcode("sessions", "retry", session).status == 0
    assert betcode("run", "--resume", session, "well?").out == "ok\n"
    assert betcode("sessions", "delete", "--yes", "--force", session).status == 0
    assert all(not d["example"] for d in json.loads(betcode("protocol", "drift", "--json").out)["drift"])
