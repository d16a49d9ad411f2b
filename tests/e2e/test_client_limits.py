"""More clients than allowed are refused with what to do, each alone, and those that are there go on (PS-9, INV-8)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from betcode.client.connection import Connection
from betcode.config.tree import Config, DaemonConfig
from betcode.daemon.bounds import clients_max
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.frames import Attach, Hello, Ping
from betcode.testing.installation import Installation, installation, session_of

CLIENTS = 8
PER_SESSION = 3


@pytest.fixture(scope="module")
def made() -> Iterator[Installation]:
    with installation() as one:
        one.env["BETCODE_DAEMON_CONNECTIONS_MAX"] = str(CLIENTS)
        one.env["BETCODE_DAEMON_CLIENTS_PER_SESSION_MAX"] = str(PER_SESSION)
        yield one


async def connect(made: Installation) -> Connection:
    return await Connection.open(made.paths.socket, Hello(client="test", protocol=[]), lambda frame: None)


@pytest.mark.req("PS-9", "INV-8")
def test_of_many_clients_that_come_at_once_no_more_than_allowed_are_let_in_and_a_place_is_free_again(
    made: Installation,
) -> None:
    async def run() -> None:
        await made.start_daemon()
        came = await asyncio.gather(*(connect(made) for _ in range(3 * CLIENTS)), return_exceptions=True)
        inside = [one for one in came if isinstance(one, Connection)]
        refused = [one for one in came if isinstance(one, BetcodeError)]
        assert (len(inside), len(inside) + len(refused)) == (CLIENTS, 3 * CLIENTS), came
        assert {error.code for error in refused} == {"limit.connections"}
        assert all(error.hint for error in refused)
        for one in inside:
            assert await one.request(Ping()) == {}
        await inside.pop().close()
        end = asyncio.get_running_loop().time() + 30
        while True:  # the daemon hears of the end a moment later
            try:
                inside.append(await connect(made))
                break
            except BetcodeError:
                assert asyncio.get_running_loop().time() < end
        for one in inside:
            await one.close()

    asyncio.run(run())


@pytest.mark.req("PS-9", "INV-8")
def test_a_session_with_as_many_clients_as_allowed_takes_no_more_and_another_session_does(made: Installation) -> None:
    async def run() -> None:
        async with made.client() as client, session_of(made, client) as full, session_of(made, client) as other:
            links = [await connect(made) for _ in range(PER_SESSION + 1)]
            for link in links[:PER_SESSION]:
                await link.request(Attach(session=full))
                await link.request(Attach(session=full))  # again counts once
            with pytest.raises(BetcodeError) as refused:
                await links[-1].request(Attach(session=full))
            assert refused.value.code == "limit.connections"
            assert refused.value.hint
            await links[-1].request(Attach(session=other))
            await links[0].close()
            end = asyncio.get_running_loop().time() + 30
            while True:
                try:
                    await links[-1].request(Attach(session=full))
                    break
                except BetcodeError:
                    assert asyncio.get_running_loop().time() < end
            for link in links[1:]:
                await link.close()

    asyncio.run(run())


@pytest.mark.req("PS-9")
def test_as_many_clients_are_let_in_as_the_settings_say_and_descriptors_allow() -> None:
    usual = Config()
    assert clients_max(usual, limits.FILES_MAX) == usual.daemon.connections_max == 500
    assert usual.daemon.clients_per_session_max == 100
    assert clients_max(usual, 256) == 128
    assert clients_max(Config(daemon=DaemonConfig(connections_max=3_000)), 6_000) == 3_000
