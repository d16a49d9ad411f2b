"""A flood of output: read a little at a time, in bounded memory, and not told line by line."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from betcode.core.transcript import Transcript, worth_telling
from betcode.engine.committer import Committer
from betcode.engine.ingest import Ingest, Read
from betcode.model import limits
from betcode.model.events import Error, UnknownLine
from betcode.model.facts import BadLine
from betcode.testing.small_engine import KeptLog
from betcode.wire.lines import LineSplitter

TURN = b'{"type":"system","subtype":"init","session_id":"s","model":"m"}\n'
GOOD = b'{"type":"system","subtype":"session_state_changed","state":"running"}\n'


class Counts:
    """A meter that counts bad lines."""

    bad = 0

    def bad_line(self, error_type: str) -> None:
        self.bad += 1

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"reading must not measure {name}")


def ingest(log: KeptLog | None = None, counts: Counts | None = None) -> Ingest:
    return Ingest(0, limits.LINE_BYTES_MAX, Transcript(), log or KeptLog(), counts or Counts())


def whole(reader: Ingest, data: bytes) -> Read:
    return [fact for part in reader.read(reader.end, data) for fact in part]


lines = st.lists(st.sampled_from([b"", b"1", b"{", GOOD.strip(), TURN.strip(), b"x" * 30_000, b"\0\xff"]), max_size=300)


@pytest.mark.req("ND-1", "INV-4")
@given(lines, st.integers(1, 100_000))
def test_output_read_in_parts_gives_the_same_and_each_part_is_short_and_knows_its_place(
    printed: list[bytes], size: int
) -> None:
    data = b"\n".join(printed) + b"\nrest"
    ends = [line.end for line in LineSplitter().feed(data)]
    reader, at_once, facts, seen = ingest(), ingest(), [], 0
    for start in range(0, len(data), size):
        for part in reader.read(start, data[start : start + size]):
            facts += part
            assert reader.lines <= limits.INGEST_LINES_AT_ONCE
            seen += reader.lines
            assert reader.position == (ends[seen - 1] if seen else 0)
    assert (seen, reader.end) == (len(ends), len(data))
    assert facts == whole(at_once, data)
    again = Ingest(reader.position, limits.LINE_BYTES_MAX, Transcript(), KeptLog(), Counts())
    assert whole(again, data[reader.position :]) == []


@pytest.mark.req("INV-8", "ND-3")
@pytest.mark.parametrize("line, kind", [(b"{\n", Error), (b'{"type":"x"}\n', UnknownLine)])
def test_of_a_flood_of_odd_lines_only_doublings_are_stored_and_logged_and_the_next_turn_tells_again(
    line: bytes, kind: type
) -> None:
    told = kind is Error
    most = limits.BAD_LINES_TOLD if told else limits.UNKNOWN_LINES_TOLD
    log, counts = KeptLog(), Counts()
    reader = ingest(log, counts)
    facts = whole(reader, line * (most * 9))
    shown = [event for _, events in facts for event in events if isinstance(event, kind)]
    assert len(shown) == most + 3  # at 2, 4 and 8 times as many
    assert len(log.lines) == (most + 3 if told else 1)
    said = [e.message for _, events in facts for e in events if isinstance(e, Error) and str(most * 8) in e.message]
    assert len(said) == 1
    assert counts.bad == (most * 9 if told else 0)
    again = whole(reader, TURN + line * 3)
    assert sum(isinstance(event, kind) for _, events in again for event in events) == 3


@pytest.mark.req("INV-1")
def test_an_unreadable_line_that_is_not_shown_still_counts_as_doubt() -> None:
    facts = whole(ingest(), b"{\n" * (limits.BAD_LINES_TOLD + 10))
    assert sum(isinstance(fact, BadLine) for fact, _ in facts) == limits.BAD_LINES_TOLD + 10
    assert facts[-1][1] == ()


@pytest.mark.req("INV-8")
@given(st.integers(1, 1000), st.integers(1, 10**9))
def test_the_number_of_things_told_grows_with_the_logarithm_of_all(told: int, count: int) -> None:
    later = [told << shift for shift in range(1, 40) if told << shift <= count]
    assert all(worth_telling(number, told) for number in [*range(1, min(told, count) + 1), *later])
    assert worth_telling(count, told) == (count <= told or count in later)


@pytest.mark.req("INV-4")
def test_others_work_between_the_parts_of_a_flood_and_small_work_does_not_give_way_each_time() -> None:
    async def run() -> None:
        committer = Committer(None, None, KeptLog(), lambda: None, lambda _: None, None)  # type: ignore[arg-type, return-value]
        others: list[str] = []
        asyncio.get_running_loop().call_soon(others.append, "worked")
        for _ in range(limits.INGEST_LINES_AT_ONCE - 1):
            await committer.breathe(1)
        assert others == []
        await committer.breathe(1)
        assert others == ["worked"]
        asyncio.get_running_loop().call_soon(others.append, "again")
        await committer.breathe(limits.INGEST_LINES_AT_ONCE)
        assert others == ["worked", "again"]

    asyncio.run(run())
