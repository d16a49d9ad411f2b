"""Cost limits: told of before they are reached; then what waits stays queued, and goes on when it may."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from betcode.core.effects import StartProcess, Write
from betcode.core.inputs import Tick
from betcode.core.instant import Instant, iso
from betcode.core.pool import Claim
from betcode.core.spent import Spent
from betcode.core.stance import stance_of
from betcode.engine.spending import Spending
from betcode.model.events import Notice
from betcode.model.facts import RunState, TurnResult
from betcode.model.ids import SessionId
from betcode.model.policy import Policy
from betcode.model.states import MessageState
from betcode.model.usage import TurnRow, Use
from betcode.testing.builders import Script, life, new_session, result, submit

BOTH = Policy(cost_per_session_usd=2.0, cost_per_day_usd=10.0)
NOON = Instant(1_800_000_000.0, 0.0)


def costing(number: int, dollars: float) -> TurnResult:
    return msgspec.structs.replace(result(number), models={"opus": Use(cost_usd=dollars)})


def working(**spent: float) -> Script:
    script = Script().working()
    script.session = replace(script.session, spent=Spent(**spent))
    return script


def notices(script: Script) -> list[tuple[str, str]]:
    return [(event.code, event.message) for event in script.last.events if isinstance(event, Notice)]


def test_at_a_limit_the_next_message_stays_queued_with_the_reason_and_goes_on_when_the_limit_is_raised() -> None:
    script = working(session_max_usd=2.0)
    script.feed(submit(2))
    script.feed(costing(1, 2.5))
    assert [code for code, _ in notices(script)] == ["limit.cost_reached"]
    assert not [effect for effect in script.last.effects if isinstance(effect, Write)]
    script.feed(life(1, "completed"), RunState("idle"), Tick())
    assert script.state(1) is MessageState.COMPLETED, "no turn is stopped by a limit"
    assert script.state(2) is MessageState.QUEUED
    assert (
        "$2.00 that `limits.cost_per_session_usd` allows; raise it"
        in script.messages[script.session.waiting[0].id].reason
    )
    assert stance_of(script.session).claim is Claim.NONE, "it keeps no slot from others"
    script.session = replace(script.session, spent=replace(script.session.spent, session_max_usd=5.0))
    assert [effect for effect in script.feed(Tick()).effects if isinstance(effect, Write)]


def test_no_process_is_started_for_a_message_that_may_not_begin() -> None:
    script = Script()
    script.session = replace(script.session, spent=Spent(day_usd=1.0, day_max_usd=1.0))
    assert not [effect for effect in script.feed(submit(1)).effects if isinstance(effect, StartProcess)]
    assert "limits.cost_per_day_usd" in script.session.waiting[0].reason
    assert "tomorrow" in script.session.waiting[0].reason


@pytest.mark.parametrize(
    "before, cost, codes",
    [
        (0.0, 1.5, []),
        (1.5, 0.2, ["limit.cost_near"]),
        (1.7, 0.2, []),
        (1.0, 5.0, ["limit.cost_reached"]),
        (3.0, 1.0, []),
    ],
)
def test_people_are_told_once_at_80_percent_and_once_at_the_limit(before: float, cost: float, codes: list[str]) -> None:
    script = working(session_usd=before, session_max_usd=2.0)
    script.feed(costing(1, cost))
    assert [code for code, _ in notices(script)] == codes


def test_of_an_older_claude_the_running_total_tells_what_a_turn_cost() -> None:
    script = working(session_usd=0.5, total_usd=0.5)
    script.feed(msgspec.structs.replace(result(1), cost_usd=0.75))
    assert script.session.spent.session_usd == 0.75


def test_what_all_sessions_cost_today_counts_for_each_and_is_nothing_tomorrow() -> None:
    spending, day = Spending(), "2026-11-27"
    one, two = (replace(new_session(), id=SessionId(name)) for name in ("aaaaaaaaaa", "bbbbbbbbbb"))
    spending.keep(replace(one, spent=Spent(session_usd=9.0)), lambda: day)
    spending.keep(replace(one, spent=Spent(session_usd=11.0)), lambda: day)
    seen = spending.counted(two, BOTH, NOON, lambda now: day).spent
    assert (seen.session_usd, seen.day_usd) == (0.0, 11.0)
    assert "cost_per_day_usd" in seen.stop
    assert "cost_per_session_usd" in spending.counted(one, BOTH, NOON, lambda now: day).spent.stop
    assert spending.counted(two, BOTH, NOON, lambda now: "2026-11-28").spent.stop == ""


def test_without_limits_nothing_stops_and_a_session_is_not_copied_for_each_line() -> None:
    spending = Spending()
    session = new_session()
    assert spending.counted(session, Policy(), NOON, lambda now: "2026-11-27") is session
    assert Spent(session_usd=1e9, day_usd=1e9).stop == ""


class Stored:
    """The one question of the store that is asked here."""

    def __init__(self, *rows: TurnRow) -> None:
        self.rows = list(rows)

    async def turns(self, since: str, session: SessionId | None = None) -> list[TurnRow]:
        return [row for row in self.rows if row.time >= since and session in (None, row.session)]


def test_a_restarted_daemon_knows_what_was_spent_and_what_was_not_stored_does_not_count() -> None:
    def turn(name: str, time: str, dollars: float) -> TurnRow:
        return TurnRow(session=SessionId(name), epoch=1, seq=1, time=time, models={"opus": Use(cost_usd=dollars)})

    day = "2027-01-15"
    stored: Any = Stored(turn("a", f"{day}T01:00:00.000Z", 3.0), turn("b", "2027-01-14T23:00:00.000Z", 4.0))
    session = replace(new_session(), id=SessionId("a"))

    async def spent() -> tuple[Spent, Spent]:
        spending = Spending()
        await spending.open(stored, NOON, lambda unix_s: iso(unix_s)[:10])
        await spending.load(stored, session.id)
        spending.keep(replace(session, spent=Spent(session_usd=8.0)), lambda: day)  # and the store fails
        failed = spending.counted(session, BOTH, NOON, lambda now: day).spent
        await spending.load(stored, session.id)
        return failed, spending.counted(session, BOTH, NOON, lambda now: day).spent

    failed, again = asyncio.run(spent())
    assert (failed.session_usd, failed.day_usd) == (8.0, 8.0)
    assert (again.session_usd, again.day_usd) == (3.0, 3.0)
