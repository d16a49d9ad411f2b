"""What a daemon makes, at its start, of the sessions that it finds."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from betcode.testing.installation import Installation, installation, scripted, session_of
from betcode.testing.witness import come, events, look, notices, outcome, send


@pytest.mark.req("RS-2")
def test_a_session_whose_directory_is_gone_says_so_once_and_fails_what_it_is_given_with_the_reason() -> None:
    async def run(made: Installation) -> None:
        async with made.client() as client, session_of(made, client) as session:
            key = await send(client, session, scripted("first", {"text": "one"}))
            assert (await outcome(client, session, key))[0] == "completed"
            await come(client, session, "status", state="IDLE")  # the end of an idle process is no crash to tell of
            made.project.rename(made.home / "elsewhere")
            for run in made.runs():
                os.kill(run["claude_pid"], signal.SIGKILL)
            for _ in range(2):
                made.kill_daemon()
                await come(client, session, "notice", code="session.directory_gone")
            assert "is gone" in (await look(client, session))["reason"]
            key = await send(client, session, scripted("second", {"text": "two"}))
            state, seen = await outcome(client, session, key)
            assert state == "failed"
            assert "request.directory" in [e["reason"] for e in seen if e["kind"] == "message_state"][-1]
            assert notices(seen).count("session.directory_gone") == 1
            (made.home / "elsewhere").rename(made.project)
            key = await send(client, session, scripted("third", {"text": "three"}))
            assert (await outcome(client, session, key))[0] == "completed"
            assert len(await events(client, session)) > len(seen)

    with installation() as made:
        asyncio.run(run(made))
