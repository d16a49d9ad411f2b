"""The n-th operation of a socket fails, for every n, once and for ever after: client to daemon, daemon to keeper.

Goal: what was acknowledged is done once and seen once; a fault that passes costs nothing but a new connection; one that
stays ends in an error with a code and a hint, or in the end of a claude that nobody can reach; others notice nothing.
Method: real server, client, link and keeper in their usual code; connect, accept, send and recv fail beneath them.
Fail operation 1, then 2, ... until a run passes unharmed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

import betcode
from betcode.adapters.keeper_link import KeeperLink, encode
from betcode.adapters.server import LocalServer, SocketChannel
from betcode.adapters.session_files import SessionFiles
from betcode.client.client import Client
from betcode.core.effects import Say
from betcode.engine.conversation import Conversation, Daemon
from betcode.engine.requests import Requests
from betcode.keeper.records import read_records
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.frames import Answer, Create, ListSessions, Ping, Send
from betcode.model.ids import MessageId, PermissionId, SessionId
from betcode.model.news import Confirmed, Gone, Output, Troubled
from betcode.model.states import PermissionState
from betcode.testing.faults import FaultPlan, FaultyFiles, faulty_disk
from betcode.testing.faulty_sockets import SocketPlan, faulty_sockets
from betcode.testing.keeper_process import KeeperProcess
from betcode.testing.paper_claude import PaperLauncher
from betcode.testing.promises import events_of
from betcode.testing.small_engine import SmallEngine, running_engine

SRC = Path(betcode.__file__).parents[1]
MODES = pytest.mark.parametrize("then_forever", [False, True], ids=["once", "for ever"])
WAIT_S = 30.0
"""Longest wait for something that takes milliseconds."""


def key(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


# --- client and daemon --------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[SmallEngine, Path]]:
    """An engine behind a real server, and the server's socket. The disk is a good one that does not sync."""
    disk = FaultPlan()
    with faulty_disk(disk) as connect:
        launcher = PaperLauncher(folder / "sessions")
        async with running_engine(folder, launcher, connect=connect, files=FaultyFiles(disk)) as engine:
            requests = Requests(engine.registry, lambda: {}, lambda path: path)
            daemon = Daemon("1", 1, requests, lambda end: None)

            async def serve(channel: SocketChannel) -> None:
                await Conversation(channel, engine.registry, daemon, engine.log).serve()

            server = LocalServer(folder / "daemon.sock", serve, {})
            await server.start(rng=Random(1))
            try:
                yield engine, folder / "daemon.sock"
            finally:
                await server.stop()


def client_at(path: Path) -> Client:
    return Client(path, start_daemon=None, rng=Random(1))


async def exchange(path: Path, number: int, acknowledged: dict[str, str]) -> list[dict[str, Any]]:
    """A session, a message, a question with its answer; all events as they were shown. Can be done twice."""
    shown: list[dict[str, Any]] = []
    async with client_at(path) as client:
        body = await client.request(Create(directory="/", key=key(1_000 + number)))
        session = acknowledged["session"] = body["session"]["id"]
        reply = await client.request(Send(session=session, key=key(number), text="hello"))
        assert reply["message_id"] == key(number)
        acknowledged["message"] = key(number)
        async for news in client.stream(session):
            event = getattr(news, "event", None)
            if event is None:
                continue
            shown.append(event)
            if event["kind"] == "permission_asked":
                try:
                    await client.request(Answer(permission=event["permission_id"], allow=True))
                except BetcodeError as error:
                    if error.code != "permission.already_settled":  # by the first answer, whose reply was lost
                        raise
                acknowledged["answer"] = event["permission_id"]
            if event["kind"] == "message_state" and event["state"] == "completed":
                break
    return shown


async def check_acknowledged(engine: SmallEngine, acknowledged: dict[str, str]) -> None:
    """What was acknowledged is stored."""
    if "session" in acknowledged:
        assert await engine.store.session(SessionId(acknowledged["session"])) is not None
    if "message" in acknowledged:
        assert await engine.store.message(MessageId(acknowledged["message"])) is not None
    if "answer" in acknowledged:
        question = await engine.store.permission(PermissionId(acknowledged["answer"]))
        assert question is not None
        assert question.state is PermissionState.ALLOWED


@MODES
@pytest.mark.limit(180)
@pytest.mark.req("INV-1", "INV-2", "INV-4", "INV-5", "PS-9")
def test_any_failing_operation_between_client_and_daemon_leaves_each_request_done_once_and_each_event_shown_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then_forever: bool
) -> None:
    monkeypatch.setattr(limits, "RECONNECT_FIRST_S", 0.001)
    monkeypatch.setattr(limits, "RECONNECT_TRIES", 4)

    async def one(engine: SmallEngine, path: Path, other: Client, plan: SocketPlan, number: int) -> bool:
        """Whether the operation was met."""
        acknowledged: dict[str, str] = {}
        plan.arm(number, then_forever=then_forever)
        shown: list[dict[str, Any]] = []
        try:
            shown = await exchange(path, number, acknowledged)
        except BetcodeError as error:
            told_at_once = plan.seen == ["connect"]  # the first thing a client does: nothing is begun yet
            assert then_forever or told_at_once, (number, plan.seen[-1], error)  # noqa: PT017
            assert (error.code, bool(error.hint)) == ("daemon.unreachable", True), number  # noqa: PT017
        assert await other.request(Ping()) == {}, "others notice nothing"
        met = plan.fired
        plan.disarm()
        await check_acknowledged(engine, acknowledged)
        if not shown:
            shown = await exchange(path, number, {})
        found = [row.id for row in await engine.store.sessions() if row.claude_session_id == key(1_000 + number)]
        assert len(found) == 1, "one session for a key"
        events = await events_of(engine, found[0])
        assert [event["seq"] for event in shown] == list(range(1, len(shown) + 1)), number
        assert shown == events[: len(shown)]
        for kind in ("user_message", "permission_settled", "turn_ended"):
            assert [event["kind"] for event in events].count(kind) == 1, (number, kind)
        return met

    async def run() -> None:
        plan = SocketPlan(errno=errno.ECONNRESET)
        path = tmp_path / "daemon.sock"
        with faulty_sockets(plan, path):
            async with served(tmp_path) as (engine, _), client_at(path) as other:
                for number in itertools.count(1):
                    async with asyncio.timeout(WAIT_S):
                        if not await one(engine, path, other, plan, number):
                            break
                assert {"connect", "accept", "send", "recv"} <= set(plan.seen)
                assert number > 25, "the whole exchange was met"
                assert len((await other.request(ListSessions()))["sessions"]) == number

    asyncio.run(run())


