"""What each recorded version of claude prints is read alike: `tools/record_claude.py` makes these recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from betcode.core.messages import judge
from betcode.model.facts import (
    BadLine,
    ControlAnswer,
    Fact,
    Lifecycle,
    PermissionRequest,
    RunState,
    TextBlock,
    ToolCall,
    ToolResult,
    TurnResult,
    TurnStarted,
    Unknown,
)
from betcode.wire.claude import read_line
from betcode.wire.known_fields import New

RECORDINGS = sorted((Path(__file__).parents[1] / "recordings/versions").glob("*.ndjson"))
OUTCOMES = ["completed", "completed", "completed", "interrupted", "failed"]


def of(kind: type[Fact], facts: list[Fact]) -> list[Any]:
    return [fact for fact in facts if isinstance(fact, kind)]


def test_there_are_four_versions_at_least_and_the_oldest_that_is_driven_is_one() -> None:
    names = [path.stem for path in RECORDINGS]
    assert len(names) >= 4
    assert "2.1.222" in names


@pytest.mark.req("ND-10", "ND-4", "ND-5")
@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_every_turn_of_every_version_is_read_and_nothing_in_it_is_bad_or_new(path: Path) -> None:
    new: list[New] = []
    facts = [fact for line in path.read_bytes().splitlines() for fact in read_line(line, None, new)]
    assert of(BadLine, facts) + of(Unknown, facts) + new == []
    assert {started.version for started in of(TurnStarted, facts)} == {path.stem}
    assert of(ControlAnswer, facts)[0].ok
    assert [judge(result)[0] for result in of(TurnResult, facts)] == OUTCOMES
    assert [block.part for block in of(TextBlock, facts)[:2]] == ["thinking", "text"]
    allowed, denied = of(PermissionRequest, facts)
    calls, results = of(ToolCall, facts), of(ToolResult, facts)
    assert [ask.tool_use_id for ask in (allowed, denied)] == [call.tool_use_id for call in calls]
    assert [(r.is_error, "hello" in r.text) for r in results] == [(False, True), (True, False)]
    states = [report.state for report in of(Lifecycle, facts)]
    assert states.count("started") == len(OUTCOMES)
    assert of(RunState, facts)[-1].state == "idle"
