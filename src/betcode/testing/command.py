"""The real command `betcode` in a process of its own, as a user's shell starts it; with or without a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import betcode

LIMIT_S = 60.0
"""For a command to end, and for a text to appear on a terminal."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        """Standard output as one JSON value."""
        return json.loads(self.out)

    def lines(self) -> list[Any]:
        """Standard output as lines of JSON."""
        return [json.loads(line) for line in self.out.splitlines()]


class Command:
    """Starts `betcode` with an environment of one's own."""

    def __init__(self, env: Mapping[str, str], directory: Path) -> None:
        """`env` is the whole environment but for the place of this source; `directory` is where commands start."""
        self.env = {"PYTHONPATH": str(Path(betcode.__file__).parent.parent), **env}
        self.directory = directory

    def with_env(self, **changes: str) -> Command:
        """The same with other variables."""
        return Command({**self.env, **changes}, self.directory)

    def argv(self, *arguments: str) -> list[str]:
        """What is executed."""
        return [sys.executable, "-P", "-m", "betcode", *arguments]

    def __call__(self, *arguments: str, stdin: bytes | None = None, limit_s: float = LIMIT_S) -> Ended:
        """Run to the end. Without `stdin` standard input is empty."""
        done = subprocess.run(
            self.argv(*arguments),
            env=self.env,
            cwd=self.directory,
            input=stdin if stdin is not None else b"",
            capture_output=True,
            timeout=limit_s,
            check=False,
        )
        return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())

    def session_of(self, ended: Ended) -> str:
        """Our id of the session whose `run --output-format json` ended so: claude's result has only claude's id."""
        claude_id = ended.json()["session_id"]
        (found,) = [s["id"] for s in self("status", "--json").json()["sessions"] if s["claude_session_id"] == claude_id]
        return str(found)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Run beside the test, with pipes for its output."""
        return subprocess.Popen(
            self.argv(*arguments),
            env=self.env,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def on_terminal(self, *arguments: str) -> Terminal:
        """Run with a terminal for standard input, output and error."""
        return Terminal(self.argv(*arguments), {**self.env, "TERM": "xterm"}, self.directory)


class Terminal:
    """A command on a terminal of its own; use it with `with`."""

    def __init__(self, argv: list[str], env: Mapping[str, str], directory: Path) -> None:
        """Start it."""
        self._ours, theirs = pty.openpty()
        self.text = ""
        try:
            self.process = subprocess.Popen(
                argv, env=env, cwd=directory, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
            )
        finally:
            os.close(theirs)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self._ours, text.encode())

    def wait_for(self, text: str, *, limit_s: float = LIMIT_S) -> None:
        """Read until `text` is on the screen. Raises AssertionError at the deadline or when the command ends first."""
        deadline = time.monotonic() + limit_s
        while text not in self.text:
            assert time.monotonic() < deadline, f"{text!r} did not appear; there is: {self.text!r}"
            assert self._read(0.05), f"the command ended before {text!r} appeared: {self.text!r}"

    def wait(self, *, limit_s: float = LIMIT_S) -> int:
        """Read to the end. Returns the exit status."""
        deadline = time.monotonic() + limit_s
        while self._read(0.05):
            assert time.monotonic() < deadline, f"still running; there is: {self.text!r}"
        return self.process.wait(limit_s)

    def read(self) -> None:
        """Take what comes within a moment."""
        self._read(0.05)

    def _read(self, wait_s: float) -> bool:
        """Take what is there; False when nothing can come any more."""
        if not select.select([self._ours], [], [], wait_s)[0]:
            return True
        try:
            data = os.read(self._ours, 65_536)
        except OSError:  # Linux says so when the last user of the terminal is gone
            return False
        self.text += data.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(data)
