"""Deleting sessions as a user does: what goes, what is remembered, what is refused, and a daemon killed in between."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import uuid

import pytest

from betcode.client.client import Client
from betcode.model.errors import BetcodeError
from betcode.model.frames import Create, Delete, Send, Watch
from betcode.testing.command import Command
from betcode.testing.installation import Installation, scripted

SLOW = {"words": 400, "delta_ms": 50}


def run(betcode: Command, text: str = "good day") -> str:
    """A session with one turn; returns its id."""
    done = betcode("run", "--output-format", "json", scripted("hello", {"text": text}))
    assert done.status == 0, done
    return betcode.session_of(done)


def ids(betcode: Command) -> list[str]:
    return [s["id"] for s in betcode("sessions", "list", "--all", "--json").json()["sessions"]]


def code_of(betcode: Command, *arguments: str) -> tuple[int, str]:
    ended = betcode(*arguments, "--json")
    return ended.status, str(ended.json()["error"]["code"])


@pytest.mark.req("SQ-11")
def test_a_deleted_session_is_gone_with_its_files_and_says_so(betcode: Command, made: Installation) -> None:
    session, other = run(betcode), run(betcode)
    folder = made.paths.sessions / session
    assert folder.exists()
    done = betcode("sessions", "delete", "--yes", session[:5], "--json")
    assert (done.status, done.json()["session"], done.json()["state"]) == (0, session, "DELETED")
    assert not folder.exists()
    assert session not in ids(betcode)
    assert other in ids(betcode)
    for verb in (("sessions", "show"), ("sessions", "close"), ("attach",), ("interrupt",)):
        assert code_of(betcode, *verb, session) == (6, "session.deleted")
    claude = betcode("sessions", "show", other)
    assert "good day" in claude.out


@pytest.mark.req("INV-1", "SQ-11")
def test_old_keys_of_a_deleted_session_run_nothing_anew(betcode: Command, made: Installation) -> None:
    session, other = run(betcode), run(betcode)
    key, created = str(uuid.uuid4()), str(uuid.uuid4())
    text = scripted("once", {"text": "once"})
    assert betcode("send", "--wait", "--key", key, session, text).status == 0

    async def play(client: Client) -> list[str]:
        create = Create(directory=str(made.project), options=made.options(), key=created)
        fresh = (await client.request(create))["session"]["id"]
        assert (await client.request(create))["session"]["id"] == fresh
        for one in (session, fresh, session):  # the last is a repetition, which does no harm
            assert (await client.request(Delete(session=one)))["state"] == "DELETED"
        codes = []
        for request in (Send(session=session, key=key, text=text), Send(session=other, key=key, text=text), create):
            with pytest.raises(BetcodeError) as raised:
                await client.request(request)
            codes.append(raised.value.code)
        return codes

    async def before_the_restart() -> list[str]:
        async with made.client() as client:
            return await play(client)

    assert asyncio.run(before_the_restart()) == ["session.deleted", "message.key_conflict", "session.deleted"]
    assert made.kill_daemon()
    assert code_of(betcode, "send", "--key", key, other, text) == (5, "message.key_conflict")
    assert code_of(betcode, "send", "--key", key, session, text) == (6, "session.deleted")
    kinds = [e["kind"] for e in betcode("sessions", "show", "--json", other).lines()]
    assert kinds.count("user_message") == 1


@pytest.mark.req("SQ-11", "PS-11")
def test_a_session_at_work_is_refused_unless_it_is_to_be_ended_first(betcode: Command, made: Installation) -> None:
    with betcode.start("run", scripted("slow", SLOW)) as running:
        session = ""
        end = time.monotonic() + 30
        while not session:
            assert time.monotonic() < end
            active = [s for s in betcode("status", "--json").json().get("sessions", []) if s["state"] == "ACTIVE"]
            session = active[0]["id"] if active else ""
        pid = active[0]["claude_pid"]
        refused = betcode("sessions", "delete", "--yes", session)
        assert refused.status == 5
        assert "it is ACTIVE" in refused.err
        assert "--force" in refused.err
        assert betcode("sessions", "delete", "--yes", "--force", session).status == 0
        running.communicate(timeout=60)
        assert running.returncode != 0
    assert session not in ids(betcode)
    assert not (made.paths.sessions / session).exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_person_is_asked_and_a_script_must_say_yes(betcode: Command) -> None:
    session = run(betcode)
    assert code_of(betcode, "sessions", "delete", session) == (5, "request.usage")
    for typed, status in (("n\n", 130), ("y\n", 0)):
        with betcode.on_terminal("sessions", "delete", session) as terminal:
            terminal.wait_for("for good? [y/N]")
            terminal.type(typed)
            assert terminal.wait() == status, terminal.text
        assert (session in ids(betcode)) is (status != 0)


def test_who_watches_the_sessions_hears_of_a_deletion(betcode: Command, made: Installation) -> None:
    session = run(betcode)

    async def watch() -> list[str]:
        from betcode.client.connection import Connection
        from betcode.model.frames import PROTOCOL, Frame, Hello, SessionsFrame

        told: asyncio.Queue[Frame] = asyncio.Queue(100)
        connection = await Connection.open(made.paths.socket, Hello(protocol=[PROTOCOL]), told.put_nowait)
        try:
            await connection.request(Watch())
            await connection.request(Delete(session=session))
            async with asyncio.timeout(30):
                while True:
                    frame = await told.get()
                    if isinstance(frame, SessionsFrame) and frame.deleted:
                        return frame.deleted
        finally:
            await connection.close()

    assert asyncio.run(watch()) == [session]


@pytest.mark.req("SQ-11")
def test_a_deletion_survives_kill_9_of_the_daemon_and_leaves_nothing_behind(
    betcode: Command, made: Installation
) -> None:
    many = scripted("many", {"words": 200})
    doomed = [run(betcode) for _ in range(4)]
    for session in doomed:
        betcode("send", "--wait", session, many)
    for turn, session in enumerate(doomed):
        log_size = made.paths.log.stat().st_size
        with betcode.start("sessions", "delete", "--yes", "--json", session) as deleting:
            # Killed as soon as the deletion is in the log (turn 0, 2), or whenever the client has just begun.
            end = time.monotonic() + 30
            wanted = b"session deleted" if turn % 2 == 0 else b""
            while wanted not in made.paths.log.read_bytes()[log_size:] and time.monotonic() < end:
                pass
            pid = made.daemon_pid()
            if pid:
                os.kill(pid, signal.SIGKILL)
            out, err = deleting.communicate(timeout=60)
        assert deleting.returncode == 0, err
        assert json.loads(out)["session"] == session
    end = time.monotonic() + 30
    while any((made.paths.sessions / session).exists() for session in doomed):
        assert time.monotonic() < end, "files of a deleted session are left"
    assert not set(doomed) & set(ids(betcode))
