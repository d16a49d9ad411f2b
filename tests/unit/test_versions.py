"""Which versions are driven, held against what was seen of the real ones; and their recorded lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from betcode.model.capabilities import OLDEST, TESTED, WEAKNESSES, Capabilities, dotted, parsed, refusal, weakness
from betcode.model.facts import BadLine, ControlAnswer, Lifecycle, PermissionRequest, TurnResult, TurnStarted, Unknown
from betcode.testing.compat import table
from betcode.testing.compat.recordings import FOLDER, Kept
from betcode.testing.compat.scenarios import EVERYWHERE, HELD, RECORDED, SCENARIOS
from betcode.wire.claude import read_line

ROOT = Path(__file__).parents[2]
RESULTS = Kept(ROOT).results()
LINES = sorted((ROOT / FOLDER).glob("*/*.ndjson"))
FAILS_OPEN = (
    "question.held",
    "question.nonsense",
    "question.input_lost",
    "question.late_allow",
    "deny.not_run",
    "hook.unanswered",
    "hook.input_lost",
    "kill.resend",
)
"""Rows in which a `no` means that a tool runs unasked, or that a message is lost."""


@pytest.mark.req("PS-12")
def test_a_version_that_was_seen_to_run_a_tool_unasked_or_to_lose_a_message_is_refused() -> None:
    unsafe = {v for v, stored in RESULTS.items() if any(table.lacks(stored["seen"], row) for row in FAILS_OPEN)}
    assert unsafe, "the table holds versions that are below the minimum"
    refused = {version for version in RESULTS if refusal(version) is not None}
    assert unsafe == refused


@pytest.mark.req("PS-12")
def test_the_minimum_and_the_newest_tried_version_are_those_of_the_table() -> None:
    tried = [parsed(version) or () for version in RESULTS]
    assert (min(v for v in tried if v >= OLDEST), max(tried)) == (OLDEST, TESTED)
    assert min(tried) < OLDEST
    assert len(tried) >= 4


@pytest.mark.req("PS-12")
def test_no_version_that_is_taken_breaks_a_promise() -> None:
    assert table.broken(RESULTS) == []


@pytest.mark.req("PS-12")
def test_every_row_is_filled_by_a_scenario_and_tried_with_every_version() -> None:
    filled = {row for _, rows in SCENARIOS for row in rows} | {*HELD, *EVERYWHERE}
    assert {row.id for _, rows in table.GROUPS for row in rows} == filled
    for version, stored in RESULTS.items():
        assert filled - set(stored["seen"]) <= {"product.turn"}, version


@pytest.mark.req("PS-12")
@pytest.mark.parametrize(
    "said, code",
    [
        ("2.1.222 (Claude Code)", None),
        ("3.0.0", None),
        ("2.1.221", "claude.too_old"),
        ("1.0.17", "claude.too_old"),
        ("", "claude.version_unknown"),
        ("claude", "claude.version_unknown"),
        ("2.1", "claude.version_unknown"),
        ("2.1.99999999999999999999", "claude.version_unknown"),
    ],
)
def test_a_version_is_judged_by_its_number_and_no_number_is_none_that_is_driven(said: str, code: str | None) -> None:
    wrong = refusal(said)
    assert (wrong[0] if wrong else None) == code
    if wrong is not None:
        assert dotted(OLDEST) in wrong[2]


@pytest.mark.req("PS-12")
def test_a_refusal_names_what_the_version_does() -> None:
    assert weakness(OLDEST) == ""
    for last, what in WEAKNESSES:
        assert weakness(last) == what
        wrong = refusal(dotted(last))
        assert wrong is not None
        assert what in wrong[1]


# --- recorded lines -----------------------------------------------------------------------------------------------


def facts_of(path: Path) -> list[Any]:
    return [fact for line in path.read_bytes().splitlines() for fact in read_line(line)]


@pytest.mark.req("ND-10")
def test_there_are_recordings_of_every_version_of_the_table() -> None:
    assert {(path.parent.name, path.stem) for path in LINES} == {(v, name) for v in RESULTS for name in RECORDED}


@pytest.mark.req("ND-10")
@pytest.mark.parametrize("path", LINES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_recorded_line_of_every_version_is_read_without_a_complaint(path: Path) -> None:
    facts = facts_of(path)
    assert [fact for fact in facts if isinstance(fact, BadLine | Unknown)] == []
    assert [fact for fact in facts if isinstance(fact, TurnStarted)]
    assert [fact for fact in facts if isinstance(fact, TurnResult)]


@pytest.mark.req("ND-10", "PS-12")
@pytest.mark.parametrize("version", RESULTS)
def test_what_decides_is_read_alike_from_every_version(version: str) -> None:
    def of(name: str, kind: type) -> list[Any]:
        return [f for f in facts_of(ROOT / FOLDER / version / f"{name}.ndjson") if isinstance(f, kind)]

    [completed] = of("stream", TurnResult)
    assert (completed.subtype, completed.is_error) == ("success", False)
    assert of("error", TurnResult)[0].is_error
    [asked] = of("deny", PermissionRequest)
    assert (asked.tool, sorted(asked.input)) == ("Bash", ["command", "description"])
    [denied] = of("deny", TurnResult)
    assert denied.denials == (asked.tool_use_id,)
    assert of("interrupt", TurnResult)[0].terminal_reason.startswith("aborted")
    named = json.loads(json.dumps(RESULTS[version]["seen"]))["start.version"][0]
    offers = [fact.offer for fact in of("stream", ControlAnswer) if fact.ok]
    assert [offer.version for offer in offers if offer != Capabilities()] == ([version] if named else [])
    if parsed(version) >= OLDEST:  # type: ignore[operator]
        assert [fact.state for fact in of("stream", Lifecycle)] == ["queued", "started", "completed"]
        assert of("stream", TurnStarted)[0].capabilities
        assert len(completed.message_ids) == 1, "older ones name it in another way"
