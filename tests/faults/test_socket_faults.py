"""Sockets that break after any number of bytes, between client and daemon and between daemon and keeper.

Goal: a request is carried out once and its reply comes, or an error with a code and a hint; others notice nothing.
Method: a proxy cuts the connection after k bytes, for k = 1, 2, ... (in steps) until the whole exchange fits. Every
single operation of a socket fails in test_socket_operations.py.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from betcode.adapters.keeper_link import KeeperLink, encode
from betcode.adapters.server import LocalServer, SocketChannel
from betcode.adapters.session_files import SessionFiles
from betcode.client.client import Client
from betcode.core.effects import Say
from betcode.engine.conversation import Conversation, Daemon
from betcode.engine.requests import Requests
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.frames import Create, ListSessions, Ping, Send
from betcode.model.ids import MessageId
from betcode.model.news import Confirmed, Output, Troubled
from betcode.testing.cutting_proxy import CuttingProxy, cutting_proxy
from betcode.testing.faults import FaultPlan, FaultyFiles, faulty_disk
from betcode.testing.keeper_process import KeeperProcess
from betcode.testing.paper_claude import PaperLauncher
from betcode.testing.promises import events_of
from betcode.testing.small_engine import SmallEngine, running_engine

STEP = 7
"""Every seventh place: a prime, so that all parts of a frame are met."""


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RECONNECT_FIRST_S", 0.001)
    monkeypatch.setattr(limits, "RECONNECT_TRIES", 4)


@contextlib.asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[SmallEngine, CuttingProxy, Path]]:
    """An engine behind a real server, a proxy before it, and the server's own socket."""
    plan = FaultPlan()
    with faulty_disk(plan) as connect:
        launcher = PaperLauncher(folder / "sessions")
        async with running_engine(folder, launcher, connect=connect, files=FaultyFiles(plan)) as engine:
            requests = Requests(engine.registry, lambda: {}, lambda path: path)
            daemon = Daemon("1", 1, requests, lambda end: None)

            async def serve(channel: SocketChannel) -> None:
                await Conversation(channel, engine.registry, daemon, engine.log).serve()

            server = LocalServer(folder / "real.sock", serve, {})
            await server.start(rng=Random(1))
            async with cutting_proxy(folder / "proxy.sock", folder / "real.sock") as proxy:
                yield engine, proxy, folder / "real.sock"
            await server.stop()


def client_at(path: Path) -> Client:
    return Client(path, start_daemon=None, rng=Random(1))


def key(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


@pytest.mark.req("INV-1", "INV-4", "PS-9")
@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_request_cut_anywhere_is_repeated_under_its_key_and_done_once(tmp_path: Path, direction: str) -> None:
    async def run() -> None:
        async with served(tmp_path) as (engine, proxy, real), client_at(real) as other:
            for number in itertools.count(1):
                async with client_at(proxy.path) as client:
                    proxy.cut(direction, number * STEP)
                    body = await client.request(Create(directory="/", key=key(1000 + number)))
                    session = body["session"]["id"]
                    reply = await client.request(Send(session=session, key=key(number), text="hello"))
                    assert reply["message_id"] == key(number)
                    assert await other.request(Ping()) == {}, "others notice nothing"
                    proxy.heal()
                said = [e for e in await events_of(engine, session) if e["kind"] == "user_message"]
                assert [event["message_id"] for event in said] == [key(number)]
                found = (await other.request(ListSessions()))["sessions"]
                assert len(found) == number, "one session for each key"
                if proxy.cuts < number:
                    assert number * STEP > 200, "the whole exchange was met"
                    return

    asyncio.run(run())


async def ping(path: Path) -> BetcodeError | None:
    """The error of a whole connection with one request, if there is one."""
    try:
        async with client_at(path) as client:
            await client.request(Ping())
    except BetcodeError as error:
        return error
    return None


@pytest.mark.req("INV-4", "INV-5")
@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_connection_that_is_always_cut_ends_in_a_plain_error_and_the_server_goes_on(
    tmp_path: Path, direction: str
) -> None:
    async def run() -> None:
        async with served(tmp_path) as (_, proxy, real):
            for after in itertools.count(1, 3 * STEP):
                proxy.cut(direction, after, for_ever=True)
                before = proxy.cuts
                error = await ping(proxy.path)
                if error is None:
                    assert after > 100, "even the greeting was met"
                    break
                assert (error.code, bool(error.hint)) == ("daemon.unreachable", True), after
                assert 0 < proxy.cuts - before <= limits.RECONNECT_TRIES, "it gives up"
            async with client_at(real) as other:
                assert await other.request(Ping()) == {}

    asyncio.run(run())


async def converse(link: KeeperLink, number: int, expected: bytes) -> None:
    """Write two lines, and read until both are confirmed and all that claude printed of them is there."""
    ids = [key(2 * number), key(2 * number + 1)]
    for line_id in ids:
        link.write(line_id, Say(MessageId(line_id), f"text {number}"))
    out = b""
    confirmed: list[str] = []
    while len(out) < len(expected) or set(confirmed) != set(ids):
        match await link.receive():
            case Output() as news:
                out += news.data
            case Confirmed() as news:
                confirmed.append(news.line_id)
            case Troubled():
                pass  # it is told while the connection is away, and when it is back
            case other:
                raise AssertionError(f"nothing was lost or refused: {other}")
    assert out == expected


@pytest.mark.req("INV-1", "INV-2", "PS-6")
@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_keeper_socket_cut_anywhere_neither_loses_nor_doubles_a_line(
    tmp_path_factory: pytest.TempPathFactory, direction: str
) -> None:
    def lines(number: int) -> bytes:
        ids = (key(2 * number), key(2 * number + 1))
        return b"".join(encode(line_id, Say(MessageId(line_id), f"text {number}")) + b"\n" for line_id in ids)

    async def run(keeper: KeeperProcess) -> None:
        files = SessionFiles(keeper.session_dir)
        offset = 0
        async with cutting_proxy(files.socket(), keeper.session_dir / "s") as proxy:
            for number in itertools.count(1):
                proxy.cut(direction, number * STEP)
                link = KeeperLink(files, 1, generation=number, offset=offset)
                await converse(link, number, lines(number))
                await link.close()
                proxy.heal()
                offset += len(lines(number))
                if proxy.cuts < number:
                    assert number * STEP > len(lines(number)), "the whole exchange was met"
                    break
        assert files.read_back(1, 0, offset) == b"".join(lines(n) for n in range(1, number + 1))

    with KeeperProcess(tmp_path_factory.mktemp("k"), ["/bin/cat"]) as keeper:
        asyncio.run(run(keeper))
