"""Life of the daemon: signals, health, adoption, one claude a conversation; real parts throughout."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import uuid
from typing import Any

import pytest

from betcode.client.client import Client
from betcode.keeper.tree import start_ticks
from betcode.model.frames import Answer, Close, GetStatus, Interrupt, Permissions, Send, Show, Stop
from betcode.testing.installation import Installation, installation, scripted, session_of, until

EVENT_S = 40.0
TOOL = {"tool": {"name": "Bash", "input": {"command": "echo x >> counter.txt", "description": "w"}}}


class OverSocket(http.client.HTTPConnection):
    """HTTP on the daemon's Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("daemon", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def get(made: Installation, path: str) -> tuple[int, bytes]:
    connection = OverSocket(str(made.paths.socket))
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, body


async def send(client: Client, session: str, text: str) -> str:
    key = str(uuid.uuid4())
    await client.request(Send(session=session, key=key, text=text))
    return key


async def events_until(client: Client, session: str, kind: str, **fields: Any) -> list[dict[str, Any]]:
    """All events of the session up to the first one like this."""
    seen: list[dict[str, Any]] = []
    stream = client.stream(session)
    try:
        async with asyncio.timeout(EVENT_S):
            return await _until(stream, seen, kind, fields)
    except TimeoutError:
        raise AssertionError(f"no {kind} {fields} within {EVENT_S} s; seen: {seen[-5:]}") from None
    finally:
        await stream.aclose()


async def _until(stream: Any, seen: list[dict[str, Any]], kind: str, fields: dict[str, Any]) -> list[dict[str, Any]]:
    async for news in stream:
        event = getattr(news, "event", None)
        if event is not None:
            seen.append(event)
            if event["kind"] == kind and all(event.get(k) == v for k, v in fields.items()):
                return seen
    raise AssertionError("the stream ended")


@pytest.mark.req("OB-5")
@pytest.mark.req("OB-3")
def test_health_and_metrics_are_on_the_socket() -> None:
    async def run(made: Installation) -> None:
        async with made.client() as client, session_of(made, client) as session:
            await send(client, session, scripted("x", {"text": "hello"}))
            await events_until(client, session, "turn_ended")
            status, body = await asyncio.to_thread(get, made, "/healthz")
            assert (status, json.loads(body)["status"]) == (200, "SERVING")
            status, body = await asyncio.to_thread(get, made, "/metrics")
            assert status == 200
            assert b'betcode_subprocess_spawn_duration_seconds_count{outcome="ok"} 1.0' in body
            assert b"betcode_sqlite_operation_duration_seconds" in body
            assert session.encode() not in body

    with installation() as made:
        asyncio.run(run(made))


@pytest.mark.req("RS-4")
def test_hangup_reads_the_settings_again_and_bad_ones_change_nothing() -> None:
    def log(made: Installation) -> list[dict[str, Any]]:
        return [json.loads(line) for line in made.paths.log.read_text().splitlines()]

    def reloads(made: Installation) -> list[dict[str, Any]]:
        return [x for x in log(made) if x["message"] == "settings read again"]

    async def run(made: Installation) -> None:
        await made.start_daemon()
        pid = made.daemon_pid()
        assert pid
        made.paths.config.mkdir(exist_ok=True)
        made.paths.settings.write_text('{"daemon": {"log_level": "debug", "connections_max": 7}}')
        os.kill(pid, signal.SIGHUP)
        await until(lambda: "settings read again" in made.paths.log.read_text(), within_s=20, what="the reload")
        [line] = reloads(made)
        assert line["changed"] == ["daemon.log_level"]
        assert line["needs_restart"] == ["daemon.connections_max"]
        made.paths.settings.write_text('{"daemon": {"log_level": "info", "connections_max": 7}}')
        os.kill(pid, signal.SIGHUP)
        await until(lambda: len(reloads(made)) > 1, within_s=20, what="the second reload")
        assert (reloads(made)[1]["changed"], reloads(made)[1]["needs_restart"]) == (
            ["daemon.log_level"],
            ["daemon.connections_max"],
        ), "what still waits for a start is named each time"
        made.paths.settings.write_text('{"daemon": {"log_level": "loud"}}')
        os.kill(pid, signal.SIGHUP)
        await until(lambda: "settings are wrong" in made.paths.log.read_text(), within_s=20, what="the refusal")
        assert made.daemon_pid() == pid

    with installation() as made:
        asyncio.run(run(made))


