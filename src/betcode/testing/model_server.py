"""A scripted stand-in for the Anthropic Messages API, on loopback: the real `claude` runs on it without an account.

    python -m betcode.testing.model_server --port 0 [--script FILE] [--ready-file FILE] [--record FILE]

When it listens it prints one line of JSON, {"port", "pid", "url"}, and writes the same to the ready file. SIGTERM and
SIGINT end it at once with exit code 0. How scripts are written: script.py. Which script answers: conversation.py.

    POST /v1/messages               the scripted answer, streamed if asked
    POST /v1/messages/count_tokens  a rough count
    GET /_stats, POST /_reset       what was asked so far (model_stats.py); forget it
    POST /_script                   replaces the default script, and lets "times" count from zero
    POST /_weather                  what happens to all requests for a while (weather.py)
"""

import argparse
import asyncio
import json
import os
import secrets
import signal
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from betcode.testing.conversation import Governing, governing, is_background, script_for, session_of
from betcode.testing.http_connection import BadRequest, Connection, Request
from betcode.testing.model_answer import Answer
from betcode.testing.model_stats import FaultCounts, ModelRequest, ModelStats
from betcode.testing.script import DEFAULT_SCRIPT, Fault, Script, ScriptError, Step, parse_script, resolved
from betcode.testing.sse import Reply, error_body
from betcode.testing.weather import Weather, parse_weather

_BACKGROUND_STEP = Step(
    text="<summary>scripted</summary>"
)  # what the CLI's own calls get; none of a script's steps is used up


