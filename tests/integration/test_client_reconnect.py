"""A client and its daemon over a real socket: losses, restarts, refusals. The daemon is a small one, to be killed."""

import asyncio
import contextlib
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from betcode.client import brief
from betcode.client.client import Client
from betcode.client.session_view import Durable
from betcode.client.stream import FRAMES_AHEAD, Attached, Stream
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.frames import PROTOCOL, Interrupt, Ping, Send, Show
from betcode.testing.small_daemon import SESSION, SmallDaemon, client_of, running

KEY = "123e4567-e89b-42d3-a456-426614174000"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "daemon.sock"


async def seqs_until(stream: Stream, last: int) -> list[int]:
    found: list[int] = []
    async for item in stream:
        if isinstance(item, Durable):
            found.append(item.event["seq"])
            if found[-1] >= last:
                break
    return found


@pytest.mark.req("INV-2")
@pytest.mark.parametrize("seed", range(3))
def test_a_stream_survives_deaths_of_the_daemon_without_loss_or_repetition(path: Path, seed: int) -> None:
    rng = Random(seed)

    async def scenario() -> None:
        async with running(path, start=True) as (daemon, client), contextlib.aclosing(client.stream(SESSION)) as stream:
            daemon.pages = 3

            async def trouble() -> None:
                for _ in range(10):
                    await daemon.add(rng.randint(0, 9))
                    await asyncio.sleep(0)
                    if daemon._server is not None and rng.random() < 0.7:
                        await daemon.die()
                await daemon.add(100 - len(daemon.events))

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(trouble())
                assert await seqs_until(stream, 100) == list(range(1, 101))
            assert daemon.starts > 1

    asyncio.run(scenario())


@pytest.mark.req("INV-2")
def test_after_a_loss_the_stream_says_so_and_goes_on(path: Path) -> None:
    async def scenario() -> None:
        async with running(path, start=True) as (daemon, client), contextlib.aclosing(client.stream(SESSION)) as stream:
            first = await anext(stream)
            await daemon.die()
            second = await anext(stream)
            assert isinstance(first, Attached)
            assert isinstance(second, Attached)
            assert (first.again, second.again) == (False, True)

    asyncio.run(scenario())


@pytest.mark.req("INV-8", "INV-2")
def test_a_reader_that_lags_holds_few_frames_and_misses_nothing(path: Path) -> None:
    async def scenario() -> None:
        async with running(path) as (daemon, client), contextlib.aclosing(client.stream(SESSION)) as stream:
            daemon.pages = 1
            await anext(stream)
            await daemon.add(5 * FRAMES_AHEAD)
            await client.request(Ping())  # its reply comes after the frames: all of them were read
            assert len(stream._frames) == FRAMES_AHEAD
            assert await seqs_until(stream, 5 * FRAMES_AHEAD) == list(range(1, 5 * FRAMES_AHEAD + 1))

    asyncio.run(scenario())


@pytest.mark.req("INV-2")
def test_a_hole_that_stays_is_an_error_and_no_endless_loop(path: Path) -> None:
    async def scenario() -> None:
        async with running(path) as (daemon, client), contextlib.aclosing(client.stream(SESSION)) as stream:
            await daemon.add(9)
            del daemon.events[4]
            with pytest.raises(BetcodeError, match="event 5 of session") as caught:
                await seqs_until(stream, 9)
            assert caught.value.code == "internal"

    asyncio.run(scenario())


@pytest.mark.req("INV-1")
def test_a_message_without_a_reply_is_sent_again_under_its_key(path: Path) -> None:
    async def scenario() -> None:
        async with running(path, start=True) as (daemon, client):

            async def die_once(request: dict[str, Any]) -> dict[str, Any] | None:
                del daemon.answers["send"]
                await daemon.die()
                return None

            daemon.answers["send"] = die_once
            body = await client.request(Send(session=SESSION, key=KEY, text="hello"))
            assert body == {"message_id": KEY, "state": "queued", "duplicate": True}
            assert daemon.sent == [KEY, KEY]

    asyncio.run(scenario())