@pytest.mark.req("PS-7")
@pytest.mark.req("PS-6")
def test_a_stopped_daemon_leaves_the_turn_running_and_the_next_one_adopts_it() -> None:
    async def run(made: Installation) -> None:
        async with made.client() as client, session_of(made, client) as session:
            key = await send(client, session, scripted("x", {"words": 80, "delta_ms": 20}))
            await events_until(client, session, "turn_started")
            before = (await client.request(Show(session=session)))["session"]
            pid = made.daemon_pid()
            await client.request(Stop())
            await until(lambda: made.daemon_pid() != pid, within_s=20, what="the end of the daemon")
            await made.start_daemon()  # it was stopped on purpose: no waiting client starts it again by itself
            seen = await events_until(client, session, "turn_ended")
            assert seen[-1]["message_ids"] == [key]
            assert seen[-1]["text"].endswith("w79")
            after = (await client.request(Show(session=session)))["session"]
            assert after["claude_pid"] == before["claude_pid"]
            assert [e["seq"] for e in seen] == list(range(1, len(seen) + 1))

    with installation() as made:
        asyncio.run(run(made))


@pytest.mark.req("PS-7")
@pytest.mark.req("PS-11")
def test_stop_with_sessions_leaves_no_process_and_removes_the_socket() -> None:
    async def run(made: Installation) -> None:
        async with made.client(starts=False) as client, session_of(made, client) as session:
            await send(client, session, scripted("x", {"words": 1000, "delta_ms": 50}))
            await events_until(client, session, "turn_started")
            await client.request(Stop(end_sessions=True))
        pids = [run[name] for run in made.runs() for name in ("keeper_pid", "claude_pid")]
        await until(lambda: not made.paths.socket.exists(), within_s=30, what="the removal of the socket")
        await until(lambda: all(start_ticks(p) is None for p in pids), within_s=30, what="the end of all processes")
        await until(lambda: made.daemon_pid() is None, within_s=30, what="the end of the daemon")
        wal = made.paths.database.with_name("daemon.db-wal")
        assert not wal.exists() or not wal.stat().st_size, "the write-ahead log is in the database"

    with installation() as made:
        asyncio.run(made.start_daemon())
        asyncio.run(run(made))


@pytest.mark.req("PS-11")
def test_closing_a_session_ends_its_whole_process_tree() -> None:
    async def run(made: Installation) -> None:
        async with made.client() as client, session_of(made, client, allow=("Bash",)) as session:
            command = "for i in $(seq 600); do sleep 0.1; done"
            call = {"tool": {"name": "Bash", "input": {"command": command, "description": "w"}}}
            await send(client, session, scripted("x", call))
            await events_until(client, session, "tool_call")
            [entry] = made.runs()
            await client.request(Close(session=session))
            await events_until(client, session, "status", state="CLOSED")
            assert start_ticks(entry["claude_pid"]) is None
            marked = [p for p in os.listdir("/proc") if p.isdecimal() and has_mark(int(p), entry["mark"])]
            assert marked == []

    def has_mark(pid: int, mark: str) -> bool:
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                return mark.encode() in file.read()
        except OSError:
            return False

    with installation() as made:
        asyncio.run(run(made))


@pytest.mark.req("INV-3")
@pytest.mark.req("PM-4")
def test_a_question_survives_the_daemon_and_is_answered_once_and_runs_once() -> None:
    async def run(made: Installation) -> None:
        async with made.client() as client, session_of(made, client) as session:
            await send(client, session, scripted("x", TOOL, {"text": "done"}))
            asked = (await events_until(client, session, "permission_asked"))[-1]
            made.kill_daemon()
            listed = (await client.request(Permissions()))["permissions"]
            assert [q["id"] for q in listed] == [asked["permission_id"]]
            answers = await asyncio.gather(
                *(client.request(Answer(permission=asked["permission_id"], allow=True)) for _ in range(5)),
                return_exceptions=True,
            )
            assert sum(isinstance(a, dict) for a in answers) == 1
            made.kill_daemon()
            seen = await events_until(client, session, "turn_ended")
            assert [e["state"] for e in seen if e["kind"] == "permission_settled"] == ["ALLOWED"]
            assert (made.project / "counter.txt").read_text() == "x\n"

    with installation() as made:
        asyncio.run(run(made))


