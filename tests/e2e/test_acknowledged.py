"""Acknowledged means safe: real daemon, real claude, kill -9, older database files, and the states people see."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import sys
import uuid
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from betcode.adapters import intake
from betcode.client.client import Client
from betcode.model.errors import BetcodeError
from betcode.model.frames import Clear, Create, Events, Send, Show
from betcode.testing.installation import Installation, installation, scripted, session_of, until

KILLS = 30
WAIT_S = 60.0
DATABASE = ("daemon.db", "daemon.db-wal", "daemon.db-shm")
LONG = f"{sys.executable} -c 'import time; time.sleep(600)'"
"""A command that runs: claude answers one of nothing but `sleep` at once with an error, and the turn ends."""


async def events_of(client: Client, session: str) -> list[dict[str, Any]]:
    """All events of the newest epoch."""
    found: list[dict[str, Any]] = []
    more = True
    while more:
        body = await client.request(Events(session=session, after=found[-1]["seq"] if found else 0))
        found += [json.loads(msgspec.json.encode(event)) for event in body["events"]]
        more = body["more"]
    return found


async def events_when(client: Client, session: str, holds: Any, *, what: str) -> list[dict[str, Any]]:
    """All events of the newest epoch, as soon as `holds(events)`."""
    try:
        async with asyncio.timeout(WAIT_S):
            async for _ in client.stream(session):
                events = await events_of(client, session)
                if holds(events):
                    return events
    except TimeoutError:
        raise AssertionError(f"{what} did not come: {events[-8:]}") from None
    finally:
        client.forget(session)
    raise AssertionError("the stream ended")


def states(events: list[dict[str, Any]], key: str) -> list[str]:
    """The states that were shown of a message, each once in a row."""
    shown = ["accepted" for e in events if e["kind"] == "user_message" and e["message_id"] == key]
    shown += [e["state"] for e in events if e["kind"] == "message_state" and e["message_id"] == key]
    return [state for number, state in enumerate(shown) if number == 0 or shown[number - 1] != state]


def done(keys: list[str]) -> Any:
    """Whether all these messages are completed."""
    return lambda events: (
        {e["message_id"] for e in events if e["kind"] == "message_state" and e["state"] == "completed"} >= set(keys)
    )


async def create(made: Installation, client: Client) -> str:
    """A new session; the key lets the client repeat the request when the daemon dies under it."""
    request = Create(directory=str(made.project), options=made.options(), key=str(uuid.uuid4()))
    return str((await client.request(request))["session"]["id"])


def is_new(made: Installation, killed: int) -> bool:
    """Whether a daemon lives that is not the one that was killed last."""
    return made.daemon_pid() not in (None, killed)


async def restarted(made: Installation) -> None:
    """kill -9 of the daemon, if one lives, and its end."""
    pid = made.kill_daemon()
    await until(lambda: pid == 0 or made.daemon_pid() != pid, within_s=WAIT_S, what="the end of the daemon")


async def replace_database(made: Installation, copy: Path) -> None:
    """Kill the daemon and put an older copy in the place of its database."""
    await restarted(made)
    for name in DATABASE:
        (made.paths.data / name).unlink(missing_ok=True)
        if (copy / name).exists():
            shutil.copy(copy / name, made.paths.data / name)


@pytest.mark.req("SQ-11", "INV-1", "INV-2")
@pytest.mark.limit(300)
def test_kill_9_around_an_acknowledgement_loses_no_message_and_answers_each_once() -> None:
    """Every second time the daemon dies right after the acknowledgement, else at any moment before or after it."""

    async def run(made: Installation) -> None:
        rng = random.Random(11)
        keys: list[str] = []
        killed = 0
        async with made.client() as client:
            session = await create(made, client)
        for number in range(KILLS):
            async with made.client() as client:  # a new one, since a client waits longer after each loss
                keys.append(str(uuid.uuid4()))
                text = scripted(f"m{number}", {"text": f"answer {number}"})
                sending = asyncio.create_task(client.request(Send(session=session, key=keys[-1], text=text)))
                await until(partial(is_new, made, killed), within_s=WAIT_S, what="another daemon")
                await asyncio.wait([sending], timeout=None if number % 2 else rng.uniform(0, 0.01))
                killed = made.kill_daemon()
                assert killed
                assert (await sending)["message_id"] == keys[-1]
        async with made.client() as client:
            events = await events_when(client, session, done(keys), what="the end of all messages")
        said = [event["message_id"] for event in events if event["kind"] == "user_message"]
        assert said == keys, "in the order of their sending, each once"
        answers = [event["text"] for event in events if event["kind"] == "assistant"]
        assert answers == [f"answer {number}" for number in range(KILLS)]
        assert made.model.stats()["requests_total"] == KILLS
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        assert {event["epoch"] for event in events} == {1}
        assert not [event for event in events if event["kind"] == "gap"]

    with installation() as made:
        asyncio.run(run(made))


@pytest.mark.req("SQ-11", "INV-1", "INV-2", "INV-6")
def test_messages_and_sessions_come_back_from_the_intake_log_when_the_database_is_an_older_copy() -> None:
    async def run(made: Installation) -> None:
        keys = [str(uuid.uuid4()) for _ in range(4)]
        texts = [scripted(f"m{n}", {"text": f"answer {n}"}) for n in range(4)]
        copy = made.home / "copy"
        copy.mkdir()
        async with made.client() as client, session_of(made, client) as session:
            await client.request(Send(session=session, key=keys[0], text=texts[0]))
            await events_when(client, session, done(keys[:1]), what="the first answer")
            await restarted(made)
            for name in DATABASE:
                if (made.paths.data / name).exists():
                    shutil.copy(made.paths.data / name, copy / name)
            for key, text in zip(keys[1:3], texts[1:3], strict=True):
                await client.request(Send(session=session, key=key, text=text))
            await events_when(client, session, done(keys[1:3]), what="the answers that will be lost")
            later = await create(made, client)
            await replace_database(made, copy)
            events = await events_when(client, session, done(keys[1:3]), what="what the copy lacks")
            assert (await client.request(Show(session=later)))["session"]["id"] == later, "the new session too"
            texts_shown = [e["text"] for e in events if e["kind"] == "assistant"]
            assert texts_shown == ["answer 0", "answer 1", "answer 2"], "the journal has them"
            assert [e["kind"] for e in events if e["kind"] in ("gap", "notice")] == []
            assert {key: states(events, key)[-1] for key in keys[1:3]} == dict.fromkeys(keys[1:3], "completed")
            for key, text in zip(keys[:3], texts[:3], strict=True):
                body = await client.request(Send(session=session, key=key, text=text))
                assert (body["duplicate"], body["state"]) == (True, "completed")
            await client.request(Send(session=session, key=keys[3], text=texts[3]))
            events = await events_when(client, session, done(keys[3:]), what="the next answer")
        assert made.model.stats()["requests_total"] == 4, "nothing was answered twice"

    with installation() as made:
        asyncio.run(run(made))


@pytest.mark.req("SQ-11", "INV-6")
def test_a_damaged_record_of_the_intake_log_is_told_in_the_log_and_stops_nothing() -> None:
    async def run(made: Installation) -> None:
        async with made.client() as client:
            for _ in range(3):
                await create(made, client)
            await restarted(made)
            file = made.paths.data / "intake/1.log"
            content = bytearray(file.read_bytes())
            content[content.index(b"\xffBI1", 1) + 20] ^= 1
            file.write_bytes(content)
            session = await create(made, client)
            assert (await client.request(Show(session=session)))["session"]["state"] == "NEW"
        told = [json.loads(line) for line in made.paths.log.read_text().splitlines()]
        [line] = [line for line in told if line["message"] == "the intake log is damaged"]
        assert (line["level"], line["segment"]) == ("error", 1)
        assert line["lost_bytes"] > 0

    with installation() as made:
        asyncio.run(run(made))


@pytest.mark.req("INV-1", "INV-6", "SQ-11")
def test_a_message_whose_end_is_lost_with_database_and_intake_log_has_it_from_the_journal() -> None:
    """The database is gone and the record of the end of the first message is damaged; claude lives and is idle."""

    async def run(made: Installation) -> None:
        keys = [str(uuid.uuid4()) for _ in range(3)]
        texts = [scripted(f"m{n}", {"text": f"answer {n}"}) for n in range(3)]
        async with made.client() as client, session_of(made, client) as session:
            for key, text in zip(keys[:2], texts[:2], strict=True):
                await client.request(Send(session=session, key=key, text=text))
                await events_when(client, session, done([key]), what="an answer")
            await restarted(made)
            for name in DATABASE:
                (made.paths.data / name).unlink(missing_ok=True)
            damage_record_of_the_end(made.paths.data / "intake", keys[0])
            events = await events_when(client, session, done(keys[:2]), what="both ends")
            assert [e["text"] for e in events if e["kind"] == "assistant"] == ["answer 0", "answer 1"]
            await client.request(Send(session=session, key=keys[2], text=texts[2]))
            await events_when(client, session, done(keys[2:]), what="the next answer")
            assert (await client.request(Show(session=session)))["session"]["state"] in ("IDLE", "ACTIVE")
        assert made.model.stats()["requests_total"] == 3, "nothing was answered twice"

    with installation() as made:
        asyncio.run(run(made))


def damage_record_of_the_end(directory: Path, key: str) -> None:
    """Flip a bit in the record that says that this message is completed."""
    records = list(intake.read_all(directory, []))
    number = next(n for n, r in enumerate(records) if any(m.id == key and m.state == "completed" for m in r.messages))
    file = directory / "1.log"
    content = bytearray(file.read_bytes())
    at = -1
    for _ in range(number + 1):
        at = content.index(b"\xffBI1", at + 1)
    content[at + 20] ^= 1
    file.write_bytes(content)


@pytest.mark.req("INV-1", "SQ-11")
def test_each_step_of_a_message_is_shown_with_its_reason_and_keys_are_kept_over_a_restart() -> None:
    async def run(made: Installation) -> None:
        texts = {
            "good": scripted("good", {"text": "hello", "delay_s": 0.5}),
            "bad": scripted("bad", {"status": 400, "message": "no"}),
            "late": scripted("late", {"text": "never"}),
            "lost": scripted("lost", {"tool": {"name": "Bash", "input": {"command": LONG, "description": "w"}}}),
        }
        keys = {name: str(uuid.uuid4()) for name in texts}
        async with made.client() as client, session_of(made, client, allow=("Bash",)) as session:
            for name in ("good", "bad", "late"):
                await client.request(Send(session=session, key=keys[name], text=texts[name]))
            await client.request(Clear(session=session, message_id=keys["late"]))
            ended = lambda found: states(found, keys["bad"])[-1:] == ["failed"]  # noqa: E731
            await events_when(client, session, ended, what="the failed one")
            await client.request(Send(session=session, key=keys["lost"], text=texts["lost"]))
            started = lambda found: any(e["kind"] == "tool_call" for e in found)  # noqa: E731
            await events_when(client, session, started, what="the tool call")
            os.kill(made.runs()[-1]["claude_pid"], signal.SIGKILL)
            ended = lambda found: states(found, keys["lost"])[-1:] == ["unknown"]  # noqa: E731
            events = await events_when(client, session, ended, what="the unknown one")
            shown = {name: states(events, key) for name, key in keys.items()}
            assert shown["good"] == ["accepted", "queued", "delivered", "started", "completed"]
            assert shown["bad"] == ["accepted", "queued", "delivered", "started", "failed"]
            assert shown["late"] == ["accepted", "queued", "cancelled"]
            assert shown["lost"][-2:] == ["started", "unknown"]
            reasons = Counter(e["reason"] for e in events if e["kind"] == "message_state" and e["state"] == "queued")
            assert {"claude is starting", "an earlier message is being worked on"} <= set(reasons)
            finals = ("failed", "cancelled", "unknown")
            assert all(e["reason"] for e in events if e["kind"] == "message_state" and e["state"] in finals)
            await restarted(made)
            await check_keys(made, client, session, keys, texts)

    with installation() as made:
        made.paths.config.mkdir(parents=True)
        (made.paths.config / "settings.json").write_text('{"supervision": {"unknown_outcome": "ask"}}')
        asyncio.run(run(made))


async def check_keys(
    made: Installation, client: Client, session: str, keys: dict[str, str], texts: dict[str, str]
) -> None:
    """The same key again: the same message is a duplicate, another text or session is a conflict."""
    outcomes = {"good": "completed", "bad": "failed", "late": "cancelled", "lost": "unknown"}
    other = await create(made, client)
    for name, key in keys.items():
        body = await client.request(Send(session=session, key=key, text=texts[name]))
        assert body == {"message_id": key, "state": outcomes[name], "duplicate": True}
        for place, text in ((session, "another text"), (other, texts[name])):
            with pytest.raises(BetcodeError) as refused:
                await client.request(Send(session=place, key=key, text=text))
            assert refused.value.code == "message.key_conflict"
            assert refused.value.hint
