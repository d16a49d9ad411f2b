"""The line at an upstream, for any order of sessions, answers, refusals and times."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from betcode.core.breaker import Breaker, State
from betcode.core.failures.api import failure_of
from betcode.core.upstream import Upstream
from betcode.core.upstream_news import Answered, Refused, WindowTold
from betcode.model import upstream_limits as limits
from betcode.model.breaker_limits import API
from betcode.model.failures import ApiKind

START_S = 1_800_000_000.0


def made(seed: int = 0) -> Upstream:
    def broke(error: Exception) -> None:
        raise AssertionError(error)

    return Upstream("key", "api.example", Random(seed), Breaker(API, Random(seed), on_error=broke))


@dataclass
class One:
    """A session: it wants a turn, works, or rests."""

    name: str
    background: bool = False
    wants: bool = False
    works: bool = False


@dataclass
class World:
    """Sessions, their upstream, and the API behind it."""

    upstream: Upstream
    sessions: list[One]
    now_s: float = START_S
    begun_s: list[float] = field(default_factory=list)

    def settle(self, one: One) -> None:
        self.upstream.settle(
            one.name,
            self.now_s,
            wants=one.wants,
            starts=False,
            works=one.works,
            first=False,
            background=one.background,
        )

    def want(self, one: One) -> None:
        if not one.works:
            one.wants = True
            self.settle(one)

    def let_begin(self) -> list[One]:
        """All that may begin do."""
        begun = []
        for one in self.sessions:
            if one.wants and self.upstream.passage(one.name, self.now_s).begins:
                one.wants, one.works = False, True
                self.settle(one)
                self.begun_s.append(self.now_s)
                begun.append(one)
        return begun

    def answer(self, one: One) -> None:
        self.upstream.hear(one.name, Answered(), self.now_s)
        one.works = False
        self.settle(one)

    def refuse(self, one: One, kind: ApiKind, fingerprint: str = "a") -> None:
        self.upstream.hear(one.name, Refused(failure_of(kind), fingerprint), self.now_s)
        one.works, one.wants = False, True
        self.settle(one)

    @property
    def working(self) -> list[One]:
        return [one for one in self.sessions if one.works]


def world(count: int = 10, seed: int = 0) -> World:
    return World(made(seed), [One(f"s{number}", background=number % 3 == 2) for number in range(count)])


def opened(count: int = 10, kind: ApiKind = ApiKind.RATE_LIMIT) -> World:
    """All sessions were refused at once."""
    all_ = world(count)
    for one in all_.sessions:
        all_.want(one)
    assert len(all_.let_begin()) == count, "nothing is known against the upstream yet"
    for one in all_.sessions:
        all_.refuse(one, kind)
    return all_


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["want", "begin", "answer", "rate", "down", "window", "time", "die", "force"]),
        st.integers(0, 9),
        st.floats(0, 90),
    ),
    max_size=80,
)


@pytest.mark.req("RL-4", "RL-5", "INV-5")
@settings(max_examples=300)
@given(STEPS, st.integers(0, 99))
def test_nobody_begins_while_it_is_open_and_never_more_than_the_slow_start_lets(
    steps: list[tuple[str, int, float]], seed: int
) -> None:
    all_ = world(seed=seed)
    upstream = all_.upstream
    for what, number, amount in steps:
        one = all_.sessions[number]
        match what:
            case "want":
                all_.want(one)
            case "begin":
                state = upstream.breaker.state(all_.now_s)
                forced = {name for name, member in upstream.members.items() if member.forced}
                begun = [b for b in all_.let_begin() if b.name not in forced]
                if state is State.OPEN:
                    assert not begun, "begun while it is open"
                if state is State.HALF_OPEN:
                    assert len(begun) <= API.probes
                if upstream.width and begun:
                    assert len([w for w in all_.working if w.name not in forced]) <= max(upstream.width, len(begun))
            case "answer" if one.works:
                all_.answer(one)
            case "rate" if one.works:
                all_.refuse(one, ApiKind.RATE_LIMIT)
            case "down" if one.works:
                all_.refuse(one, ApiKind.NETWORK)
            case "window" if one.works:
                told = WindowTold("five_hour", "rejected", all_.now_s + amount * 60, 1.0)
                upstream.hear(one.name, told, all_.now_s)
                all_.refuse(one, ApiKind.USAGE_WINDOW)
            case "time":
                all_.now_s += amount
            case "die":
                upstream.leave(one.name, all_.now_s)
                one.works = one.wants = False
            case "force":
                upstream.force(one.name, all_.now_s)
            case _:
                pass


@pytest.mark.req("RL-3", "RL-4")
@settings(max_examples=200)
@given(STEPS, st.integers(0, 99))
def test_no_session_waits_for_ever_once_the_api_answers(steps: list[tuple[str, int, float]], seed: int) -> None:
    all_ = world(seed=seed)
    for what, number, amount in steps:
        one = all_.sessions[number]
        if what == "want":
            all_.want(one)
        elif what == "begin":
            all_.let_begin()
        elif what == "time":
            all_.now_s += amount
        elif what in ("rate", "down", "window") and one.works:
            all_.refuse(one, ApiKind.RATE_LIMIT)
        elif what == "die":
            all_.upstream.leave(one.name, all_.now_s)
            one.works = one.wants = False
    for one in all_.sessions:
        all_.want(one)
    for _ in range(500):
        for one in all_.working:
            all_.answer(one)
        all_.let_begin()
        if not any(one.wants or one.works for one in all_.sessions):
            break
        due_s = all_.upstream.due_s(all_.now_s)
        assert due_s is not None or all_.working, "somebody waits, and nothing will ever change that"
        all_.now_s = due_s if due_s is not None and not all_.working else all_.now_s + 0.5
        all_.upstream.arrange(all_.now_s)
    assert not [one.name for one in all_.sessions if one.wants or one.works]
    assert all_.now_s < START_S + 90 * 80 + 3 * limits.OPEN_MAX_S


@pytest.mark.req("RL-4")
def test_after_a_pause_one_goes_first_then_two_then_four_and_people_before_programs() -> None:
    all_ = opened(12)
    assert all_.let_begin() == []
    all_.now_s = all_.upstream.breaker.retry_at_s
    sizes, order = [], []
    while any(one.wants for one in all_.sessions):
        wave = []
        for _ in range(20):
            all_.upstream.arrange(all_.now_s)
            wave += all_.let_begin()
            all_.now_s += limits.STAGGER_S / 4
        sizes.append(len(wave))
        order += [one.background for one in wave]
        for one in wave:
            all_.answer(one)
    assert sizes == [1, 2, 4, 5]
    assert order == sorted(order), "a background session went before a person's"


@pytest.mark.req("RL-4")
def test_a_new_refusal_halves_the_width() -> None:
    all_ = opened(12)
    all_.now_s = all_.upstream.breaker.retry_at_s
    for _ in range(3):
        wave = []
        for _ in range(20):
            all_.upstream.arrange(all_.now_s)
            wave += all_.let_begin()
            all_.now_s += limits.STAGGER_S / 4
        if len(wave) == 4:
            break
        for one in wave:
            all_.answer(one)
    assert (len(wave), all_.upstream.width) == (4, 4)
    all_.refuse(wave[0], ApiKind.RATE_LIMIT)
    assert all_.upstream.width == 2


@pytest.mark.req("RL-2")
def test_three_refusals_in_a_minute_open_it_and_two_do_not() -> None:
    all_ = world(3)
    for one in all_.sessions:
        all_.want(one)
    all_.let_begin()
    for number, one in enumerate(all_.sessions):
        assert all_.upstream.breaker.state(all_.now_s) is State.CLOSED
        all_.refuse(one, ApiKind.RATE_LIMIT)
        all_.now_s += 10 * number
    assert all_.upstream.breaker.state(all_.now_s) is State.OPEN
    assert all_.upstream.breaker.retry_at_s >= all_.now_s - 20 + limits.OPEN_S


@pytest.mark.req("RL-2")
def test_a_usage_window_stops_everybody_until_it_ends_and_one_of_a_family_only_its_models() -> None:
    all_ = world(3)
    opus, sonnet, other = all_.sessions
    all_.upstream.runs_on(opus.name, "claude-opus-5")
    all_.upstream.runs_on(sonnet.name, "claude-sonnet-5")
    ends_s = all_.now_s + 3_600
    all_.want(opus)
    all_.let_begin()
    all_.upstream.hear(opus.name, WindowTold("seven_day_opus", "rejected", ends_s, 1.0), all_.now_s)
    all_.refuse(opus, ApiKind.USAGE_WINDOW)
    for one in (sonnet, other):
        all_.want(one)
    assert {one.name for one in all_.let_begin()} == {sonnet.name, other.name}
    passage = all_.upstream.passage(opus.name, all_.now_s)
    assert (passage.begins, passage.until_unix_s) == (False, ends_s + limits.WINDOW_MARGIN_S)
    all_.upstream.hear(sonnet.name, WindowTold("five_hour", "rejected", ends_s - 60, 1.0), all_.now_s)
    all_.refuse(sonnet, ApiKind.USAGE_WINDOW)
    all_.now_s = ends_s - 61
    assert all_.let_begin() == []
    all_.now_s = ends_s + limits.WINDOW_MARGIN_S
    all_.upstream.arrange(all_.now_s)
    assert len(all_.let_begin()) == 1, "one goes first also after the end of a window"


@pytest.mark.req("RL-1", "CB-3")
def test_refused_credentials_stop_everything_until_they_change_and_one_session_tells() -> None:
    all_ = opened(4, ApiKind.CREDENTIALS)
    tellers = [one.name for one in all_.sessions if all_.upstream.passage(one.name, all_.now_s).teller]
    assert tellers == ["s0"]
    all_.now_s += 7 * 86_400
    all_.upstream.arrange(all_.now_s)
    assert all_.let_begin() == []
    all_.upstream.identified("a", all_.now_s)
    assert all_.let_begin() == []
    assert len(all_.upstream.identified("b", all_.now_s)) == 1, "one session tries the new ones first"
    assert len(all_.let_begin()) == 1


@pytest.mark.req("RL-3")
def test_a_person_can_force_one_try_in_ten_seconds_and_an_answer_ends_the_pause() -> None:
    all_ = opened(4)
    one = all_.sessions[2]
    all_.upstream.force(one.name, all_.now_s)
    assert [b.name for b in all_.let_begin()] == [one.name]
    until_s = all_.upstream.breaker.retry_at_s
    all_.refuse(one, ApiKind.RATE_LIMIT)
    assert all_.upstream.breaker.retry_at_s == until_s, "a forced try that fails prolongs nothing"
    all_.now_s += limits.FORCE_EVERY_S - 1
    all_.upstream.force(one.name, all_.now_s)
    assert all_.let_begin() == []
    assert all_.upstream.passage(one.name, all_.now_s).early_s == pytest.approx(1.0)
    all_.now_s += 1
    all_.upstream.force(one.name, all_.now_s)
    [tried] = all_.let_begin()
    all_.answer(tried)
    assert all_.upstream.breaker.state(all_.now_s) is State.CLOSED


@pytest.mark.req("RL-5", "CB-1")
def test_a_restart_forgets_neither_the_time_nor_the_width() -> None:
    all_ = opened(4)
    stored = all_.upstream.stored()
    later = made()
    later.breaker.restore(stored.breaker)
    later.width, later.pause = stored.width, stored.pause
    again = World(later, all_.sessions, all_.now_s + 30)
    for one in again.sessions:
        again.settle(one)
    assert again.let_begin() == []
    again.now_s = all_.upstream.breaker.retry_at_s
    again.upstream.arrange(again.now_s)
    assert len(again.let_begin()) == 1


@pytest.mark.req("CB-4")
def test_retries_that_nobody_answers_use_up_their_budget() -> None:
    all_ = world(1)
    [one] = all_.sessions
    begun = 0
    for _ in range(200):  # two failures in each window: never enough to open it by their number
        all_.want(one)
        begun += len(all_.let_begin())
        if one.works:
            all_.refuse(one, ApiKind.SERVER_ERROR)
        all_.now_s += 31
    assert begun < 200
    state = all_.upstream.breaker.snapshot()
    assert state.generation > 0, "it was never opened"
