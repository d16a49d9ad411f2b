"""The circuit breaker, for any order of attempts, outcomes, times and restarts."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from betcode.core.breaker import Breaker, Change, Snapshot, State, Ticket, Wait
from betcode.model.breaker_limits import BreakerSettings

SETTINGS = BreakerSettings(failures=3, window_s=60.0, open_s=60.0, open_max_s=600.0, probes=2, probe_wait_s=30.0)


def made(settings_: BreakerSettings = SETTINGS, seed: int = 0) -> Breaker:
    def broke(error: Exception) -> None:
        raise AssertionError(error)

    return Breaker(settings_, Random(seed), on_error=broke)


def opened(at_s: float = 0.0, settings_: BreakerSettings = SETTINGS) -> Breaker:
    breaker = made(settings_)
    for _ in range(settings_.failures):
        ticket = breaker.ask(at_s)
        assert isinstance(ticket, Ticket)
        breaker.failed(ticket, at_s)
    assert breaker.state(at_s) is State.OPEN
    return breaker


@dataclass
class World:
    """A breaker, a clock, and who holds tickets."""

    breaker: Breaker
    now_s: float = 1_000.0
    held: list[Ticket] = field(default_factory=list)
    begun: dict[Ticket, float] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)


STEPS = st.one_of(
    st.tuples(st.just("ask"), st.just(0.0)),
    st.tuples(st.just("succeed"), st.floats(0, 1)),
    st.tuples(st.just("fail"), st.floats(0, 1)),
    st.tuples(st.just("fail_after"), st.floats(0, 1)),
    st.tuples(st.just("drop"), st.floats(0, 1)),
    st.tuples(st.just("wait"), st.floats(0, 200)),
    st.tuples(st.just("restart"), st.just(0.0)),
)


def do(world: World, step: tuple[str, float]) -> None:
    kind, amount = step
    breaker, now_s = world.breaker, world.now_s
    if kind == "wait":
        world.now_s += amount
    elif kind == "ask":
        found = breaker.ask(now_s)
        if isinstance(found, Ticket):
            world.held.append(found)
            world.begun[found] = now_s
        else:
            assert found.retry_at_s > now_s or breaker.state(now_s) is State.HALF_OPEN
    elif kind == "restart":
        stored = msgspec.json.decode(msgspec.json.encode(breaker.snapshot()), type=Snapshot)
        until_s = breaker.retry_at_s if breaker.state(now_s) is State.OPEN else 0.0
        world.breaker = made(breaker.settings)
        world.breaker.listen(world.changes.append)
        world.breaker.restore(stored)
        assert until_s == (world.breaker.retry_at_s if world.breaker.state(now_s) is State.OPEN else 0.0)
    elif world.held:
        ticket = world.held.pop(int(amount * (len(world.held) - 1)))
        if kind == "succeed":
            breaker.succeeded(ticket, now_s)
        elif kind == "fail":
            breaker.failed(ticket, now_s)
        elif kind == "fail_after":
            breaker.failed(ticket, now_s, retry_after_s=amount * 1_000)
        else:
            breaker.dropped(ticket, now_s)


@pytest.mark.req("CB-1", "INV-5")
@settings(max_examples=300)
@given(st.lists(STEPS, max_size=60))
def test_nobody_passes_an_open_breaker_and_no_more_probes_run_than_may(steps: list[tuple[str, float]]) -> None:
    world = World(made())
    world.breaker.listen(world.changes.append)
    for step in steps:
        before = world.breaker.state(world.now_s)
        count = len(world.held)
        do(world, step)
        if step[0] == "ask" and before is State.OPEN:
            assert len(world.held) == count, "let through while open"
        probes = [t for t in world.held if t.probe and t.generation == world.breaker.snapshot().generation]
        live = [t for t in probes if world.now_s - world.begun[t] < SETTINGS.probe_wait_s]
        assert len(live) <= SETTINGS.probes
    for change in world.changes:
        assert change.before is not change.after or change.after is not State.HALF_OPEN
        if change.after is State.OPEN:
            assert change.retry_at_s >= change.at_s


@pytest.mark.req("CB-1")
@settings(max_examples=200)
@given(st.lists(STEPS, max_size=40), st.floats(0, 3_000))
def test_no_breaker_stays_shut_for_ever(steps: list[tuple[str, float]], later_s: float) -> None:
    world = World(made())
    for step in steps:
        do(world, step)
    world.now_s += SETTINGS.open_max_s * 2 + SETTINGS.probe_wait_s + later_s
    assert isinstance(world.breaker.ask(world.now_s), Ticket)


@pytest.mark.req("CB-1")
@given(st.floats(0, 10_000), st.floats(-1_000_000, 1_000_000))
def test_a_clock_that_is_set_back_or_forward_prolongs_no_pause(waited_s: float, jump_s: float) -> None:
    breaker = opened(1_000_000.0)
    longest = breaker.retry_at_s - 1_000_000.0
    now_s = 1_000_000.0 + waited_s + jump_s
    breaker.state(now_s)
    assert breaker.state(now_s + longest + 0.001) is not State.OPEN  # the sums are rounded


@pytest.mark.req("CB-1")
@given(st.integers(0, 40), st.integers(0, 1_000))
def test_pauses_double_up_to_the_cap_with_jitter_that_never_shortens_them(rounds: int, seed: int) -> None:
    breaker = made(seed=seed)
    now_s = 0.0
    for _ in range(3):
        ticket = breaker.ask(now_s)
        assert isinstance(ticket, Ticket)
        breaker.failed(ticket, now_s)
    for number in range(rounds + 1):
        pause = breaker.retry_at_s - now_s
        least = min(SETTINGS.open_max_s, SETTINGS.open_s * 2.0**number)
        assert least <= pause <= least * (1 + SETTINGS.jitter) + 1e-6
        now_s = breaker.retry_at_s
        probe = breaker.ask(now_s)
        assert isinstance(probe, Ticket)
        assert probe.probe
        breaker.failed(probe, now_s)


@pytest.mark.req("CB-1")
def test_a_time_that_the_dependency_names_counts_instead_of_the_doubling() -> None:
    breaker = opened()
    probe = breaker.ask(1_000.0)
    assert isinstance(probe, Ticket)
    breaker.failed(probe, 1_000.0, retry_after_s=7.0)
    assert 7.0 <= breaker.retry_at_s - 1_000.0 <= 7.0 * (1 + SETTINGS.jitter)


@pytest.mark.req("CB-1")
def test_failures_outside_the_window_do_not_count() -> None:
    breaker = made()
    for at_s in (0.0, 30.0, 61.0, 91.0, 122.0):
        ticket = breaker.ask(at_s)
        assert isinstance(ticket, Ticket)
        breaker.failed(ticket, at_s)
        assert breaker.state(at_s) is State.CLOSED


@pytest.mark.req("CB-1")
def test_a_probe_that_dies_or_hangs_frees_its_place() -> None:
    one = BreakerSettings(failures=1, window_s=60, open_s=10, open_max_s=60, probes=1, probe_wait_s=30)
    breaker = opened(0.0, one)
    probe = breaker.ask(20.0)
    assert isinstance(probe, Ticket)
    assert isinstance(breaker.ask(20.0), Wait)
    breaker.dropped(probe, 21.0)
    second = breaker.ask(21.0)
    assert isinstance(second, Ticket)
    assert isinstance(breaker.ask(50.0), Wait)
    assert isinstance(breaker.ask(51.0), Ticket)
    breaker.succeeded(second, 52.0)  # it was given up: what it says now counts no more
    assert breaker.state(52.0) is State.HALF_OPEN


@pytest.mark.req("CB-1")
def test_a_late_outcome_of_an_older_generation_changes_nothing() -> None:
    breaker = made()
    early = [breaker.ask(0.0) for _ in range(5)]
    tickets = [ticket for ticket in early if isinstance(ticket, Ticket)]
    assert len(tickets) == 5
    for ticket in tickets[:3]:
        breaker.failed(ticket, 1.0)
    until_s = breaker.retry_at_s
    breaker.failed(tickets[3], 2.0, retry_after_s=10_000.0)
    breaker.succeeded(tickets[4], 2.0)
    assert (breaker.state(2.0), breaker.retry_at_s) == (State.OPEN, until_s)


@pytest.mark.req("CB-1")
def test_by_hand_it_opens_until_a_time_and_closes_at_once() -> None:
    breaker = made()
    breaker.force_open(0.0, 3_600.0, "a usage window")
    wait = breaker.ask(3_599.0)
    assert wait == Wait(3_600.0, "a usage window")
    breaker.reset(10.0)
    assert isinstance(breaker.ask(10.0), Ticket)


@pytest.mark.req("CB-1")
def test_a_listener_that_fails_stops_nothing_and_is_not_lost() -> None:
    lost: list[Exception] = []
    seen: list[State] = []
    breaker = Breaker(SETTINGS, Random(0), on_error=lost.append)
    breaker.listen(lambda change: 1 / 0)  # type: ignore[arg-type]
    breaker.listen(lambda change: seen.append(change.after))
    breaker.force_open(0.0, 10.0, "x")
    assert breaker.state(11.0) is State.HALF_OPEN
    assert seen == [State.OPEN, State.HALF_OPEN]
    assert [type(error) for error in lost] == [ZeroDivisionError] * 2
