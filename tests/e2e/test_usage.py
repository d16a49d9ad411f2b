"""`betcode usage` with the real claude: what its results said, each turn once."""

from __future__ import annotations

from typing import Any

import pytest

from betcode.testing.command import Command
from betcode.testing.installation import scripted

NAMES = ("input_tokens", "output_tokens")


def results(betcode: Command, session: str) -> list[dict[str, Any]]:
    return [e for e in betcode("sessions", "show", "--json", session).lines() if e["kind"] == "turn_ended"]


def test_two_turns_of_a_session_are_what_the_results_said_and_no_cost_counts_twice(betcode: Command) -> None:
    assert betcode("run", scripted("one", {"words": 5})).status == 0
    session = betcode("sessions", "list", "--json").json()["sessions"][0]["id"]
    assert betcode("run", "--continue", scripted("two", {"words": 7})).status == 0
    said = results(betcode, session)
    assert len(said) == 2
    body = betcode("usage", "--session", session, "--json").json()
    assert body["total"]["turns"] == 2
    assert body["total"]["cost_usd"] == pytest.approx(said[-1]["cost_usd"])  # claude's own running total
    assert body["total"]["cost_usd"] > said[0]["cost_usd"] > 0
    assert [body["total"][name] for name in NAMES] == [sum(turn["usage"][name] for turn in said) for name in NAMES]
    by_session = betcode("usage", "--by", "session", "--days", "1", "--json").json()["rows"]
    assert [row for row in by_session if row["key"] == session] == [{"key": session} | body["total"]]
    assert betcode("usage", "--by", "model").out.startswith("MODEL")
    assert betcode("sessions", "delete", "--yes", "--force", session).status == 0
    gone = betcode("usage", "--session", session)
    assert gone.status == 6
