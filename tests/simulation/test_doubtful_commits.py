"""A commit that fails may have taken effect all the same: nothing is lost, doubled or shown too early because of it."""

from collections.abc import Coroutine
from contextlib import suppress
from itertools import pairwise
from random import Random
from typing import Any

import msgspec
import pytest

from betcode.core import inputs
from betcode.engine.feed import Feed, Subscription
from betcode.engine.registry import Registry
from betcode.engine.world import World
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.ids import SessionId
from betcode.model.rows import Options, SessionRow, Transaction
from betcode.testing.simulator.daemon import ModelClock, ModelLog, ModelMarks, ModelMeter
from betcode.testing.simulator.incarnation import Incarnation
from betcode.testing.simulator.launcher import ModelLauncher
from betcode.testing.simulator.ledger import Ledger
from betcode.testing.simulator.machine import Machine
from betcode.testing.simulator.pace import Pace
from betcode.testing.simulator.plan import make_plan
from betcode.testing.simulator.stage import Stage
from betcode.testing.simulator.store import ModelDisk, ModelStore
from betcode.testing.simulator.truth import Truth

KEY = "11111111-1111-4111-8111-111111111111"


class DoubtfulStore(ModelStore):
    """Reports each commit as `reports` says: "" when it went well, otherwise as failed, before or after it was done."""

    reports: list[str] = []  # noqa: RUF012 - set anew in each test
    read_at_s: list[float] = []  # noqa: RUF012 - the same

    async def commit(self, transaction: Transaction) -> None:
        report = self.reports.pop(0) if self.reports else ""
        if report != "before":
            await super().commit(transaction)
        if report:
            raise self._failure()

    async def session(self, session: SessionId) -> SessionRow | None:
        self.read_at_s.append(self._stage.now_s)
        return await super().session(session)


class Place:
    """A registry on a model machine in which nothing else goes wrong."""

    def __init__(self) -> None:
        self.stage = Stage(make_plan(0))
        ledger = Ledger(self.stage)
        truth = Truth(self.stage, ledger)
        self.machine = Machine(self.stage, truth, ledger)
        self.pace = Pace(self.stage)
        life = Incarnation(1)
        disk = ModelDisk(self.stage, ledger)
        self.store = DoubtfulStore(disk, life, self.stage, self.pace, Random(1))
        self.store.reports, self.store.read_at_s = [], []
        world = World(
            store=self.store,
            launcher=ModelLauncher(self.machine, life, self.pace, Random(2)),
            marks=ModelMarks({}, life),
            clock=ModelClock(self.stage),
            rng=Random(3),
            log=ModelLog(self.stage, life, {}),
            meter=ModelMeter(),
        )
        numbers = Random(4)
        self.registry = Registry(world, new_uuid=lambda: f"{numbers.getrandbits(128):032x}")
        self.stage.loop.unix_connect = self.machine.connect

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        async def whole() -> None:
            await work
            await self.registry.close()

        self.stage.loop.run_until_complete(whole())

    async def create(self) -> SessionId:
        return await self.registry.create("/work", "one", Options(), KEY)


@pytest.mark.req("INV-1")
@pytest.mark.parametrize("report", ["before", "after"])
def test_a_session_whose_creation_seemed_to_fail_is_made_once(report: str) -> None:
    place = Place()

    async def work() -> None:
        place.store.reports = [report]
        with pytest.raises(BetcodeError, match="the disk failed"):
            await place.create()
        assert not place.registry.summaries()
        made = await place.create()
        assert await place.create() == made
        assert [row.id for row in await place.store.sessions()] == [made]

    place.run(work())


@pytest.mark.req("INV-1")
def test_nobody_is_told_of_a_session_before_it_is_stored() -> None:
    place = Place()

    async def one() -> bool:
        try:
            made = await place.create()
        except BetcodeError:
            return False
        return made in [row.id for row in await place.store.sessions()]

    async def work() -> None:
        place.store.reports = ["before"]
        told = [place.stage.loop.create_task(one()) for _ in range(3)]
        assert [await answer for answer in told] == [False, True, True]

    place.run(work())


@pytest.mark.req("INV-2")
def test_events_of_a_commit_that_seemed_to_fail_are_sent_once_and_in_order() -> None:
    place = Place()
    sent: list[int] = []

    async def look(subscription: Subscription) -> None:
        while (frame := await subscription.take(place.store)) is not None:
            sent.extend(event["seq"] for event in msgspec.json.decode(frame)["events"])

    async def work() -> None:
        made = await place.create()
        runner = place.registry.runner(made)
        subscription = Subscription(runner.feed, 1, 0)
        for number, report in enumerate(("", "after", "", "")):
            place.store.reports = [report]
            with suppress(BetcodeError):
                await runner.ask(lambda t, n=number: inputs.Rename(t, f"name {n}"))  # type: ignore[misc]
            if number != 1:  # whoever looks just then sees either
                await look(subscription)

    place.run(work())
    assert sent == [1, 2, 3, 4]


@pytest.mark.req("INV-2")
def test_nobody_is_sent_what_is_stored_and_not_published_yet() -> None:
    place = Place()

    async def work() -> None:
        made = await place.create()
        runner = place.registry.runner(made)
        for number in range(3):
            await runner.ask(lambda t, n=number: inputs.Rename(t, f"name {n}"))  # type: ignore[misc]
        behind = Subscription(Feed(made, epoch=1, seq=2), 1, 0)
        frame = await behind.take(place.store)
        assert frame is not None
        assert [event["seq"] for event in msgspec.json.decode(frame)["events"]] == [1, 2]

    place.run(work())


@pytest.mark.req("INV-5")
def test_a_session_that_cannot_be_stored_begins_again_after_growing_delays() -> None:
    place = Place()

    async def work() -> None:
        made = await place.create()
        runner = place.registry.runner(made)
        place.store.read_at_s.clear()
        for number in range(6):
            place.store.reports = ["before"]
            with pytest.raises(BetcodeError, match="the disk failed"):
                await runner.ask(lambda t, n=number: inputs.Rename(t, f"name {n}"))  # type: ignore[misc]

    place.run(work())
    times = place.store.read_at_s
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert len(waits) >= 5
    for number, wait_s in enumerate(waits, 1):
        assert wait_s >= min(limits.BACKOFF_MAX_S, limits.BACKOFF_FIRST_S * 2 ** (number - 1)) / 2
