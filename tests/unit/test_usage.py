"""What turns have used: read from claude's recorded results, stored, found again, and shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apsw
import msgspec
import pytest
from msgspec.structs import replace as change

from betcode.adapters.sqlite import schema, statements, usage
from betcode.adapters.sqlite.errors import StoreError
from betcode.adapters.sqlite.schema import MIGRATIONS
from betcode.cli.usage import usage_table
from betcode.core import usage as core
from betcode.core.spent import dollars
from betcode.model.events import TurnEnded
from betcode.model.facts import TurnResult
from betcode.model.ids import SessionId
from betcode.model.rows import Deletion, EventRow, Transaction
from betcode.model.usage import TurnRow, Use
from betcode.testing.sample_rows import TIME, creation, session_row, step
from betcode.wire.claude import read_line

A, B = SessionId("aaaaaaaaaa"), SessionId("bbbbbbbbbb")
USED = Use(input_tokens=30, output_tokens=60, cache_read_tokens=2, cache_write_tokens=1, cost_usd=0.00132)
RESULT: dict[str, Any] = {
    "type": "result",
    "subtype": "success",
    "is_error": False,
    "total_cost_usd": 0.00176,
    "usage": {"input_tokens": 20, "output_tokens": 40},
    "model_usage_since_last_result": {
        "claude-opus-5-5": {
            "inputTokens": 30,
            "outputTokens": 60,
            "cacheReadInputTokens": 2,
            "cacheCreationInputTokens": 1,
            "costUSD": 0.00132,
            "contextWindow": 1_000_000,
        }
    },
}
"""Of a turn with a subagent, as recorded: `usage` is without it, and the total goes on from the turn before."""


@pytest.fixture
def database() -> Iterator[apsw.Connection]:
    connection = apsw.Connection(":memory:")
    connection.pragma("foreign_keys", 1)
    schema.migrate(connection)
    yield connection
    connection.close()


def put(connection: apsw.Connection, transaction: Transaction) -> None:
    with connection:
        statements.apply(connection, transaction)


def ended(session: SessionId, seq: int, time: str, **told: Any) -> EventRow:
    event = TurnEnded(outcome="completed", message_ids=[f"{session}-{seq}"], epoch=1, seq=seq, time=time, **told)
    return EventRow(session, 1, seq, "turn_ended", time, msgspec.json.encode(event))


def write(connection: apsw.Connection, session: SessionId, *events: EventRow) -> None:
    put(connection, creation(session))
    put(connection, Transaction(session=session_row(session, seq=len(events)), events=events))


def test_what_a_result_tells_by_model_is_read_and_what_is_odd_costs_only_itself() -> None:
    (fact,) = read_line(msgspec.json.encode(RESULT))
    assert isinstance(fact, TurnResult)
    assert fact.models == {"claude-opus-5-5": USED}
    (older,) = read_line(msgspec.json.encode({k: v for k, v in RESULT.items() if not k.startswith("model_")}))
    assert isinstance(older, TurnResult)
    assert older.models is None
    odd = read_line(msgspec.json.encode(RESULT | {"model_usage_since_last_result": {"opus": {"costUSD": -1}}}))
    assert [fact.subtype for fact in odd if isinstance(fact, TurnResult)] == ["success"]


def test_turns_are_found_by_session_and_time_and_those_of_a_deleted_session_are_gone(
    database: apsw.Connection,
) -> None:
    write(database, A, ended(A, 1, "2026-11-01T10:00:00.000Z", models={"m": USED}), ended(A, 2, TIME))
    write(database, B, ended(B, 1, "2026-11-02T10:00:00.000Z", cost_usd=0.5))
    assert [(t.session, t.seq) for t in usage.turns(database, "")] == [(A, 1), (A, 2), (B, 1)]
    assert [t.session for t in usage.turns(database, "2026-11-02")] == [B]
    (one,) = usage.turns(database, "2026-11", A)
    assert one.models == {"m": USED}
    put(database, Transaction(session_row(A), deletion=Deletion(TIME)))
    assert [t.session for t in usage.turns(database, "")] == [B]


def test_the_turn_before_the_first_day_tells_what_the_first_one_cost(database: apsw.Connection) -> None:
    days = [ended(A, seq, f"2026-11-0{seq}T10:00:00.000Z", cost_usd=0.25 * seq) for seq in (1, 2, 3)]
    write(database, A, *days)
    found = core.turns(usage.turns(database, "2026-11-03"), lambda time: time[:10])
    assert [(turn.day, turn.use.cost_usd) for turn in found] == [("2026-11-02", 0.5), ("2026-11-03", 0.25)]


def test_the_turns_are_read_by_an_index_that_holds_nothing_else(database: apsw.Connection) -> None:
    for query, values in ((usage._SINCE, ("",)), (usage._OF_ONE, ("", A)), (usage._BEFORE, (A, 1, 1))):
        plan = [str(row[3]) for row in database.execute(f"EXPLAIN QUERY PLAN {query}", values)]
        assert any("events_of_turns" in line for line in plan), plan
        assert not any("TEMP B-TREE" in line for line in plan), plan


@pytest.mark.req("SQ-8")
def test_an_older_database_gets_the_index_and_its_turns_are_found() -> None:
    old = apsw.Connection(":memory:")
    schema.migrate(old, MIGRATIONS[:5])
    write(old, A, ended(A, 1, TIME, cost_usd=0.5))
    schema.migrate(old)
    assert [turn.cost_usd for turn in usage.turns(old, "")] == [0.5]


@pytest.mark.req("SQ-1")
def test_a_turn_that_is_not_what_was_written_is_refused(database: apsw.Connection) -> None:
    write(database, A, ended(A, 1, TIME, cost_usd=0.5))
    put(database, step(A, 2, events=1))
    database.execute("UPDATE events SET body = CAST(replace(body, '0.5', '0.6') AS BLOB) WHERE seq = 1")
    with pytest.raises(StoreError, match=r"event 1\.1 .* is damaged"):
        usage.turns(database, "")


def test_a_turn_whose_output_was_read_again_under_other_numbers_counts_once() -> None:
    first = TurnRow(session=A, epoch=1, seq=3, time=TIME, message_ids=("m",), duration_ms=7, cost_usd=0.5)
    again = change(first, epoch=2, seq=1)
    other = change(again, seq=2, message_ids=("n",), cost_usd=0.75)
    assert core.total(core.turns([first, again, other], lambda time: time)).use.cost_usd == 0.75


def test_days_end_today_and_what_is_read_begins_before_the_first_of_them() -> None:
    assert core.first_day("2026-03-01", 2) == "2026-02-28"
    assert core.first_day("2026-03-01", 0) == core.first_day("2026-03-01", 1_000_000) == core.read_from("") == ""
    assert core.read_from("2026-03-01") == "2026-02-28"


def test_people_see_a_sum_below_more_than_one_row_and_no_cost_that_is_there_as_nothing() -> None:
    one = {"key": "2026-11-01", "turns": 1, "cost_usd": 1234.5} | dict.fromkeys(
        ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"), 5000
    )
    assert usage_table({"by": "day", "rows": [one], "total": one}).splitlines()[1].split() == [
        *("2026-11-01", "1", "5,000", "5,000", "5,000", "5,000", "$1,234.50")
    ]
    assert usage_table({"by": "day", "rows": [one, one], "total": one}).splitlines()[-1].startswith("total")
    assert [dollars(0), dollars(0.00088), dollars(0.5)] == ["$0.00", "$0.00088", "$0.50"]


def test_turns_are_summed_by_the_upstream_that_was_asked_and_older_ones_are_unknown(
    database: apsw.Connection,
) -> None:
    asked = [ended(A, n, TIME, models={"m": USED}, upstream=name) for n, name in ((1, "one"), (2, "two"), (3, "one"))]
    write(database, A, *asked, ended(A, 4, TIME))
    found = core.turns(usage.turns(database, ""), lambda time: time[:10])
    assert [(one.key, one.turns) for one in core.totals(found, "upstream")] == [("one", 2), ("two", 1), ("unknown", 1)]
