"""A daemon that is asked for too much, over real sockets: who is refused, how, and who notices nothing of it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from betcode.adapters.server import LocalServer, SocketChannel
from betcode.client import brief
from betcode.client.connection import Connection
from betcode.core.admission import DELIVERED, LOCAL, Rates
from betcode.core.token_bucket import TokenBucket
from betcode.engine.conversation import Conversation, Daemon
from betcode.engine.requests import Requests
from betcode.model.errors import BetcodeError, Refusal
from betcode.model.frames import Answer, Attach, Clear, Create, GetStatus, Hello, Interrupt, Ping, Request, Send, Show
from betcode.model.ids import SessionId
from betcode.model.rows import Options
from betcode.testing.paper_claude import PaperLauncher
from betcode.testing.small_engine import SmallEngine, running_engine

CLIENTS = 64


@dataclass
class Place:
    """An engine behind a real server, and the connections of a test."""

    engine: SmallEngine
    launcher: PaperLauncher
    socket: Path
    stack: contextlib.AsyncExitStack

    async def connect(self, *, urgent: bool = False) -> Connection:
        link = await Connection.open(self.socket, Hello(protocol=[]), lambda frame: None, urgent=urgent)
        self.stack.push_async_callback(link.close)
        return link

    async def session(self, link: Connection, *, background: bool = False) -> str:
        """A new one, whose claude thinks as long as the test wants."""
        asked = Create(directory="/", key=str(uuid.uuid4()), options=Options(background=background))
        made = str((await link.request(asked))["session"]["id"])
        self.launcher.claude(SessionId(made)).thinks = True
        return made

    async def question(self, session: str) -> str:
        """Let its claude ask; returns the question's id."""
        self.launcher.claude(SessionId(session)).think(still=False)
        question = await self.engine.question(session)
        assert question is not None
        return question.id


@contextlib.asynccontextmanager
async def served(folder: Path, *, rates: Rates = LOCAL) -> AsyncIterator[Place]:
    """Lets in `CLIENTS`; each at these rates."""
    launcher = PaperLauncher(folder / "sessions")
    async with running_engine(folder, launcher) as engine, contextlib.AsyncExitStack() as stack:
        requests = Requests(engine.registry, lambda: {}, lambda path: path)
        daemon = Daemon("1", 1, requests, lambda end: None)

        async def serve(channel: SocketChannel) -> None:
            talk = Conversation(channel, engine.registry, daemon, engine.log, urgent=channel.urgent, rates=rates)
            await talk.serve()

        server = LocalServer(folder / "daemon.sock", serve, {}, clients_max=CLIENTS)
        await server.start(rng=Random(1))
        stack.push_async_callback(server.stop)
        yield Place(engine, launcher, folder / "daemon.sock", stack)


def message(session: str, text: str = "x") -> Send:
    return Send(session=session, key=str(uuid.uuid4()), text=text)


async def refused(link: Connection, request: Request) -> tuple[str, Refusal | None]:
    """Code and refusal of a request that is not done."""
    with pytest.raises(BetcodeError) as error:
        await link.request(request)
    assert error.value.exit_status == 4
    return error.value.code, error.value.refusal


def done(outcomes: list[Any]) -> list[dict[str, Any]]:
    return [outcome for outcome in outcomes if isinstance(outcome, dict)]


@pytest.mark.req("INV-4", "INV-8", "PS-9")
def test_one_client_too_many_is_told_which_limit_and_when_to_come_again_and_the_others_go_on(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path) as place:
            links = [await place.connect() for _ in range(CLIENTS)]
            with pytest.raises(BetcodeError) as error:
                await place.connect()
            assert (error.value.code, error.value.exit_status) == ("limit.connections", 4)
            assert error.value.refusal == Refusal("connections_max", "daemon", 1_000)
            with pytest.raises(BetcodeError) as also:
                await asyncio.to_thread(brief.ask, place.socket, "status")
            assert also.value.view() == error.value.view()
            assert await asyncio.gather(*(link.request(Ping()) for link in links)) == [{}] * CLIENTS

    asyncio.run(run())


