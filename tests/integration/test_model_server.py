"""The model server over real sockets, and the real `claude` against it."""

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from betcode.testing.claude_home import RunningModelServer, bundled_claude, clean_env, model_server
from betcode.testing.limits import BODY_BYTES_MAX
from betcode.testing.script import expected_text

DEADLINE_S = 30.0


@pytest.fixture(scope="module")
def server() -> Iterator[RunningModelServer]:
    with model_server() as running:
        yield running


def prompt(*steps: dict[str, Any]) -> str:
    return f"{uuid.uuid4()} @script {json.dumps({'steps': steps})}"


def body(text: str, *, stream: bool = True) -> bytes:
    messages = [{"role": "user", "content": text}]
    return json.dumps({"model": "some-model", "stream": stream, "messages": messages, "tools": []}).encode()


def post(
    server: RunningModelServer, text: str, *, session: str = "s", stream: bool = True
) -> tuple[int, http.client.HTTPMessage, bytes]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_S)) as connection:
        headers = {"x-claude-code-session-id": session}
        connection.request("POST", "/v1/messages?beta=true", body(text, stream=stream), headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()


def streamed_text(raw: bytes) -> str:
    events = [json.loads(part.split(b"data: ")[1]) for part in raw.split(b"\n\n") if part]
    return "".join(event.get("delta", {}).get("text", "") for event in events)


def seen(server: RunningModelServer, session: str) -> list[dict[str, Any]]:
    return [request for request in server.stats()["requests"] if request["session"] == session]


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


# ------------------------------------------------------------------------------------------------------ the server


@pytest.mark.req("RL-5")
def test_the_server_says_where_it_listens_and_ends_at_once_in_the_middle_of_a_stream(tmp_path: Path) -> None:
    ready_file = tmp_path / "ready"
    command = [sys.executable, "-m", "betcode.testing.model_server", "--port", "0", "--ready-file", str(ready_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert json.loads(ready_file.read_text()) == ready
        assert ready["pid"] == process.pid
        connection = http.client.HTTPConnection("127.0.0.1", ready["port"], timeout=DEADLINE_S)
        connection.request("POST", "/v1/messages", body(prompt({"words": 9, "delta_ms": 60_000})))
        assert connection.getresponse().read1(64).startswith(b"event: message_start")
        before = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
        assert time.monotonic() - before < 5
        connection.close()


@pytest.mark.req("RL-5")
def test_a_wrong_script_file_stops_the_start_with_its_reason() -> None:
    with pytest.raises(RuntimeError, match='unknown key "txt"'), model_server({"steps": [{"txt": "a"}]}):
        pass


@pytest.mark.req("RL-5")
@pytest.mark.parametrize("arguments", [["--port", "99999"], ["--ready-file", "/nowhere/ready"], ["--record", "/"]])
def test_a_port_or_file_that_cannot_be_had_is_one_sentence(arguments: list[str]) -> None:
    argv = [sys.executable, "-m", "betcode.testing.model_server", *arguments]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert (ended.returncode, "error: " in ended.stderr, "Traceback" in ended.stderr) == (2, True, False)


@pytest.mark.req("RL-5")
def test_one_connection_serves_many_requests_and_odd_ones_get_json(server: RunningModelServer) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_S)) as connection:
        got = []
        for method, path, sent in (
            ("HEAD", "/", None),
            ("GET", "/nowhere", None),
            ("POST", "/v1/messages/count_tokens", b"{}"),
            ("POST", "/v1/messages", b"[1]"),
            ("POST", "/_script", b'{"steps": [{"txt": 1}]}'),
            ("POST", "/_script", b"[" * 100_000),
            ("POST", "/v1/messages", body("chunked", stream=False)),
        ):
            chunked = iter([sent[:5], sent[5:]]) if sent is not None else None
            connection.request(method, path, chunked)
            response = connection.getresponse()
            got.append((response.status, response.read()))
    assert [status for status, _ in got] == [200, 404, 200, 400, 400, 400, 200]
    assert got[0][1] == b""
    assert json.loads(got[1][1])["error"]["type"] == "not_found_error"
    assert "unknown key" in json.loads(got[4][1])["error"]["message"]
    assert json.loads(got[6][1])["content"] == [{"type": "text", "text": "ok"}]


@pytest.mark.req("RL-5")
def test_a_body_of_twenty_megabytes_is_read_and_one_over_the_limit_is_refused(server: RunningModelServer) -> None:
    status, _, raw = post(server, "a" * 20_000_000, stream=False)
    assert (status, json.loads(raw)["content"][0]["text"]) == (200, "ok")
    with socket.create_connection(("127.0.0.1", server.port), DEADLINE_S) as connection:
        connection.sendall(b"POST /v1/messages HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % (BODY_BYTES_MAX + 1))
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


@pytest.mark.req("RL-5")
def test_fifty_streams_at_once_keep_their_pace_and_their_text(server: RunningModelServer) -> None:
    session = str(uuid.uuid4())
    step = {"words": 40, "delta_ms": 25}
    took: list[float] = []
    texts: list[str] = []

    def one() -> None:
        before = time.monotonic()
        texts.append(streamed_text(post(server, prompt(step), session=session)[2]))
        took.append(time.monotonic() - before)

    threads = [threading.Thread(target=one) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert texts == [expected_text(step)] * 50
    assert min(took) >= 39 * 0.025 * 0.95
    assert max(took) < 10  # one after the other they would take 49 s
    assert server.stats()["by_session"][session] == 50


@pytest.mark.req("RL-1")
def test_an_error_is_answered_as_often_as_scripted_for_each_session(server: RunningModelServer) -> None:
    script = prompt({"status": 429, "headers": {"retry-after": 7}, "times": 2, "then": {"text": "at last"}})
    for session in ("one", "two"):
        answers = [post(server, script, session=session) for _ in range(3)]
        assert [status for status, _, _ in answers] == [429, 429, 200]
        assert answers[0][1]["retry-after"] == "7"
        assert json.loads(answers[0][2])["error"]["type"] == "rate_limit_error"
        assert streamed_text(answers[2][2]) == "at last"
        assert [request["status"] for request in seen(server, session)] == [429, 429, 200]


@pytest.mark.req("RL-1")
def test_resets_and_early_ends_reach_the_client_as_such(server: RunningModelServer) -> None:
    with pytest.raises(ConnectionResetError):
        post(server, prompt({"reset": "before_headers"}), session="reset")
    with pytest.raises(ConnectionResetError):
        post(server, prompt({"reset": "mid_stream", "after": 2, "words": 9}), session="reset")
    assert [(r["status"], r["done"], r["cut"]) for r in seen(server, "reset")] == [(0, True, False), (200, True, False)]
    _, _, ended = post(server, prompt({"eof_after": 2, "words": 9}))
    assert streamed_text(ended) == "w0 w1 "
    assert b"message_stop" not in ended
    _, _, failed = post(server, prompt({"sse_error": "overloaded_error", "after": 2, "words": 9}))
    assert streamed_text(failed) == "w0 w1 "
    assert b"event: error" in failed
    status, headers, page = post(server, prompt({"html": 502}))
    assert (status, headers["content-type"], page[:6]) == (502, "text/html", b"<html>")


@pytest.mark.req("RL-1")
def test_a_client_that_leaves_in_a_silence_is_noticed_at_once(server: RunningModelServer) -> None:
    session = str(uuid.uuid4())
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_S)
    sent = body(prompt({"stall_s": 3600, "after": 1, "words": 3}))
    connection.request("POST", "/v1/messages", sent, {"x-claude-code-session-id": session})
    response = connection.getresponse()
    received = b""
    while b"w0" not in received:
        received += response.read1(65536)
    assert not seen(server, session)[0]["done"]
    response.close()
    connection.close()
    assert eventually(lambda: bool(seen(server, session)[0]["cut"]))


@pytest.mark.req("RL-1")
def test_a_stalled_stream_goes_on_after_its_silence(server: RunningModelServer) -> None:
    before = time.monotonic()
    _, _, raw = post(server, prompt({"stall_s": 0.4, "after": 1, "words": 3, "delay_s": 0.3}))
    assert streamed_text(raw) == "w0 w1 w2"
    assert time.monotonic() - before >= 0.65


@pytest.mark.req("RL-5")
def test_the_default_script_can_be_replaced_and_the_counters_forgotten() -> None:
    with model_server({"steps": [{"text": "from the file"}], "repeat": True}) as own:
        assert streamed_text(post(own, "hello")[2]) == "from the file"
        own.set_script({"steps": [{"text": "replaced"}]})
        assert streamed_text(post(own, "hello")[2]) == "replaced"
        with pytest.raises(ValueError, match='unknown key "x"'):
            own.set_script({"x": 1})
        assert (own.stats()["requests_total"], own.stats()["by_status"]) == (2, {"200": 2})
        own.reset()
        assert (own.stats()["requests_total"], own.stats()["requests"]) == (0, [])


# -------------------------------------------------------------------------------------------------- the real claude


class Claude:
    """One real CLI process with streaming input and output."""

    def __init__(self, home: Path, server: RunningModelServer, *flags: str, **env: str) -> None:
        stream = ("--input-format", "stream-json", "--output-format", "stream-json", "--include-partial-messages")
        self.process = subprocess.Popen(
            [bundled_claude(), "-p", "--verbose", *stream, *flags],
            cwd=home,
            env={**clean_env(home, server.url), **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def say(self, text: str) -> None:
        assert self.process.stdin is not None
        message = {"type": "user", "message": {"role": "user", "content": text}, "uuid": str(uuid.uuid4())}
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def lines_until(self, last: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """Read lines to the first that `last` accepts; the time limit of the test bounds it."""
        assert self.process.stdout is not None
        lines: list[dict[str, Any]] = []
        for raw in self.process.stdout:
            lines.append(json.loads(raw))
            if last(lines[-1]):
                return lines
        raise AssertionError(f"claude ended after {[line['type'] for line in lines]}")

    def turn(self, text: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        self.say(text)
        lines = self.lines_until(lambda line: line["type"] == "result")
        return lines, lines[-1]

    def __enter__(self) -> "Claude":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def of_type(lines: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [line for line in lines if kind in (line["type"], line.get("subtype"))]


@pytest.mark.req("RL-5")
@pytest.mark.limit(60)
def test_the_real_cli_gets_text_and_a_tool_call_and_is_counted_by_its_session(
    server: RunningModelServer, tmp_path: Path
) -> None:
    session = str(uuid.uuid4())
    with Claude(tmp_path, server, "--session-id", session, "--allowedTools", "Bash") as claude:
        lines, result = claude.turn(prompt({"thinking": "hm", "words": 5}))
        assert (result["result"], result["is_error"]) == ("w0 w1 w2 w3 w4", False)
        deltas = [line["event"].get("delta", {}).get("text") for line in of_type(lines, "stream_event")]
        assert [text for text in deltas if text] == ["w0 ", "w1 ", "w2 ", "w3 ", "w4"]
        bash = {"name": "Bash", "input": {"command": "echo a-$((40+2)) > out", "description": "d"}}
        lines, result = claude.turn(prompt({"text": "let me", "tool": bash}, {"text": "finished"}))
        assert result["result"] == "finished"
        assert (tmp_path / "out").read_text() == "a-42\n"
        assert claude.turn("a plain prompt")[1]["result"] == "ok"
    requests = seen(server, session)
    assert [request["step"] for request in requests] == [0, 0, 1, 0]
    assert all(request["done"] and request["streamed"] and not request["background"] for request in requests)
    assert requests[-1]["prompt"] == "a plain prompt"
    assert server.stats()["by_session"][session] == 4


@pytest.mark.req("RL-1")
@pytest.mark.limit(60)
def test_the_real_cli_retries_a_429_and_asks_for_the_rest_of_a_cut_answer(
    server: RunningModelServer, tmp_path: Path
) -> None:
    session = str(uuid.uuid4())
    with Claude(tmp_path, server, "--session-id", session, CLAUDE_CODE_MAX_RETRIES="1") as claude:
        lines, result = claude.turn(prompt({"status": 429, "times": 1}))
        assert (result["result"], result["is_error"]) == ("ok", False)
        assert [(line["attempt"], line["error_status"]) for line in of_type(lines, "api_retry")] == [(1, 429)]
        assert [request["status"] for request in seen(server, session)] == [429, 200]

        lines, result = claude.turn(prompt({"eof_after": 3, "words": 3}, {"text": "the rest"}))
        texts = [line["message"]["content"][0]["text"] for line in of_type(lines, "assistant")]
        assert texts == ["w0 w1 w2", "the rest"]
        assert [request["step"] for request in seen(server, session)[2:]] == [0, 1]

        _, result = claude.turn(prompt({"reset": "mid_stream", "after": 2, "words": 4, "times": 1}))
        assert result["result"] == "w0 w1 w2 w3"


@pytest.mark.req("PS-5")
@pytest.mark.limit(60)
def test_a_script_survives_kill_and_resume_of_the_real_cli(server: RunningModelServer, tmp_path: Path) -> None:
    session = str(uuid.uuid4())
    bash = {"name": "Bash", "input": {"command": "echo once >> out", "description": "d"}}
    steps = ({"tool": bash}, {"words": 12, "delta_ms": 100}, {"text": "not reached"})
    with Claude(tmp_path, server, "--session-id", session, "--allowedTools", "Bash") as claude:
        claude.say(prompt(*steps))
        claude.lines_until(lambda line: line.get("event", {}).get("delta", {}).get("text") == "w1 ")
    with Claude(tmp_path, server, "--resume", session, CLAUDE_CODE_RESUME_INTERRUPTED_TURN="1") as claude:
        lines = claude.lines_until(lambda line: line["type"] == "result")
        assert lines[-1]["result"] == expected_text(steps[1])
    assert (tmp_path / "out").read_text() == "once\n"
    assert eventually(lambda: [r["cut"] for r in seen(server, session)] == [False, True, False])
    assert [request["step"] for request in seen(server, session)] == [0, 1, 1]
