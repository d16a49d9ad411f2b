"""Somebody opens a session's conversation in a plain claude: it is noticed, the session held, its people asked."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from betcode.client.client import Client
from betcode.model.frames import Release
from betcode.testing.claude_home import bundled_claude
from betcode.testing.installation import Installation, installation, scripted, session_of
from betcode.testing.witness import come, events, look, notices, outcome, send


def plain(made: Installation) -> dict[str, str]:
    """The environment of a claude that somebody starts by hand."""
    return {name: value for name, value in made.env.items() if not name.startswith("BETCODE_")}


def talk_elsewhere(made: Installation, conversation: str, text: str) -> None:
    """`claude -p --resume`, to its end."""
    command = [str(bundled_claude()), "-p", f"--resume={conversation}", text]
    done = subprocess.run(
        command,
        env=plain(made),
        cwd=made.project,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    )
    assert b"elsewhere" in done.stdout


@contextlib.contextmanager
def held_open(made: Installation, conversation: str) -> Iterator[int]:
    """A plain claude that waits on the conversation; its pid."""
    command = [str(bundled_claude()), "-p", "--input-format=stream-json", "--output-format=stream-json", "--verbose"]
    with subprocess.Popen(
        [*command, f"--resume={conversation}"],
        env=plain(made),
        cwd=made.project,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    ) as other:
        try:
            yield other.pid
        finally:
            other.terminate()


def parents(made: Installation, conversation: str) -> list[str]:
    """What each prompt of the transcript follows."""
    [file] = (made.home / ".claude" / "projects").glob(f"*/{conversation}.jsonl")
    entries = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    return [e["parentUuid"] for e in entries if e.get("type") == "user" and not e.get("isMeta")]


async def held(made: Installation, client: Client, session: str) -> list[dict[str, Any]]:
    """A message that waits, since somebody else spoke in the conversation; then it is released and answered."""
    key = await send(client, session, scripted("mine", {"text": "mine"}))
    seen = await come(client, session, "notice", code="session.foreign_use")
    waits = [e for e in seen if e["kind"] == "message_state" and e["message_id"] == key]
    assert waits[-1]["state"] == "queued"
    assert "release" in waits[-1]["reason"]
    assert not [r for r in made.model.stats()["requests"] if r["prompt"].startswith("mine")]
    await client.request(Release(session=session))
    state, seen = await outcome(client, session, key)
    assert state == "completed"
    return seen


@pytest.mark.req("INV-7")
@pytest.mark.parametrize("alive", [True, False])
def test_what_was_said_elsewhere_holds_the_next_message_until_a_person_releases_it(alive: bool) -> None:
    async def run(made: Installation) -> None:
        async with made.client() as client, session_of(made, client) as session:
            key = await send(client, session, scripted("first", {"text": "one"}))
            assert (await outcome(client, session, key))[0] == "completed"
            await come(client, session, "status", state="IDLE")
            found = await look(client, session)
            if not alive:
                made.kill_daemon()
                for name in ("keeper_pid", "claude_pid"):
                    os.kill(found[name], signal.SIGKILL)
            conversation = found["claude_session_id"]
            await asyncio.to_thread(talk_elsewhere, made, conversation, scripted("theirs", {"text": "elsewhere"}))
            seen = await held(made, client, session)
            assert notices(seen).count("session.foreign_use") == 1
            before = parents(made, conversation)
            assert len(before) == len(set(before)) == 3, "the history has forked"
            key = await send(client, session, scripted("more", {"text": "more"}))
            assert (await outcome(client, session, key))[0] == "completed"

    with installation() as made:
        asyncio.run(run(made))


@pytest.mark.req("INV-7")
def test_a_claude_that_somebody_holds_open_on_the_conversation_is_noticed_without_a_message() -> None:
    async def run(made: Installation) -> None:
        async with made.client() as client, session_of(made, client) as session:
            key = await send(client, session, scripted("first", {"text": "one"}))
            assert (await outcome(client, session, key))[0] == "completed"
            conversation = (await look(client, session))["claude_session_id"]
            with held_open(made, conversation) as pid:
                seen = await come(client, session, "notice", code="session.foreign_use")
                assert str(pid) in [e["message"] for e in seen if e["kind"] == "notice"][-1]
                await held(made, client, session)
                assert notices(await events(client, session)).count("session.foreign_use") == 1

    with installation() as made:
        asyncio.run(run(made))