@pytest.mark.req("INV-8")
def test_an_answer_and_an_interrupt_go_through_when_everything_else_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path) as place:
            links = [await place.connect() for _ in range(CLIENTS)]
            asks, works = [await place.session(links[0]) for _ in range(2)]
            for session in (asks, works):
                await links[0].request(message(session))
                await place.engine.until(session, lambda s: bool(s.turn and s.turn.begun))
            question = await place.question(asks)
            world = place.engine.registry.world
            world.ceilings = replace(DELIVERED, messages=2, bytes=0)
            world.policy = replace(world.policy, clients_per_session_max=1)
            await links[0].request(Attach(session=asks))

            assert (await refused(links[0], message(works)))[0] == "limit.messages"
            assert await refused(links[1], Attach(session=asks)) == (
                "limit.connections",
                Refusal("clients_per_session_max", "session", 1_000),
            )
            urgent = await place.connect(urgent=True)
            for request in (message(works), Attach(session=works), Create(directory="/")):
                assert (await refused(urgent, request))[0] == "limit.connections"
            assert (await urgent.request(Show(session=works)))["session"]["id"] == works
            assert (await urgent.request(Answer(permission=question, allow=True)))["state"] == "ALLOWED"
            assert (await urgent.request(Interrupt(session=works)))["held"] == 0
            assert (await urgent.request(Clear(session=works)))["cancelled"] == []
            await place.engine.until(asks, lambda s: s.turn is None)

    asyncio.run(run())


@pytest.mark.req("INV-4", "INV-8")
def test_a_flood_of_messages_fills_its_own_session_and_no_other(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path) as place:
            world = place.engine.registry.world
            world.policy = replace(world.policy, messages_waiting_max=5)
            world.ceilings = replace(DELIVERED, messages=8, session_bytes=1_000)
            links = [await place.connect() for _ in range(20)]
            flood, quiet, large = [await place.session(links[0]) for _ in range(3)]
            outcomes = await asyncio.gather(
                *(link.request(message(flood)) for link in links for _ in range(3)), return_exceptions=True
            )
            assert len(done(outcomes)) == 5
            told = {(e.code, e.refusal) for e in outcomes if isinstance(e, BetcodeError)}
            assert told == {("session.queue_full", Refusal("messages_waiting_max", "session", 5_000))}
            assert not (await links[0].request(message(quiet)))["duplicate"]
            await links[0].request(message(large, "x" * 900))
            assert await refused(links[0], message(large, "x" * 101)) == (
                "session.queue_full",
                Refusal("session_message_bytes_max", "session", 5_000),
            )

    asyncio.run(run())


@pytest.mark.req("INV-8", "INV-1")
def test_of_many_messages_at_once_exactly_as_many_are_taken_in_all_as_may_be_and_a_known_one_always_is(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        async with served(tmp_path) as place:
            place.engine.registry.world.ceilings = replace(DELIVERED, messages=12)
            links = [await place.connect() for _ in range(16)]
            sessions = [await place.session(links[0]) for _ in range(4)]
            sent = [message(session) for session, _ in itertools.product(sessions, range(8))]
            outcomes = await asyncio.gather(
                *(link.request(one) for link, one in zip(itertools.cycle(links), sent, strict=False)),
                return_exceptions=True,
            )
            assert len(done(outcomes)) == 12
            told = {(e.code, e.refusal) for e in outcomes if isinstance(e, BetcodeError)}
            assert told == {("limit.messages", Refusal("messages_in_flight_max", "daemon", 5_000))}
            taken = next(one for one, outcome in zip(sent, outcomes, strict=True) if isinstance(outcome, dict))
            assert (await links[0].request(taken))["duplicate"], "it was acknowledged once, and is again"
            load = (await links[0].request(GetStatus()))["load"]
            assert (load["messages"], load["messages_max"], load["message_bytes"]) == (12, 12, 12)

    asyncio.run(run())


@pytest.mark.req("INV-8")
def test_background_sessions_are_refused_first(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path) as place:
            place.engine.registry.world.ceilings = replace(DELIVERED, messages=4)
            link = await place.connect()
            program, person = await place.session(link, background=True), await place.session(link)
            for _ in range(3):
                await link.request(message(program))
            assert await refused(link, message(program)) == (
                "limit.messages",
                Refusal("background_messages_in_flight_max", "daemon", 5_000),
            )
            await link.request(message(person))
            assert (await refused(link, message(person)))[0] == "limit.messages"

    asyncio.run(run())


@pytest.mark.req("INV-4", "INV-8")
def test_a_listener_with_rates_slows_down_each_client_by_itself(tmp_path: Path) -> None:
    async def run() -> None:
        slow = TokenBucket.full(2, 0.001)
        async with served(tmp_path, rates=Rates(sessions=slow, messages=slow)) as place:
            greedy, other = await place.connect(), await place.connect()
            key = str(uuid.uuid4())
            first = (await greedy.request(Create(directory="/", key=key)))["session"]["id"]
            assert (await greedy.request(Create(directory="/", key=key)))["session"]["id"] == first
            session = await place.session(greedy)
            await greedy.request(message(session))
            await greedy.request(message(session))
            for request in (Create(directory="/"), message(session)):
                code, refusal = await refused(greedy, request)
                assert refusal is not None
                assert (code, refusal.scope) == ("limit.rate", "client")
                assert 0 < refusal.retry_after_ms <= 1_000_000
            await place.session(other)

    asyncio.run(run())
