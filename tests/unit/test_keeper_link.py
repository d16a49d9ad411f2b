"""The daemon's end of a keeper's socket, against a keeper that sends what it should not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from betcode.adapters.keeper_link import KeeperLink
from betcode.adapters.session_files import SessionFiles
from betcode.keeper import protocol
from betcode.keeper.protocol import Kind
from betcode.model.news import Output, Troubled

OUTPUT = b"first\nsecond\nthird\n"
HELLO: dict[str, object] = {
    "protocol": [protocol.VERSION_MIN, protocol.VERSION_MAX],
    "run": 1,
    "out_end": len(OUTPUT),
    "keeper_pid": 1,
    "claude_pid": 2,
}
Send = Callable[[int, int], None]
"""Sends the output between two offsets."""


class SkippingKeeper:
    """Says hello, and lets `play` answer each ATTACH: (how many there were before, where from, send)."""

    def __init__(self, play: Callable[[int, int, Send], None]) -> None:
        self.attached: list[int] = []
        self.ended: list[asyncio.Event] = []
        self._play = play

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended = asyncio.Event()
        self.ended.append(ended)
        writer.write(protocol.json_frame(Kind.HELLO, HELLO))
        frames = protocol.FrameReader()
        while data := await reader.read(65_536):
            for kind, payload in frames.feed(data):
                if kind == Kind.ATTACH:
                    start = protocol.json_payload(payload)["from"]
                    assert isinstance(start, int)
                    self.attached.append(start)
                    send = lambda begin, end: writer.write(protocol.out_frame(begin, OUTPUT[begin:end]))  # noqa: E731
                    self._play(len(self.attached) - 1, start, send)
        writer.close()
        await writer.wait_closed()
        ended.set()


async def listen(folder: Path, keeper: SkippingKeeper, until: int) -> tuple[list[Output], list[str]]:
    """What the link gives out up to this offset: output, and words about the keeper."""
    files = SessionFiles(folder)
    server = await asyncio.start_unix_server(keeper.serve, str(files.socket()))
    link = KeeperLink(files, 1, generation=1, offset=0)
    output: list[Output] = []
    told: list[str] = []
    async with server, asyncio.timeout(30):
        while not output or output[-1].offset + len(output[-1].data) < until:
            match await link.receive():
                case Output() as news:
                    output.append(news)
                case Troubled() as news:
                    told.append(news.what)
                case other:
                    raise AssertionError(other)
        await link.close()
        for ended in keeper.ended:
            await ended.wait()
    return output, told


@pytest.mark.req("INV-2", "PS-6")
def test_output_that_begins_too_late_is_asked_for_again_and_nothing_is_left_out(tmp_path: Path) -> None:
    def play(before: int, start: int, send: Send) -> None:
        if before == 0:
            send(0, 6)
            send(13, 19)  # out of order: the second line comes last
            send(6, 13)
        else:
            send(start, len(OUTPUT))

    keeper = SkippingKeeper(play)
    output, told = asyncio.run(listen(tmp_path, keeper, len(OUTPUT)))
    assert b"".join(news.data for news in output) == OUTPUT
    assert [news.offset for news in output] == [0, 6]
    assert keeper.attached == [0, 6]
    assert told[0].endswith("output from 13 on, where 6 was next")
    assert told[1:] == [""], "all is well after the new connection"


@pytest.mark.req("INV-2", "INV-5")
def test_output_that_the_keeper_does_not_have_is_asked_for_once_and_leaves_a_gap(tmp_path: Path) -> None:
    def play(before: int, start: int, send: Send) -> None:
        if before == 0:
            send(0, 6)
        send(13, 19)

    keeper = SkippingKeeper(play)
    output, _ = asyncio.run(listen(tmp_path, keeper, len(OUTPUT)))
    assert [news.offset for news in output] == [0, 13]
    assert keeper.attached == [0, 6]