class ModelServer:
    """Answers the requests of all connections. Keeps counters and the default script, no conversation."""

    def __init__(self, script: Script = DEFAULT_SCRIPT, record: TextIO | None = None) -> None:
        self._script = script
        self._record = record
        self._stats = ModelStats()
        self._faults = FaultCounts()
        self._weather, self._weather_s = Weather(), 0.0
        self._numbered = 0
        self._token = secrets.token_hex(4)  # makes ids new after a restart of this server, too

    async def serve(self, connection: Connection) -> None:
        """Answer one connection's requests until the client leaves."""
        while True:
            try:
                request = await connection.read_request()
            except BadRequest as error:
                await _send_json(connection, error.status, error_body("invalid_request_error", str(error), "req_none"))
                return
            if request.method == "POST" and request.path == "/v1/messages":
                await self._messages(connection, request)
            else:
                status, body = self._other(request)
                await _send_json(connection, status, body, head_only=request.method == "HEAD")

    def _other(self, request: Request) -> tuple[int, bytes]:
        """Status and JSON body for everything but the Messages API itself."""
        match request.method, request.path:
            case (("GET" | "HEAD"), "/"):
                return 200, b"{}"
            case "GET", "/_stats":
                return 200, json.dumps(self._stats.as_json()).encode()
            case "POST", "/_reset":
                self._stats, self._faults = ModelStats(), FaultCounts()
                return 200, b"{}"
            case "POST", "/_script":
                try:
                    self._script = parse_script(json.loads(request.body))
                except (ValueError, RecursionError) as error:
                    return 400, _invalid(error)
                self._faults = FaultCounts()
                return 200, b"{}"
            case "POST", "/_weather":
                try:
                    self._weather, self._weather_s = parse_weather(json.loads(request.body)), time.monotonic()
                except (ValueError, RecursionError) as error:
                    return 400, _invalid(error)
                return 200, b"{}"
            case "POST", "/v1/messages/count_tokens":
                return 200, json.dumps({"input_tokens": len(request.body) // 4 + 1}).encode()
            case _:
                return 404, error_body(
                    "not_found_error", f"no such endpoint: {request.method} {request.path}", "req_none"
                )

    async def _messages(self, connection: Connection, request: Request) -> None:
        self._numbered += 1
        stats, number = self._stats, self._numbered
        step: Step | None = None
        try:
            body = _conversation_in(request.body)
        except (ValueError, RecursionError) as error:
            body, step = {"messages": []}, _refusal(error)
        found = governing(body["messages"])
        noted = self._noted(body, request.headers, number)
        noted.prompt, noted.step = found.prompt, found.step
        self._write_record(noted, body)
        step = step or (_BACKGROUND_STEP if noted.background else self._step(noted, found))
        passed_s = time.monotonic() - self._weather_s
        step = self._weather.step(passed_s, step, number=number, model=noted.model, session=noted.session)
        stats.begin(noted)
        reply = Reply(step=step, model=noted.model, reply_id=f"{self._token}{number:06d}")
        answer = Answer(connection, reply, streamed=noted.streamed, on_status=partial(stats.answered, noted))
        done = False
        try:
            await answer.give()
            done = True
        finally:
            stats.end(noted, done=done)

    def _step(self, noted: ModelRequest, found: Governing) -> Step:
        """What this request is answered with; a script that cannot be run is answered with error 400."""
        try:
            script = script_for(found.prompt, self._script)
        except ScriptError as error:
            return _refusal(error)
        key = (noted.session, noted.agent, found.prompt, found.occurrence, found.step)
        return resolved(script.step_at(found.step, told=found.told), self._faults.count(key))

    def _noted(self, body: Mapping[str, Any], headers: Mapping[str, str], number: int) -> ModelRequest:
        return ModelRequest(
            n=number,
            time_unix_s=time.time(),
            session=session_of(headers, body),
            agent=headers.get("x-claude-code-agent-id", ""),
            model=str(body.get("model", "")),
            background=is_background(body),
            streamed=body.get("stream") is True,
        )

    def _write_record(self, noted: ModelRequest, body: Mapping[str, Any]) -> None:
        """For a person who wants to see what a CLI really sends; the headers, and so the key, are left out."""
        if self._record is not None:
            self._record.write(
                json.dumps({"n": noted.n, "session": noted.session, "agent": noted.agent, "body": body}) + "\n"
            )
            self._record.flush()


def _conversation_in(raw: bytes) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(raw)
    messages = body.get("messages") if isinstance(body, dict) else None
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise ValueError('the body must be an object with a list of "messages"')
    return body


def _refusal(error: Exception) -> Step:
    message = f"{error}. {error.hint}" if isinstance(error, ScriptError) else str(error)
    return Step(fault=Fault.STATUS, status=400, error_type="invalid_request_error", message=message)


def _invalid(error: Exception) -> bytes:
    return error_body("invalid_request_error", _refusal(error).message, "req_none")


async def _send_json(connection: Connection, status: int, body: bytes, *, head_only: bool = False) -> None:
    await connection.send_head(status, {"content-type": "application/json", "content-length": str(len(body))})
    if not head_only:
        await connection.send(body)


async def run(server: ModelServer, *, port: int, ready_file: Path | None) -> None:
    """Listen on 127.0.0.1 until SIGTERM or SIGINT. Port 0 takes any free one. Raises OSError if the port is taken."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    listener = await loop.create_server(partial(Connection, server.serve), "127.0.0.1", port, backlog=512)
    bound: int = listener.sockets[0].getsockname()[1]
    ready = json.dumps({"port": bound, "pid": os.getpid(), "url": f"http://127.0.0.1:{bound}"})
    if ready_file is not None:
        half = ready_file.with_name(f"{ready_file.name}.{os.getpid()}")
        half.write_text(ready + "\n")
        half.replace(ready_file)  # whoever waits for the file never reads half of it
    print(ready, flush=True)
    await stop.wait()
    listener.close()  # the open answers end with the process


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(
        prog="python -m betcode.testing.model_server", description="Scripted Messages API on loopback."
    )
    parser.add_argument("--port", type=int, default=0, help="0 (the default) takes a free port")
    parser.add_argument("--script", type=Path, help="default script, a JSON file")
    parser.add_argument("--ready-file", type=Path, help="written when the server listens")
    parser.add_argument("--record", type=Path, help="append every model request here, one JSON object a line")
    arguments = parser.parse_args()
    script = DEFAULT_SCRIPT
    if arguments.script is not None:
        try:
            script = parse_script(json.loads(arguments.script.read_text()))
        except (OSError, ValueError, RecursionError) as error:
            parser.error(f"--script {arguments.script}: {error}")
    try:
        record = arguments.record.open("a") if arguments.record is not None else None
        asyncio.run(run(ModelServer(script, record), port=arguments.port, ready_file=arguments.ready_file))
    except (OSError, OverflowError) as error:  # a port or a file that cannot be had
        parser.error(str(error))


if __name__ == "__main__":
    main()
