"""Each metric counts when its event happens: real daemon, real claude (OB-3)."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal

import pytest

from betcode.client.client import Client
from betcode.model.frames import Answer, Show
from betcode.testing.installation import Installation, installation, scripted, session_of, until
from betcode.testing.witness import outcome, question, send, stored

WAIT_S = 60.0
TOOL = {"tool": {"name": "Bash", "input": {"command": "echo x >> counter.txt", "description": "w"}}}
TALKATIVE = """#!/bin/sh
case "$1" in --version) ;; *) echo 'not json'; printf '\\377\\n'; echo '{{"type":"result","is_error":7}}';; esac
exec {claude} "$@"
"""
"""The real claude, behind three lines that no claude prints."""


async def samples(made: Installation) -> dict[str, float]:
    """What /metrics says, but buckets and times."""
    reader, writer = await asyncio.open_unix_connection(str(made.paths.socket))
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: daemon\r\n\r\n")
    _, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    found = re.findall(r"^(betcode_\S+?(?:\{.*?\})?) (\S+)$", body.decode(), re.MULTILINE)
    return {name: float(value) for name, value in found if not re.search(r"_(bucket|created|sum)\b", name)}


async def ended(client: Client, session: str, text: str) -> str:
    """Send, and wait for the outcome."""
    return (await outcome(client, session, await send(client, session, text)))[0]


@pytest.mark.req("OB-3")
def test_starts_crashes_questions_and_silence_are_counted_once_each() -> None:
    async def run(made: Installation) -> None:
        async with (
            made.client() as client,
            made.client(seed=1) as other,
            session_of(made, client) as one,
            session_of(made, client, permission_ttl_s=1.0) as two,
        ):
            await other.request(Show(session=one))
            for allow in (True, False):
                sending = asyncio.create_task(ended(client, one, scripted("t", TOOL, {"text": "done"})))
                await client.request(Answer(permission=await question(client, one), allow=allow))
                assert await sending == "completed"
            assert await ended(client, two, scripted("t", TOOL, {"text": "done"})) == "completed"
            known = stored(made).count(b'"tool_use"')
            sending = asyncio.create_task(ended(client, one, scripted("t", TOOL)))
            await question(client, one)
            await until(lambda: stored(made).count(b'"tool_use"') > known, within_s=WAIT_S, what="the stored call")
            os.kill((await client.request(Show(session=one)))["session"]["claude_pid"], signal.SIGKILL)
            assert await sending == "completed"
            known = stored(made).count(b'"tool_use"')
            sending = asyncio.create_task(ended(client, one, scripted("t", TOOL)))
            open_question = await question(client, one)
            await until(lambda: stored(made).count(b'"tool_use"') > known, within_s=WAIT_S, what="the stored call")
            keeper = (await client.request(Show(session=one)))["session"]["keeper_pid"]
            os.kill(keeper, signal.SIGSTOP)
            await client.request(Answer(permission=open_question, allow=True))  # claude never gets it
            os.kill(keeper, signal.SIGKILL)
            assert await sending == "completed"
            nowhere = made.home / "gone"
            nowhere.mkdir()
            made.project, project = nowhere, made.project
            async with session_of(made, client) as three:
                shutil.rmtree(nowhere)
                assert await ended(client, three, scripted("t", {"text": "never"})) == "failed"
            made.project = project
            found = await samples(made)
        spawn = "betcode_subprocess_spawn_duration_seconds_count"
        questions = "betcode_permission_request_duration_seconds_count"
        assert {name: value for name, value in found.items() if "sqlite" not in name and value} == {
            f'{spawn}{{outcome="ok"}}': float(len(made.runs())),
            f'{spawn}{{outcome="request.directory"}}': 1.0,
            'betcode_subprocess_crashes_total{exit_code="none"}': 2.0,
            f'{questions}{{decision="ALLOWED",tool_name="Bash"}}': 2.0,
            f'{questions}{{decision="DENIED",tool_name="Bash"}}': 1.0,
            f'{questions}{{decision="EXPIRED",tool_name="Bash"}}': 1.0,
            f'{questions}{{decision="CANCELLED",tool_name="Bash"}}': 1.0,
            'betcode_permission_timeout_total{tool_name="Bash"}': 1.0,
            'betcode_sessions{state="IDLE"}': 3.0,
            "betcode_clients": 2.0,
        }
        store = {name.split('"')[1] for name in found if name.startswith("betcode_sqlite_operation")}
        assert {"commit", "sessions", "events", "message"} <= store
        assert not [name for name in found if name.startswith("betcode_sqlite_errors")]

    with installation() as made:
        asyncio.run(run(made))


@pytest.mark.req("OB-3", "ND-2", "ND-3")
def test_lines_of_the_real_claude_that_cannot_be_read_are_counted_by_their_kind() -> None:
    async def run(made: Installation) -> None:
        async with made.client() as client, session_of(made, client) as session:
            assert await ended(client, session, scripted("t", {"text": "done"})) == "completed"
            found = await samples(made)
        bad = {name: value for name, value in found.items() if "parse_errors" in name}
        assert bad == {
            'betcode_ndjson_parse_errors_total{error_type="invalid_json"}': 1.0,
            'betcode_ndjson_parse_errors_total{error_type="invalid_utf8"}': 1.0,
            'betcode_ndjson_parse_errors_total{error_type="schema"}': 1.0,
        }

    with installation() as made:
        claude = made.home / "talkative"
        claude.write_text(TALKATIVE.format(claude=made.env["BETCODE_CLAUDE"]))
        claude.chmod(0o700)
        made.env["BETCODE_CLAUDE"] = str(claude)
        asyncio.run(run(made))
