"""What a test sees of a session from outside: events, summary, the outcome of a message, the model's requests."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from typing import Any

from betcode.client.client import Client
from betcode.model.frames import Events, Permissions, Send, Show
from betcode.testing.installation import Installation

WAIT_S = 60.0
"""The longest that anything here is waited for; most of it takes a second."""
_POLL_S = 0.02
FINAL = ("completed", "failed", "cancelled", "unknown")


async def send(client: Client, session: str, text: str, *, steer: bool = False) -> str:
    """Send a message; returns its key."""
    key = str(uuid.uuid4())
    await client.request(Send(session=session, key=key, text=text, steer=steer))
    return key


async def look(client: Client, session: str) -> dict[str, Any]:
    """The session's summary."""
    found: dict[str, Any] = (await client.request(Show(session=session)))["session"]
    return found


async def events(client: Client, session: str) -> list[dict[str, Any]]:
    """All events of the newest epoch, numbered without a hole."""
    found: list[dict[str, Any]] = []
    more = True
    while more:
        body = await client.request(Events(session=session, after=len(found), limit=500))
        found += body["events"]
        more = body["more"]
    assert [e["seq"] for e in found] == list(range(1, len(found) + 1))
    return found


async def come(client: Client, session: str, kind: str, /, *, count: int = 1, **fields: Any) -> list[dict[str, Any]]:
    """All events once there are `count` like this."""
    end = asyncio.get_running_loop().time() + WAIT_S
    while asyncio.get_running_loop().time() < end:
        seen = await events(client, session)
        if sum(e["kind"] == kind and all(e.get(k) == v for k, v in fields.items()) for e in seen) >= count:
            return seen
        await asyncio.sleep(_POLL_S)
    raise AssertionError(f"no {kind} {fields}; seen: {(await events(client, session))[-5:]}")


async def outcome(
    client: Client, session: str, key: str, *, within_s: float = WAIT_S
) -> tuple[str, list[dict[str, Any]]]:
    """How the message ended, and all events."""
    end = asyncio.get_running_loop().time() + within_s
    while asyncio.get_running_loop().time() < end:
        seen = await events(client, session)
        final = finals(seen, key)
        if final:
            assert len(final) == 1, f"{key} ended as {final}"
            return final[0], seen
        await asyncio.sleep(_POLL_S)
    raise AssertionError(f"{key} has no outcome; session: {await look(client, session)}")


async def pid_of(client: Client, session: str, which: str) -> int:
    """`keeper_pid` or `claude_pid` of the session, as soon as it has one."""
    end = asyncio.get_running_loop().time() + WAIT_S
    while asyncio.get_running_loop().time() < end:
        if (pid := (await look(client, session))[which]) is not None:
            return int(pid)
        await asyncio.sleep(_POLL_S)
    raise AssertionError(f"no {which}; session: {await look(client, session)}")


async def question(client: Client, session: str = "") -> str:
    """The id of the session's (or any) open question, as soon as there is one."""
    end = asyncio.get_running_loop().time() + WAIT_S
    while asyncio.get_running_loop().time() < end:
        found = (await client.request(Permissions(session=session)))["permissions"]
        if found:
            return str(found[0]["id"])
        await asyncio.sleep(_POLL_S)
    raise AssertionError("nobody is asked")


def finals(seen: list[dict[str, Any]], key: str) -> list[str]:
    """The outcomes of a message; more than one is a defect."""
    states = [e["state"] for e in seen if e["kind"] == "message_state" and e["message_id"] == key]
    return [state for state in states if state in FINAL]


def notices(seen: list[dict[str, Any]]) -> list[str]:
    """Codes of the notices, in order."""
    return [e["code"] for e in seen if e["kind"] == "notice"]


def asked(made: Installation) -> Counter[str]:
    """How often the model was asked, by the prompt's first words."""
    requests = made.model.stats()["requests"]
    return Counter(r["prompt"].partition(" @")[0] for r in requests if not r["background"])


def stored(made: Installation) -> bytes:
    """The transcripts of all conversations, as far as claude has written them."""
    return b"".join(file.read_bytes() for file in (made.home / ".claude" / "projects").glob("*/*.jsonl"))
