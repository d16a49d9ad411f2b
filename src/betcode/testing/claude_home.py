"""The real `claude` in a clean room: its environment, where its binary is, and a model server of its own to talk to."""

import contextlib
import http.client
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import betcode
from betcode.testing.limits import ADMIN_TIMEOUT_S, READY_TIMEOUT_S, STOP_TIMEOUT_S

_READY_POLL_S = 0.01  # 1 % of what a Python start costs anyway


def clean_env(home: Path, base_url: str, *, path: str | None = None) -> dict[str, str]:
    """The whole environment for a real CLI that must reach nothing but `base_url` and write nowhere but `home`.

    Args:
        home: an existing directory of the test; the CLI keeps its transcripts and settings below it.
        base_url: of a model server, without a path.
        path: PATH for the CLI and its tools; the caller's PATH unless given.
    """
    return {
        "HOME": str(home),
        "PATH": os.environ.get("PATH", os.defpath) if path is None else path,
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "ANTHROPIC_API_KEY": "sk-ant-scripted-not-a-key",
        "ANTHROPIC_BASE_URL": base_url,
        "DISABLE_AUTOUPDATER": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }


def bundled_claude() -> Path:
    """The CLI inside the installed `claude-agent-sdk` wheel, or another one that BETCODE_TEST_CLAUDE names.

    Raises FileNotFoundError with what to install.
    """
    if other := os.environ.get("BETCODE_TEST_CLAUDE"):
        return Path(other)
    found = importlib.util.find_spec("claude_agent_sdk")
    if found is not None and found.origin is not None:
        binary = Path(found.origin).parent / "_bundled" / "claude"
        if binary.is_file():
            return binary
    raise FileNotFoundError(
        "the wheel claude-agent-sdk, which carries the real CLI, is not installed: pip install 'betcode[claude]'"
    )


@dataclass(frozen=True, slots=True)
class RunningModelServer:
    """A model server in a process of its own."""

    url: str
    port: int
    pid: int

    def stats(self) -> dict[str, Any]:
        """What it was asked so far; the fields are in betcode/testing/model_stats.py."""
        return self._call("GET", "/_stats")

    def set_script(self, script: dict[str, Any]) -> None:
        """Replace the script that governs prompts without one. Raises ValueError with the sentence of the server."""
        self._call("POST", "/_script", json.dumps(script))

    def set_weather(self, *periods: dict[str, Any], repeat: bool = False) -> None:
        """What happens to all requests from now on (weather.py); without periods nothing special."""
        self._call("POST", "/_weather", json.dumps({"periods": periods, "repeat": repeat}))

    def reset(self) -> None:
        """Forget all counters."""
        self._call("POST", "/_reset")

    def _call(self, method: str, path: str, body: str | None = None) -> dict[str, Any]:
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=ADMIN_TIMEOUT_S)
        ) as connection:
            connection.request(method, path, body)
            response = connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
        if response.status != 200:
            raise ValueError(f"{method} {path}: {answer['error']['message']}")
        return answer


@contextlib.contextmanager
def model_server(script: dict[str, Any] | None = None, *, record: Path | None = None) -> Iterator[RunningModelServer]:
    """Start a model server, wait until it listens, end it at the end.

    Args:
        script: the default script.
        record: a file to which the server appends every model request.

    Raises:
        RuntimeError: it did not start; the message carries what it printed.
    """
    with tempfile.TemporaryDirectory(prefix="model-server-") as folder:
        ready_file = Path(folder) / "ready.json"
        command = [sys.executable, "-m", "betcode.testing.model_server", "--port", "0", "--ready-file", str(ready_file)]
        if script is not None:
            script_file = Path(folder) / "script.json"
            script_file.write_text(json.dumps(script))
            command += ["--script", str(script_file)]
        if record is not None:
            command += ["--record", str(record)]
        source = str(Path(betcode.__file__).parent.parent)
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH"))))}
        errors = Path(folder) / "stderr"
        with errors.open("w") as stderr:
            process = subprocess.Popen(
                command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr
            )
        try:
            _wait_until_ready(process, ready_file, errors)
            yield RunningModelServer(**json.loads(ready_file.read_text()))
        finally:
            _end(process)


def _wait_until_ready(process: "subprocess.Popen[bytes]", ready_file: Path, errors: Path) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not ready_file.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(
                f"the model server did not start (exit code {process.poll()}): {errors.read_text()[-2000:]}"
            )
        time.sleep(_READY_POLL_S)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