@pytest.mark.req("INV-7")
@pytest.mark.req("INV-1")
def test_a_killed_keeper_takes_claude_with_it_and_the_message_is_answered_once() -> None:
    async def run(made: Installation) -> None:
        async with made.client() as client, session_of(made, client) as session:
            # claude outlives its keeper by some 2 s; the answer must not be complete by then
            key = await send(client, session, scripted("x", {"words": 60, "delta_ms": 100}))
            await events_until(client, session, "turn_started")
            [first] = made.runs()
            os.kill(first["keeper_pid"], signal.SIGKILL)
            seen = await events_until(client, session, "status", state="IDLE")
            runs = {r["claude_pid"]: r for r in made.runs()}
            assert len(runs) == 2
            assert start_ticks(first["claude_pid"]) is None
            assert [e["message_ids"] for e in seen if e["kind"] == "turn_ended"] == [[key]]
            finals = [e["state"] for e in seen if e["kind"] == "message_state"]
            assert finals.count("completed") == 1
            assert made.model.stats()["requests_total"] == 2

    with installation() as made:
        asyncio.run(run(made))


@pytest.mark.req("INV-7")
@pytest.mark.req("PS-5")
def test_claude_killed_while_idle_is_started_again_with_the_next_message_and_remembers() -> None:
    async def run(made: Installation) -> None:
        async with made.client() as client, session_of(made, client) as session:
            await send(client, session, scripted("x", {"text": "one"}))
            await events_until(client, session, "status", state="IDLE")
            [first] = made.runs()
            os.kill(first["claude_pid"], signal.SIGKILL)
            made.kill_daemon()
            await send(client, session, scripted("y", {"text": "two"}))
            seen = await events_until(client, session, "turn_ended", text="two")
            assert [e["text"] for e in seen if e["kind"] == "assistant"] == ["one", "two"]
            assert len({r["claude_pid"] for r in made.runs()}) == 2

    with installation() as made:
        asyncio.run(run(made))


@pytest.mark.req("PS-4")
def test_an_interrupt_stops_the_turn_and_holds_what_waits_until_it_is_released() -> None:
    async def run(made: Installation) -> None:
        from betcode.model.frames import Release

        async with made.client() as client, session_of(made, client) as session:
            first = await send(client, session, scripted("x", {"words": 2000, "delta_ms": 20}))
            second = await send(client, session, scripted("y", {"text": "two"}))
            await events_until(client, session, "turn_started")
            assert (await client.request(Interrupt(session=session)))["held"] == 1
            seen = await events_until(client, session, "turn_ended")
            assert (seen[-1]["outcome"], seen[-1]["message_ids"]) == ("interrupted", [first])
            status = await client.request(GetStatus())
            assert [s["waiting"] for s in status["sessions"]] == [1]
            await client.request(Release(session=session))
            seen = await events_until(client, session, "turn_ended", text="two")
            assert seen[-1]["message_ids"] == [second]

    with installation() as made:
        asyncio.run(run(made))


@pytest.mark.req("OB-1")
def test_every_log_line_of_a_session_has_its_ids() -> None:
    async def run(made: Installation) -> None:
        async with made.client() as client, session_of(made, client) as session:
            await send(client, session, scripted("x", {"text": "hello"}))
            await events_until(client, session, "turn_ended")
            lines = [json.loads(line) for line in made.paths.log.read_text().splitlines()]
            assert all(len(line["trace_id"]) == 32 for line in lines)
            mine = [line for line in lines if line.get("session_id") == session]
            assert any(line["message"] == "claude started" for line in mine)

    with installation() as made:
        asyncio.run(run(made))