# --- daemon and keeper --------------------------------------------------------------------------------------------

LINES = 3


def line(number: int) -> bytes:
    return encode(key(number), Say(MessageId(key(number)), f"text {number}")) + b"\n"


async def converse(link: KeeperLink) -> tuple[bytes, list[str], Gone | None]:
    """Write all lines; what came back until all is there, or until claude is gone."""
    out, confirmed = b"", list[str]()
    for number in range(LINES):
        link.write(key(number), Say(MessageId(key(number)), f"text {number}"))
    expected = b"".join(line(number) for number in range(LINES))
    async with asyncio.timeout(WAIT_S):
        while out != expected or len(confirmed) < LINES:
            match await link.receive():
                case Output() as news:
                    assert news.offset == len(out)
                    out += news.data
                case Confirmed() as news:
                    confirmed.append(news.line_id)
                case Troubled():
                    pass  # told while the connection is away, and when it is back
                case Gone() as news:
                    return out, confirmed, news
                case other:
                    raise AssertionError(f"nothing was lost or refused: {other}")
    return out, confirmed, None


def check_keeper(keeper: KeeperProcess, found: tuple[bytes, list[str], Gone | None], *, may_end: bool) -> None:
    """Each line written once at most, in order; all of it shown; nothing confirmed that was not written."""
    out, confirmed, gone = found
    begun = [str(record["id"]) for record in read_records(str(keeper.path("in"))) if record.get("state") == "intent"]
    assert begun == [key(number) for number in range(len(begun))]
    assert out == b"".join(line(number) for number in range(out.count(b"\n")))
    assert len(set(confirmed)) == len(confirmed)
    assert set(confirmed) <= set(begun)
    if gone is None:
        assert len(confirmed) == LINES
    else:
        assert may_end, "a fault that passes ends nothing"
        assert gone.written == set(begun)
        assert SessionFiles(keeper.session_dir).end(1) == len(out), "what the journal has was read"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A keeper that cannot be reached is given up after 0.2 s instead of 5."""
    monkeypatch.setattr(limits, "KEEPER_CONNECT_WAIT_S", 0.2)
    monkeypatch.setattr(limits, "LOCK_POLL_S", 0.01)


def talk(keeper: KeeperProcess) -> tuple[bytes, list[str], Gone | None]:
    """One daemon's conversation with the keeper."""

    async def run() -> tuple[bytes, list[str], Gone | None]:
        link = KeeperLink(SessionFiles(keeper.session_dir), 1, generation=2, offset=0)
        try:
            return await converse(link)
        finally:
            await link.close()

    return asyncio.run(run())


@MODES
@pytest.mark.limit(180)
@pytest.mark.req("INV-1", "INV-2", "INV-7", "PS-6")
def test_any_failing_operation_of_the_daemon_towards_a_keeper_loses_and_doubles_nothing(
    tmp_path_factory: pytest.TempPathFactory, hasty: None, then_forever: bool
) -> None:
    for number in itertools.count(1):
        folder = tmp_path_factory.mktemp("k")
        plan = SocketPlan(errno=errno.ECONNRESET)
        with KeeperProcess(folder, ["/bin/cat"], socket=str(folder / "keeper.sock")) as keeper:
            with faulty_sockets(plan, SessionFiles(folder).socket()):
                plan.arm(number, then_forever=then_forever)
                found = talk(keeper)
            check_keeper(keeper, found, may_end=then_forever and plan.fired)
        if not plan.fired:
            assert {"connect", "send", "recv"} <= set(plan.seen)
            assert number > 6, "the whole conversation was met"
            return


@MODES
@pytest.mark.limit(180)
@pytest.mark.req("INV-1", "INV-2", "INV-7", "PS-6")
def test_any_failing_operation_of_a_keeper_towards_the_daemon_loses_and_doubles_nothing(
    tmp_path_factory: pytest.TempPathFactory, hasty: None, then_forever: bool
) -> None:
    script = str(Path(__file__).with_name("faulty_socket_keeper.py"))
    for number in itertools.count(1):
        folder = tmp_path_factory.mktemp("k")
        mode = "for_ever" if then_forever else "once"
        command = [sys.executable, "-I", "-S", script, str(SRC), str(number), mode, str(folder)]
        with KeeperProcess(folder, ["/bin/cat"], command=command, socket=str(folder / "keeper.sock")) as keeper:
            found = talk(keeper)
            fired = (folder / "fired").exists()
            check_keeper(keeper, found, may_end=then_forever and fired)
        if not fired:
            assert number > 6, "the whole conversation was met"
            return
