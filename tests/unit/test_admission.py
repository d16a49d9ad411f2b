"""Who is let in under load, and what one that is refused is told (INV-4, INV-8)."""

from __future__ import annotations

import json
import typing
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields

from betcode.cli.output import again_text
from betcode.core.admission import (
    DELIVERED,
    NEVER_REFUSED,
    Admitted,
    Ceilings,
    Kind,
    Load,
    Rates,
    Refused,
    Scope,
    admit,
    kind_of,
    remote,
)
from betcode.core.preview_room import to_shed
from betcode.engine.feed import Feed, Subscription
from betcode.engine.previews import Previews
from betcode.model import admission_limits, frames
from betcode.model.errors import CODES, EXHAUSTED, BetcodeError, Exit, Refusal, error_of
from betcode.model.events import Assistant
from betcode.model.facts import AnswerStarted, BlockStarted, Delta, TextBlock
from betcode.model.frames import AnyRequest
from betcode.model.ids import SessionId
from betcode.wire.client_api import decode_frame, encode_frame, failed

COUNT = st.integers(0, 20_000)
LOADS = st.builds(
    Load,
    clients=COUNT,
    session_clients=COUNT,
    session_messages=COUNT,
    session_bytes=st.integers(0, 2**40),
    messages=COUNT,
    bytes=st.integers(0, 2**40),
)
SMALL = Ceilings(clients=4, session_clients=2, session_messages=3, session_bytes=100, messages=8, bytes=400)


@pytest.mark.req("INV-8")
@given(st.sampled_from(sorted(NEVER_REFUSED)), LOADS, st.booleans())
def test_an_answer_a_cancel_and_a_question_are_let_in_whatever_the_load(
    kind: Kind, load: Load, background: bool
) -> None:
    empty = Rates(*(replace(bucket, tokens=0.0) for bucket in (remote(0.0).sessions, remote(0.0).messages) if bucket))
    assert isinstance(admit(kind, load, SMALL, 0.0, rates=empty, background=background), Admitted)


@pytest.mark.req("INV-8")
@given(st.sampled_from(sorted(Kind)), LOADS, st.integers(0, 2**30), st.booleans())
def test_a_refusal_names_a_limit_whose_it_is_and_when_to_come_again(
    kind: Kind, load: Load, size: int, background: bool
) -> None:
    decision = admit(kind, load, DELIVERED, 0.0, size=size, background=background)
    if isinstance(decision, Refused):
        error = decision.error()
        assert error.refusal == Refusal(decision.limit, decision.scope.value, decision.retry_after_ms)
        assert CODES[error.code].exit is Exit.RATE_LIMITED
        assert decision.limit
        assert decision.hint
        assert decision.retry_after_ms > 0


@pytest.mark.req("INV-8")
def test_every_request_that_lessens_the_load_is_one_that_is_never_refused() -> None:
    more = {"Create", "Send", "Attach", "Tap", "Watch"}
    for kind in typing.get_args(AnyRequest):
        request: AnyRequest = kind(**{field.name: "" for field in fields(kind) if field.required})
        assert (kind_of(request) in NEVER_REFUSED) is (kind.__name__ not in more), kind


@pytest.mark.req("INV-8", "INV-4")
@pytest.mark.parametrize(
    "kind, load, size, limit, scope",
    [
        (Kind.CONNECTION, Load(clients=4), 0, "connections_max", Scope.DAEMON),
        (Kind.SUBSCRIPTION, Load(session_clients=2), 0, "clients_per_session_max", Scope.SESSION),
        (Kind.MESSAGE, Load(session_messages=3, messages=8), 1, "messages_waiting_max", Scope.SESSION),
        (Kind.MESSAGE, Load(session_messages=1, session_bytes=99), 2, "session_message_bytes_max", Scope.SESSION),
        (Kind.MESSAGE, Load(messages=8), 1, "messages_in_flight_max", Scope.DAEMON),
        (Kind.MESSAGE, Load(messages=2, bytes=399), 2, "message_bytes_max", Scope.DAEMON),
    ],
)
def test_each_bound_is_reached_exactly_and_named(kind: Kind, load: Load, size: int, limit: str, scope: Scope) -> None:
    refused = admit(kind, load, SMALL, 0.0, size=size)
    assert isinstance(refused, Refused)
    assert (refused.limit, refused.scope) == (limit, scope)
    less = Load(
        clients=max(0, load.clients - 1),
        session_clients=max(0, load.session_clients - 1),
        session_messages=max(0, load.session_messages - 1),
        session_bytes=max(0, load.session_bytes - 1),
        messages=max(0, load.messages - 1),
        bytes=max(0, load.bytes - 1),
    )
    assert isinstance(admit(kind, less, SMALL, 0.0, size=size), Admitted)


@pytest.mark.req("INV-8")
def test_messages_of_background_sessions_are_refused_before_those_of_a_person() -> None:
    load = Load(messages=6)
    refused = admit(Kind.MESSAGE, load, SMALL, 0.0, background=True)
    assert isinstance(refused, Refused)
    assert refused.limit == "background_messages_in_flight_max"
    assert isinstance(admit(Kind.MESSAGE, load, SMALL, 0.0), Admitted)
    assert isinstance(admit(Kind.MESSAGE, Load(messages=5), SMALL, 0.0, background=True), Admitted)


