"""The simulated socket keeps the order of what is sent on it, as a real one does."""

from __future__ import annotations

import asyncio
from functools import partial
from random import Random
from typing import Any

import pytest

from betcode.testing.simulator.plan import Plan
from betcode.testing.simulator.socket import ModelSocket
from betcode.testing.simulator.stage import Stage


class Ends(asyncio.Protocol):
    """Both ends: what arrived at each."""

    def __init__(self) -> None:
        self.up: list[bytes] = []
        self.down: list[bytes] = []

    def received(self, _socket: ModelSocket, data: bytes) -> None:
        self.up.append(data)

    def closed(self, _socket: ModelSocket) -> None:
        self.up.append(b"closed")

    def data_received(self, data: bytes) -> None:
        self.down.append(data)

    def connection_lost(self, _error: Any) -> None:
        self.down.append(b"closed")


@pytest.mark.req("INV-2")
def test_what_waits_for_the_same_moment_arrives_in_the_order_of_its_sending() -> None:
    """A stopped keeper makes all that is sent meanwhile due at its end: then timers differ in the last bit only."""
    numbers = [b"%d " % number for number in range(100)]
    for seed in range(60):
        stage = Stage(Plan(seed, 1, 1, 1, level={"link": 0.0}))
        ends, rng = Ends(), Random(seed)
        socket = ModelSocket(stage, ends, ends, rng)
        frozen_until_s = rng.uniform(1.0, 100.0)
        socket.frozen_until_s = partial(float, frozen_until_s)

        async def talk(socket: ModelSocket = socket, rng: Random = rng) -> None:
            for number in numbers:
                socket.send(number)
                socket.write(number)
                await asyncio.sleep(rng.uniform(0.0, 0.02))
            socket.shut()
            await asyncio.sleep(200.0)

        stage.loop.run_until_complete(talk())
        assert b"".join(ends.down) == b"".join(numbers) + b"closed", seed
        assert b"".join(ends.up) == b"".join(numbers), seed
