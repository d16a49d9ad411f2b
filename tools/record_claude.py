"""Records what a `claude` prints, for tests/recordings: `python tools/record_claude.py CLAUDE...`.

One session each, against the scripted model on this machine and in an empty home: an answer with thinking, a tool that
is allowed, one that is denied, an interrupt, an API error. Writes `versions/VERSION.ndjson`, byte for byte but for the
home, which becomes /home/user.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from betcode.testing.claude_home import clean_env, model_server
from betcode.testing.installation import scripted
from betcode.wire import claude_stdin

ROOT = Path(__file__).resolve().parents[1]
INTO = ROOT / "tests/recordings/versions"
FLAGS = (
    "-p --input-format=stream-json --output-format=stream-json --verbose --include-partial-messages"
    " --permission-prompt-tool=stdio"
)
WAIT_S = 60.0
BASH = {"tool": {"name": "Bash", "input": {"command": "echo hello > greeting; cat greeting", "description": "Greet"}}}
TURNS: tuple[tuple[str, dict[str, Any] | None], ...] = (
    (scripted("think", {"thinking": "let me see", "text": "an answer"}), None),
    (scripted("allow", BASH, {"text": "it ran"}), {"behavior": "allow"}),
    (scripted("deny", BASH, {"text": "it did not run"}), {"behavior": "deny"}),
    (scripted("interrupt", {"words": 1_000, "delta_ms": 20}), None),
    (scripted("error", {"status": 400, "message": "no credit"}), None),
)


class Recorded:
    """One process and what it printed."""

    def __init__(self, claude: Path, home: Path, url: str) -> None:
        self.lines: list[bytes] = []
        project = home / "project"
        project.mkdir()
        env = clean_env(home, url) | {"CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS": "1", "CLAUDE_CODE_MAX_RETRIES": "0"}
        self._process = subprocess.Popen(
            [claude, *FLAGS.split()], env=env, cwd=project, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def say(self, line: bytes) -> None:
        """Give it one line."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + b"\n")
        self._process.stdin.flush()

    def until(self, kind: str) -> dict[str, Any]:
        """Read on to the next line of this type."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line)
            read: dict[str, Any] = json.loads(line)
            if read["type"] == kind:
                return read
        raise RuntimeError(f"it ended before a line of type {kind}")

    def end(self) -> None:
        """Close its stdin and read the rest."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self.lines += self._process.stdout.readlines()
        self._process.wait(WAIT_S)


def record(claude: Path) -> bytes:
    """What it prints in all the turns."""
    with tempfile.TemporaryDirectory() as folder, model_server() as model:
        one = Recorded(claude, Path(folder), model.url)
        one.say(claude_stdin.initialize("init"))
        one.until("control_response")
        for text, answer in TURNS:
            one.say(claude_stdin.user_message(str(uuid.uuid4()), text))
            if answer is not None:
                asked = one.until("control_request")
                if answer["behavior"] == "allow":
                    one.say(claude_stdin.allow(asked["request_id"], asked["request"]["input"]))
                else:
                    one.say(claude_stdin.deny(asked["request_id"], "No."))
            elif text.startswith("interrupt"):
                while b"content_block_delta" not in one.lines[-1]:
                    one.until("stream_event")
                one.say(claude_stdin.interrupt("interrupt"))
            one.until("result")
        one.end()
        return b"".join(one.lines).replace(folder.encode(), b"/home/user")


def main(argv: Sequence[str]) -> int:
    """Returns the exit status."""
    for name in argv:
        claude = Path(name).resolve()
        told = subprocess.run([claude, "--version"], capture_output=True, text=True, timeout=WAIT_S, check=True).stdout
        version = re.match(r"\d+\.\d+\.\d+", told)
        if version is None:
            raise ValueError(f"{claude} does not tell its version: {told!r}")
        INTO.mkdir(exist_ok=True)
        file = INTO / f"{version[0]}.ndjson"
        file.write_bytes(record(claude))
        print(f"{file.relative_to(ROOT)}: {file.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