@pytest.mark.req("INV-8")
def test_a_client_from_elsewhere_is_slowed_down_after_a_burst_and_a_local_one_is_not() -> None:
    rates, let_in = remote(0.0), 0
    while isinstance(decision := admit(Kind.MESSAGE, Load(), SMALL, 0.0, rates=rates), Admitted):
        rates, let_in = decision.rates, let_in + 1
    assert let_in == admission_limits.MESSAGES_BURST
    assert (decision.code, decision.scope) == ("limit.rate", Scope.CLIENT)
    assert decision.retry_after_ms == 1000 / admission_limits.MESSAGES_PER_S
    assert isinstance(admit(Kind.SESSION, Load(), SMALL, 0.0, rates=rates), Admitted), "sessions have their own bucket"
    assert isinstance(admit(Kind.MESSAGE, Load(), SMALL, decision.retry_after_ms / 1000, rates=rates), Admitted)
    for _ in range(10 * let_in):
        assert admit(Kind.MESSAGE, Load(), SMALL, 0.0) == Admitted()


@pytest.mark.req("INV-8")
def test_a_message_that_is_refused_for_another_reason_takes_no_token() -> None:
    rates = remote(0.0)
    assert isinstance(admit(Kind.MESSAGE, Load(messages=8), SMALL, 0.0, rates=rates), Refused)
    assert rates == remote(0.0)


@pytest.mark.req("INV-8")
def test_a_refusal_is_the_same_on_both_sides_of_the_wire() -> None:
    refused = admit(Kind.MESSAGE, Load(messages=8), SMALL, 0.0)
    assert isinstance(refused, Refused)
    frame = decode_frame(encode_frame(failed(7, refused.error())))
    assert isinstance(frame, frames.Failed)
    assert (frame.status, frame.limit, frame.scope) == (EXHAUSTED, "messages_in_flight_max", "daemon")
    back = error_of(refused.error().view())
    assert (back.code, back.refusal, back.exit_status) == ("limit.messages", refused.error().refusal, 4)
    newer = error_of(refused.error().view() | {"code": "limit.of_tomorrow"})
    assert (newer.code, newer.exit_status) == ("internal", 4)
    plain = BetcodeError("session.closed", "m", hint="h")
    assert plain.view() == {"code": "session.closed", "message": "m", "hint": "h"}
    sent = decode_frame(encode_frame(failed(7, plain)))
    assert isinstance(sent, frames.Failed)
    assert (sent.status, sent.limit, sent.retry_after_ms) == ("", "", None)


@pytest.mark.parametrize(
    "milliseconds, text", [(1, "1 s"), (1_001, "2 s"), (119_000, "119 s"), (120_000, "2 min"), (86_400_000, "24 h")]
)
def test_people_are_told_when_to_try_again(milliseconds: int, text: str) -> None:
    assert again_text(Refusal("x", "daemon", milliseconds)) == f"try again in {text}"


# --- previews -------------------------------------------------------------------------------------------------------


@pytest.mark.req("INV-4", "INV-8")
@given(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 100)), st.integers(0, 300))
def test_the_largest_previews_go_and_no_more_than_must(used: dict[str, int], most: int) -> None:
    shed = to_shed(used, most)
    kept = {name: size for name, size in used.items() if name not in shed}
    assert sum(kept.values()) <= most
    if shed:
        assert sum(kept.values()) + used[shed[-1]] > most
        assert min(used[name] for name in shed) >= max(kept.values(), default=0)


class Screen:
    """A session's previews."""

    def __init__(self) -> None:
        self.sheds = 0

    def shed(self) -> None:
        self.sheds += 1


@pytest.mark.req("INV-4", "INV-8")
def test_a_flood_in_one_session_takes_no_preview_of_another() -> None:
    room, flood, quiet = Previews(most=100), Screen(), Screen()
    room.note("quiet", quiet, 30)
    for chars in range(0, 1_000, 10):
        room.note("flood", flood, 0 if flood.sheds else chars)
        assert room.total <= 100
    assert (flood.sheds, quiet.sheds, room.total) == (1, 0, 30)
    room.note("quiet", quiet, 0)
    assert room.total == 0


@pytest.mark.req("INV-4", "INV-8")
def test_a_block_whose_preview_was_left_out_is_shown_when_it_is_complete_and_the_next_one_as_always() -> None:
    room = Previews(most=10)
    feed, other = Feed(SessionId("a"), 1, 0, room), Feed(SessionId("b"), 1, 0, room)
    seen = Subscription(feed, 1, 0)

    def frame() -> Any:
        data = seen.take_now()
        return None if data is None else json.loads(data)

    feed.transcript.read([AnswerStarted("", "m"), BlockStarted("", 0, "text"), Delta("", 0, "text", "hello")])
    feed.wake()
    assert frame()["previews"][0]["text"] == "hello"
    other.transcript.read([AnswerStarted("", "m"), BlockStarted("", 0, "text"), Delta("", 0, "text", "four")])
    other.wake()
    feed.transcript.read([Delta("", 0, "text", " to all")])
    feed.wake()
    told = frame()
    assert (told["previews"], told["passing"][0]["name"]) == ([], "previews")
    feed.transcript.read([Delta("", 0, "text", " of you")])
    feed.wake()
    assert frame() is None
    assert (room.total, other.transcript.chars) == (4, 4)
    ((_, (event,)),) = feed.transcript.read([TextBlock("", "m", "text", "hello to all of you")])
    assert isinstance(event, Assistant)
    assert (event.block, event.text) == ("m:0", "hello to all of you")
    feed.transcript.read([BlockStarted("", 1, "text"), Delta("", 1, "text", "bye")])
    feed.wake()
    assert frame()["previews"][0]["text"] == "bye"
