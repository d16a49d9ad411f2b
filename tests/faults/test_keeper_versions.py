"""A keeper of another release: the daemon speaks the highest version of the protocol that both know, or none."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from betcode.adapters.keeper_link import KeeperLink
from betcode.adapters.session_files import SessionFiles
from betcode.keeper.protocol import VERSION_MAX, FrameReader, Kind, json_frame, json_payload, out_frame
from betcode.model import limits
from betcode.model.news import Gone, Output, Troubled

HELLO = {"run": 1, "keeper_pid": None, "claude_pid": None, "out_end": 2, "generation": 1, "ended": False}


@contextlib.asynccontextmanager
async def keeper_speaks(folder: Path, spoken: list[int], attached: list[object]) -> AsyncIterator[None]:
    """Something on the keeper's socket that greets with these versions and notes each ATTACH."""
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task: asyncio.Task[None] | None = asyncio.current_task()
        assert task is not None
        serving.add(task)
        frames = FrameReader()
        writer.write(json_frame(Kind.HELLO, {**HELLO, "protocol": spoken}))
        while data := await reader.read(65_536):
            for kind, payload in frames.feed(data):
                if kind == Kind.ATTACH:
                    attached.append(json_payload(payload)["protocol"])
                    writer.write(out_frame(0, b"x\n"))
        writer.close()
        await writer.wait_closed()

    files = SessionFiles(folder)
    files.prepare()
    async with await asyncio.start_unix_server(serve, str(files.socket())):
        yield
        await asyncio.gather(*serving)


@pytest.mark.req("PS-6")
def test_a_newer_keeper_is_spoken_to_in_the_newest_version_that_both_know(tmp_path: Path) -> None:
    async def run() -> None:
        attached: list[object] = []
        folder = tmp_path / "s"
        async with keeper_speaks(folder, [1, VERSION_MAX + 2], attached):
            link = KeeperLink(SessionFiles(folder), 1, generation=1, offset=0)
            assert await link.receive() == Output(0, b"x\n")
            await link.close()
        assert attached == [VERSION_MAX]

    asyncio.run(run())


@pytest.mark.req("PS-6", "INV-5")
def test_a_keeper_without_a_common_version_is_never_attached_to_and_people_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "KEEPER_CONNECT_WAIT_S", 0.3)
    monkeypatch.setattr(limits, "LOCK_WAIT_S", 0.3)

    async def run() -> None:
        attached: list[object] = []
        folder = tmp_path / "s"
        async with keeper_speaks(folder, [VERSION_MAX + 1, VERSION_MAX + 2], attached):
            link = KeeperLink(SessionFiles(folder), 1, generation=1, offset=0)
            told = await link.receive()
            assert isinstance(told, Troubled)
            assert "protocol" in told.what
            assert isinstance(await link.receive(), Gone), "nothing holds the lock: the run is over"
        assert attached == []

    asyncio.run(run())