@pytest.mark.req("INV-1")
def test_an_interrupt_is_not_sent_twice(path: Path) -> None:
    async def scenario() -> None:
        async with running(path, start=True) as (daemon, client):
            seen = 0

            async def die(request: dict[str, Any]) -> dict[str, Any] | None:
                nonlocal seen
                seen += 1
                await daemon.die()
                return None

            daemon.answers["interrupt"] = die
            with pytest.raises(BetcodeError, match="whether it was done is unknown"):
                await client.request(Interrupt(session=SESSION))
            assert await client.request(Ping()) == {}
            assert seen == 1

    asyncio.run(scenario())


def test_without_a_daemon_and_a_way_to_start_one_the_error_comes_at_once(path: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(BetcodeError, match="no daemon is running") as caught:
            async with client_of(SmallDaemon(path)):
                pass
        assert caught.value.code == "daemon.unreachable"
        assert caught.value.exit_status == 2

    asyncio.run(scenario())


def test_a_client_starts_the_daemon_when_there_is_only_a_stale_socket(path: Path) -> None:
    async def scenario() -> None:
        daemon = SmallDaemon(path)
        await daemon.rise()
        await daemon.die()
        assert daemon.stale
        async with client_of(daemon, start=True) as client:
            assert await client.request(Ping()) == {}
        assert daemon.starts == 2
        await daemon.die()

    asyncio.run(scenario())


def test_an_error_of_the_first_start_reaches_the_caller_and_is_not_repeated(path: Path) -> None:
    async def scenario() -> None:
        tries = 0

        async def fail() -> None:
            nonlocal tries
            tries += 1
            raise BetcodeError("claude.not_found", "no claude", hint="install it")

        with pytest.raises(BetcodeError) as caught:
            async with Client(path, start_daemon=fail, rng=Random(1)):
                pass
        assert (caught.value.code, caught.value.hint, tries) == ("claude.not_found", "install it", 1)

    asyncio.run(scenario())


@pytest.mark.req("INV-5")
def test_a_daemon_that_never_comes_back_is_given_up_after_the_bound(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RECONNECT_TRIES", 4)

    async def scenario() -> None:
        async with running(path) as (daemon, client):
            await daemon.die()
            with pytest.raises(BetcodeError) as caught:
                await client.request(Ping())
            assert caught.value.code == "daemon.unreachable"

    asyncio.run(scenario())


@pytest.mark.parametrize("retry_after_s", [0.01, 0.5])
def test_after_a_goodbye_the_client_waits_for_the_daemon_and_does_not_start_it(
    path: Path, retry_after_s: float
) -> None:
    async def scenario() -> None:
        async with running(path, start=True) as (daemon, client):
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            await daemon.say({"type": "goodbye", "reason": "the daemon is stopping", "retry_after_s": retry_after_s})
            await daemon.die()
            waiting = loop.create_task(client.request(Ping()))
            await asyncio.wait([waiting], timeout=0.1)
            assert daemon.starts == 1
            await daemon.rise()
            assert await waiting == {}
            assert loop.time() - began_s >= retry_after_s

    asyncio.run(scenario())


def test_a_goodbye_for_good_ends_the_client(path: Path) -> None:
    async def scenario() -> None:
        async with running(path, start=True) as (daemon, client):
            await daemon.say({"type": "goodbye", "reason": "no hello", "retry_after_s": None})
            await daemon.die()
            with pytest.raises(BetcodeError, match="no hello") as caught:
                await client.request(Ping())
            assert caught.value.code == "daemon.stopping"

    asyncio.run(scenario())


def test_a_daemon_of_another_protocol_is_refused_with_what_to_do(path: Path) -> None:
    async def scenario() -> None:
        daemon = SmallDaemon(path)
        daemon.version = PROTOCOL + 1
        await daemon.rise()
        with pytest.raises(BetcodeError) as caught:
            async with client_of(daemon, start=True):
                pass
        assert caught.value.code == "protocol.version"
        assert "betcode daemon stop" in caught.value.hint
        assert (daemon.starts, daemon.hellos) == (1, 1)
        await daemon.die()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "code, ours", [("session.not_found", "session.not_found"), ("session.on_the_moon", "internal")]
)
def test_a_refusal_keeps_code_message_and_hint(path: Path, code: str, ours: str) -> None:
    async def scenario() -> None:
        async with running(path) as (daemon, client):

            async def refuse(request: dict[str, Any]) -> dict[str, Any] | None:
                return {"code": code, "message": "it is not here", "hint": "look there"}

            daemon.answers["show"] = refuse
            with pytest.raises(BetcodeError, match="it is not here") as caught:
                await client.request(Show(session="nope"))
            assert (caught.value.code, caught.value.hint) == (ours, "look there")
            assert ours == code or code in str(caught.value)

    asyncio.run(scenario())


@pytest.mark.req("SE-2")
@pytest.mark.parametrize("text", ["x" * (limits.PROMPT_BYTES_MAX + 1), "", "half a pair: \ud800"])
def test_a_request_outside_its_limits_is_refused_before_it_is_sent(path: Path, text: str) -> None:
    async def scenario() -> None:
        async with running(path) as (daemon, client):
            with pytest.raises(BetcodeError) as caught:
                await client.request(Send(session=SESSION, key=KEY, text=text))
            assert caught.value.exit_status == 5
            assert daemon.sent == []

    asyncio.run(scenario())


def test_the_largest_prompt_arrives_whole(path: Path) -> None:
    text = "\x00\x1b\u202e" + "x" * (limits.PROMPT_BYTES_MAX - 5)

    async def scenario() -> None:
        async with running(path) as (daemon, client):
            seen = ""

            async def keep(request: dict[str, Any]) -> dict[str, Any] | None:
                nonlocal seen
                seen = request["text"]
                return {}

            daemon.answers["send"] = keep
            await client.request(Send(session=SESSION, key=KEY, text=text))
            assert seen == text

    asyncio.run(scenario())


def test_requests_at_once_get_their_own_replies(path: Path) -> None:
    async def scenario() -> None:
        async with running(path) as (daemon, client):

            async def echo(request: dict[str, Any]) -> dict[str, Any] | None:
                return {"session": request["session"]}

            daemon.answers["show"] = echo
            names = [f"name{number}" for number in range(50)]
            bodies = await asyncio.gather(*(client.request(Show(session=name)) for name in names))
            assert [body["session"] for body in bodies] == names

    asyncio.run(scenario())


def test_a_brief_question_speaks_the_same_protocol(path: Path) -> None:
    assert brief.PROTOCOL == PROTOCOL
    big = {"sessions": ["\u202e" + "x" * 50_000] * 3}

    async def scenario() -> None:
        async with running(path) as (daemon, _):

            async def status(request: dict[str, Any]) -> dict[str, Any] | None:
                return big

            async def refuse(request: dict[str, Any]) -> dict[str, Any] | None:
                return {"code": "daemon.stopping", "message": "it stops", "hint": "wait"}

            daemon.answers |= {"status": status, "stop": refuse}
            assert await asyncio.to_thread(brief.ask, path, "status") == big
            with pytest.raises(BetcodeError, match="it stops") as caught:
                await asyncio.to_thread(brief.ask, path, "stop")
            assert caught.value.code == "daemon.stopping"

    asyncio.run(scenario())
    with pytest.raises(BetcodeError, match="no daemon is running"):
        brief.ask(path, "status")


def test_an_event_reaches_the_reader_as_it_was_sent(path: Path) -> None:
    async def scenario() -> None:
        async with running(path) as (daemon, client), contextlib.aclosing(client.stream(SESSION)) as stream:
            await daemon.add()
            async for item in stream:
                if isinstance(item, Durable):
                    assert msgspec.json.decode(item.raw) == daemon.events[0]
                    return

    asyncio.run(scenario())
