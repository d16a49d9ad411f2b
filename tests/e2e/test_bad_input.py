"""Bad input at the daemon's door: each a clear error with a hint, nothing else disturbed (SE-2)."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, unix_connect

from betcode.model import limits
from betcode.model.frames import Send
from betcode.testing.installation import Installation, installation, scripted, session_of

HELLO = {"op": "hello", "id": 1, "protocol": [1], "client": "test"}


@pytest.fixture(scope="module")
def made() -> Iterator[Installation]:
    with installation() as one:
        asyncio.run(one.start_daemon())
        yield one


@asynccontextmanager
async def connected(made: Installation, *, hello: bool = True) -> AsyncIterator[ClientConnection]:
    async with unix_connect(str(made.paths.socket), uri="ws://daemon/v1", compression=None, max_size=None) as ws:
        if hello:
            await ws.send(json.dumps(HELLO))
            assert json.loads(await ws.recv())["type"] == "welcome"
        yield ws


async def ask(ws: ClientConnection, **request: Any) -> dict[str, Any]:
    await ws.send(json.dumps(request))
    answer: dict[str, Any] = json.loads(await ws.recv())
    return answer


def check_error(frame: dict[str, Any], code: str) -> None:
    assert frame["type"] == "error"
    assert frame["code"] == code
    assert frame["message"]
    assert frame["hint"]


@pytest.mark.req("SE-2")
@pytest.mark.parametrize(
    "frame, code",
    [
        ("garbage", "frame.invalid"),
        ("", "frame.invalid"),
        ("[]", "frame.invalid"),
        ('{"op":"nothing","id":7}', "frame.invalid"),
        ('{"id":7}', "frame.invalid"),
        ('{"op":"send","id":7}', "frame.invalid"),
        ('{"op":"send","id":"seven","session":"x","key":"x","text":"x"}', "frame.invalid"),
        ("[" * 100_000, "frame.invalid"),
        (b"\xff\xfe\x00", "frame.invalid"),
        ('{"op":"show","id":7,"session":"nosuchsess"}', "session.not_found"),
        ('{"op":"show","id":7,"session":""}', "session.not_found"),
        ('{"op":"show","id":7,"session":"a\\u0000b"}', "request.invalid"),
        ('{"op":"show","id":7,"session":"' + "x" * 5_000 + '"}', "request.invalid"),
        ('{"op":"answer","id":7,"permission":"p000000000000","allow":true}', "permission.not_found"),
        ('{"op":"create","id":7,"directory":"/no/such/place"}', "request.directory"),
        ('{"op":"create","id":7,"directory":"relative"}', "request.directory"),
        ('{"op":"create","id":7,"directory":"/etc/passwd"}', "request.directory"),
        ('{"op":"create","id":7,"directory":""}', "request.invalid"),
        ('{"op":"create","id":7,"directory":"/tmp","options":{"allow":["--dangerous"]}}', "request.invalid"),
        ('{"op":"create","id":7,"directory":"/tmp","options":{"permission_ttl_s":1e12}}', "request.invalid"),
        ('{"op":"events","id":7,"session":"x","limit":100000}', "request.invalid"),
        ('{"op":"hello","id":7,"protocol":[1]}', "frame.unexpected"),
    ],
)
def test_a_bad_frame_gets_a_sentence_and_the_connection_goes_on(
    made: Installation, frame: str | bytes, code: str
) -> None:
    async def run() -> None:
        async with connected(made) as ws:
            await ws.send(frame)
            check_error(json.loads(await ws.recv()), code)
            assert (await ask(ws, op="ping", id=8))["re"] == 8

    asyncio.run(run())


@pytest.mark.req("SE-2")
@pytest.mark.parametrize(
    "frame, code",
    [
        ({"op": "ping", "id": 1}, "frame.unexpected"),
        ({"op": "hello", "id": 1, "protocol": [2, 99]}, "protocol.version"),
        ({"op": "hello", "id": 1}, "frame.invalid"),
        ({"op": "hello", "id": 1, "protocol": [1], "client": "x" * 10_000}, "request.invalid"),
    ],
)
def test_a_connection_that_does_not_greet_well_is_told_and_closed(
    made: Installation, frame: dict[str, Any], code: str
) -> None:
    async def run() -> None:
        async with connected(made, hello=False) as ws:
            check_error(await ask(ws, **frame), code)
            with pytest.raises(Exception, match=r"1000|close"):
                await ws.recv()

    asyncio.run(run())


@pytest.mark.req("SE-2")
def test_an_oversized_frame_is_refused_and_others_go_on(made: Installation) -> None:
    async def run() -> None:
        async with connected(made) as other, connected(made) as ws:
            await ws.send('{"op":"ping","id":7,"x":"' + "y" * limits.FRAME_BYTES_MAX + '"}')
            check_error(json.loads(await ws.recv()), "frame.too_large")
            assert (await ask(other, op="ping", id=9))["re"] == 9

    asyncio.run(run())


@pytest.mark.req("SE-2")
def test_a_prompt_over_the_limit_is_refused_and_one_at_the_limit_reaches_claude(made: Installation) -> None:
    async def run() -> None:
        async with made.client() as client, session_of(made, client) as session, connected(made) as ws:
            text = "x" * (limits.PROMPT_BYTES_MAX + 1)
            check_error(
                await ask(ws, op="send", id=3, session=session, key=str(uuid.uuid4()), text=text), "request.invalid"
            )
            script = scripted("", {"text": "read it"})
            text = "y" * (limits.PROMPT_BYTES_MAX - len(script)) + script
            key = str(uuid.uuid4())
            await client.request(Send(session=session, key=key, text=text))
            stream = client.stream(session)
            async for news in stream:
                event = getattr(news, "event", {})
                if event.get("kind") == "turn_ended":
                    # whole, so that claude itself judges it: this much text is too long for its model
                    assert (event["outcome"], event["text"]) == ("failed", "Prompt is too long")
                    break
            await client.request(Send(session=session, key=str(uuid.uuid4()), text=scripted("", {"text": "well"})))
            async for news in stream:
                if getattr(news, "event", {}).get("text") == "well":
                    break

    asyncio.run(run())


@pytest.mark.req("SE-2")
def test_nul_and_odd_unicode_reach_claude_as_they_are(made: Installation) -> None:
    odd = "nul:\0 bidi:\u202e zwsp:\u200b emoji:\U0001f9d1\u200d\U0001f680 sep:\u2028 end"

    async def run() -> None:
        async with made.client() as client, session_of(made, client) as session:
            await client.request(
                Send(session=session, key=str(uuid.uuid4()), text=odd + scripted("", {"text": "took it"}))
            )
            async for news in client.stream(session):
                event = getattr(news, "event", {})
                if event.get("kind") == "user_message":
                    assert event["text"].startswith(odd)
                if event.get("kind") == "turn_ended":
                    assert event["text"] == "took it"
                    break

    asyncio.run(run())


@pytest.mark.req("SE-1")
def test_socket_and_directories_belong_to_the_user_alone(made: Installation) -> None:
    assert stat.S_IMODE(made.paths.socket.stat().st_mode) == 0o600
    for directory in (made.paths.runtime, made.paths.data, made.paths.sessions):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for file in made.paths.data.glob("**/*"):
        if file.is_file():
            assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file


@pytest.mark.req("SE-1")
def test_a_browser_cannot_use_the_socket(made: Installation) -> None:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(made.paths.socket))
        raw.sendall(
            b"GET /v1 HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.example\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert b" 403 " in raw.recv(4096).split(b"\r\n")[0]


def daemon(made: Installation, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "betcode", "daemon", "run"],
        env=made.env | changes,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.req("RS-3")
def test_a_second_daemon_is_refused_and_the_first_goes_on(made: Installation) -> None:
    first = made.daemon_pid()
    second = daemon(made)
    assert second.returncode == 2
    assert f"pid {first}" in second.stderr
    assert "hint:" in second.stderr
    assert made.daemon_pid() == first


@pytest.mark.req("RS-3")
def test_a_stale_socket_is_taken_over() -> None:
    with installation() as one:
        one.paths.runtime.mkdir(mode=0o700)
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(one.paths.socket))
        assert one.paths.socket.exists()
        asyncio.run(one.start_daemon())
        assert one.daemon_pid()


@pytest.mark.req("CF-2")
def test_a_data_directory_that_cannot_be_written_is_a_clear_error(made: Installation, tmp_path: Path) -> None:
    file = tmp_path / "a-file"
    file.touch()
    ended = daemon(made, BETCODE_DATA_DIR=str(file / "data"), BETCODE_RUNTIME_DIR=str(tmp_path / "r"))
    assert ended.returncode == 78
    assert "error:" in ended.stderr
    assert "hint:" in ended.stderr


@pytest.mark.req("PS-12")
@pytest.mark.parametrize(
    "content, mode, status",
    [
        (None, 0, 72),
        ("#!/bin/sh\necho 2.1.330\n", 0o600, 72),
        ("#!/bin/sh\necho '2.1.221 (Claude Code)'\n", 0o700, 78),
        ("#!/bin/sh\necho hello\n", 0o700, 78),
    ],
)
def test_a_claude_that_cannot_be_driven_stops_the_start_with_its_own_status(
    made: Installation, tmp_path: Path, content: str | None, mode: int, status: int
) -> None:
    fake = tmp_path / "claude"
    if content is not None:
        fake.write_text(content)
        fake.chmod(mode)
    if mode == 0o600 and os.geteuid() == 0:
        assert not os.access(fake, os.X_OK), "root may not execute a file without any x bit either"
    home = tmp_path / "home"
    home.mkdir()
    places = {f"BETCODE_{name}_DIR": str(home / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    ended = daemon(made, BETCODE_CLAUDE=str(fake), **places)
    assert ended.returncode == status
    assert "error:" in ended.stderr
    assert "hint:" in ended.stderr
