"""claude's own lines, over connections that end and readers that lag."""

import asyncio
from typing import Any

import pytest

from betcode.client.tap import RawLine, Tap
from betcode.model import limits
from betcode.model.frames import RawFrame
from betcode.model.frames import Tap as TapRequest


class Line:
    """A connection that takes requests."""

    def __init__(self, run: int = 1, offset: int = 0) -> None:
        self.begins = {"run": run, "offset": offset}
        self.asked: list[TapRequest] = []

    async def request(self, request: Any) -> dict[str, Any]:
        self.asked.append(request)
        return self.begins


class Clients:
    """One client with a connection that can be exchanged."""

    def __init__(self) -> None:
        self.present: Any = Line()

    async def connected(self, *, instead_of: object = None) -> Any:
        assert instead_of is not self.present
        return self.present

    def forget(self, session: str) -> None:
        raise AssertionError(session)


def frame(place: int, offset: int, data: bytes, run: int = 1) -> RawFrame:
    return RawFrame(session="s", run=run, offset=offset, data=data, place=place)


async def next_lines(tap: Tap, count: int) -> list[RawLine]:
    return [await anext(tap) for _ in range(count)]


@pytest.mark.req("INV-2")
def test_lines_come_whole_however_they_are_cut_and_go_on_over_connections() -> None:
    async def run() -> None:
        clients = Clients()
        tap = Tap(clients, "s")
        await tap.begin()
        for piece in (frame(1, 0, b'{"a"'), frame(1, 4, b":1}\n{"), frame(0, 9, b"of an earlier tap\n")):
            tap.put(piece)
        assert await next_lines(tap, 1) == [RawLine(1, b'{"a":1}')]
        clients.present = Line()
        waiting = asyncio.ensure_future(next_lines(tap, 1))
        tap.wake()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [(r.run, r.offset, r.place) for r in clients.present.asked] == [(1, 9, 2)]
        tap.put(frame(2, 9, b"}\n"))
        assert await waiting == [RawLine(1, b"{}")]

    asyncio.run(run())


def test_the_next_process_ends_the_last_line_of_the_one_before() -> None:
    async def run() -> None:
        tap = Tap(Clients(), "s")
        await tap.begin()
        tap.put(frame(1, 0, b"one\nhalf"))
        tap.put(frame(1, 0, b"two\n", run=2))
        assert await next_lines(tap, 3) == [RawLine(1, b"one"), RawLine(1, b"half"), RawLine(2, b"two")]

    asyncio.run(run())


def test_missing_bytes_are_told_with_the_next_line() -> None:
    async def run() -> None:
        tap = Tap(Clients(), "s")
        await tap.begin()
        tap.put(frame(1, 0, b"one\nha"))
        tap.put(frame(1, 20, b"two\n"))
        assert await next_lines(tap, 2) == [RawLine(1, b"one"), RawLine(1, b"two", missing=16)]

    asyncio.run(run())


@pytest.mark.req("INV-8")
def test_a_reader_that_lags_costs_bounded_memory_and_misses_nothing() -> None:
    async def run() -> None:
        clients = Clients()
        tap = Tap(clients, "s")
        await tap.begin()
        block = b"x" * 99 + b"\n"
        piece = block * (limits.TAP_BYTES_AHEAD // 200)
        for number in range(10):
            tap.put(frame(1, number * len(piece), piece))
        kept = tap._waiting_bytes
        assert kept <= limits.TAP_BYTES_AHEAD + len(piece)
        await next_lines(tap, kept // 100)
        waiting = asyncio.ensure_future(anext(tap))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        again = clients.present.asked[-1]
        assert (again.run, again.offset, again.place) == (1, kept, 2)
        tap.put(frame(1, kept + len(piece), piece))
        tap.put(frame(2, kept, block))
        assert (await waiting).missing == 0

    asyncio.run(run())
