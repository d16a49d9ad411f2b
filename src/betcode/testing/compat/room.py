"""One version of the CLI in a clean room: under our keeper, with our command line and environment, a scripted model."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from betcode.adapters.environment import FIXED
from betcode.adapters.launcher import arguments
from betcode.keeper.tree import find_tree, kill
from betcode.model.ids import ClaudeSessionId, SessionId
from betcode.model.rows import Options, SessionRow
from betcode.testing.claude_home import RunningModelServer, clean_env
from betcode.testing.conversation import is_background
from betcode.testing.installation import scripted
from betcode.testing.keeper_process import KeeperLink, KeeperProcess, is_running, wait_until
from betcode.testing.limits import COMPAT_NEWS_S, COMPAT_SILENCE_S
from betcode.wire import claude_stdin

Line = dict[str, Any]
Script = dict[str, Any]


class Missed(Exception):
    """What was waited for did not come."""


@dataclass(slots=True)
class Claude:
    """A running CLI and all that it printed. `lines` grows while something is waited for."""

    keeper: KeeperProcess
    project: Path
    link: KeeperLink
    lines: list[Line] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    _read: int = 0

    @property
    def ran(self) -> list[str]:
        """What the scripted tools wrote into the project, one line each time that one ran."""
        with contextlib.suppress(FileNotFoundError):
            return (self.project / "ran").read_text().split()
        return []

    def write(self, line_id: str, line: bytes) -> None:
        """One line for claude."""
        self.link.write(line_id, line)

    def say(self, text: str, *steps: Script, message_id: str = "") -> str:
        """A user message; with `steps` it carries the model's script. Returns its uuid."""
        message_id = message_id or str(uuid.uuid4())
        line = claude_stdin.user_message(message_id, scripted(text, *steps) if steps else text)
        self.write(f"{message_id}/{len(self.link.acks)}", line)  # an id of its own, or the keeper would drop a copy
        return message_id

    def request(self, subtype: str, within_s: float = COMPAT_NEWS_S, **fields: Any) -> Line:
        """A control request and its answer. Raises Missed when none comes."""
        line_id = f"ask:{uuid.uuid4()}"
        body = {"type": "control_request", "request_id": line_id, "request": {"subtype": subtype, **fields}}
        self.write(line_id, json.dumps(body).encode())
        found = self.until(
            lambda line: line.get("type") == "control_response" and line["response"].get("request_id") == line_id,
            what=f"an answer to {subtype}",
            within_s=within_s,
        )
        answer: Line = found["response"]
        return answer

    def initialize(self, hook: Line | None = None) -> Line:
        """The first line of each process; `hook` asks to be called before Bash runs. Returns the answer's body."""
        hooks = {"PreToolUse": [{"matcher": "Bash", "hookCallbackIds": ["h"], **hook}]} if hook is not None else None
        body: Line = self.request("initialize", hooks=hooks).get("response") or {}
        return body

    def answer(self, asked: Line, body: Line) -> None:
        """Answer a control request of claude."""
        response = {"subtype": "success", "request_id": asked["request_id"], "response": body}
        self.write(f"answer:{uuid.uuid4()}", json.dumps({"type": "control_response", "response": response}).encode())

    def until(
        self, match: Callable[[Line], Any], *, what: str, within_s: float = COMPAT_NEWS_S, after: int = 0
    ) -> Line:
        """The first line from number `after` on that matches. Raises Missed."""
        with contextlib.suppress(TimeoutError, ConnectionError):
            self.link.until(lambda: self._found(match, after) is not None, what=what, deadline_s=within_s)
        found = self._found(match, after)
        if found is None:
            raise Missed(f"{what} did not come")
        return found

    def _found(self, match: Callable[[Line], Any], after: int) -> Line | None:
        self._take()
        return next((line for line in self.lines[after:] if match(line)), None)

    def _take(self) -> None:
        end = self.link.out.rfind(b"\n") + 1
        for raw in bytes(self.link.out[self._read : end]).splitlines():
            self.raw.append(raw)
            with contextlib.suppress(ValueError):
                line = json.loads(raw)
                self.lines += [line] if isinstance(line, dict) else []
        self._read = max(self._read, end)

    def result(self, *, after: int = 0) -> Line:
        """The next result."""
        return self.until(lambda line: line.get("type") == "result", what="a result", after=after)

    def asked(self, *, after: int = 0, subtype: str = "can_use_tool") -> Line:
        """The next question of claude: whether a tool may run, or a hook."""
        return self.until(
            lambda line: line.get("type") == "control_request" and line["request"].get("subtype") == subtype,
            what=f"a question ({subtype})",
            after=after,
        )

    def wait(self, seconds: float = COMPAT_SILENCE_S) -> None:
        """Take what comes in this time: for what must not happen, and can only be waited for."""
        with contextlib.suppress(TimeoutError, ConnectionError):
            self.link.until(lambda: False, what="", deadline_s=seconds)
        self._take()

    def end(self, how: str = "close_stdin") -> dict[str, object]:
        """End it by closing its input, by SIGTERM (`term`) or SIGKILL (`kill`); returns the keeper's report."""
        self.link.end(how, grace_s=COMPAT_NEWS_S)
        with contextlib.suppress(TimeoutError, ConnectionError):
            self.link.until(lambda: self.link.exit, what="the end of claude")
        self._take()
        return self.keeper.report()

    def die(self) -> None:
        """kill -9 of claude and its tools, at once: nothing more is said or stored."""
        os.kill(self.keeper.claude_pid, signal.SIGKILL)
        for process in find_tree(self.keeper.claude_pid, str(self.keeper.spec["mark"])):
            kill(process, signal.SIGKILL)
        wait_until(lambda: not is_running(self.keeper.claude_pid), what="the end of claude")
        self.keeper.wait_gone()


@dataclass(slots=True)
class Room:
    """Where one scenario of one version takes place: home, project and conversation of its own."""

    claude: Path
    folder: Path
    model: RunningModelServer
    record: Path
    """Every request that the model got, a line of JSON each."""
    conversation: ClaudeSessionId = field(default_factory=lambda: ClaudeSessionId(str(uuid.uuid4())))
    runs: int = 0
    heard: list[bytes] = field(default_factory=list)
    """Every line that the CLI printed here."""

    def __post_init__(self) -> None:
        for name in ("home", "project"):
            (self.folder / name).mkdir(parents=True)

    @property
    def env(self) -> dict[str, str]:
        """The whole environment of claude."""
        return clean_env(self.folder / "home", self.model.url) | FIXED

    @contextlib.contextmanager
    def started(
        self, *, resume: bool = False, env: Mapping[str, str] | None = None, options: Options | None = None
    ) -> Iterator[Claude]:
        """A process on this room's conversation; ended and cleared away afterwards."""
        self.runs += 1
        row = SessionRow(
            id=SessionId("compat"),
            claude_session_id=self.conversation,
            directory=str(self.folder / "project"),
            name="",
            created_at="",
            options=options or Options(),
            state="NEW",
            reason="",
            epoch=1,
            seq=0,
            run=self.runs,
            offset=0,
            checkpoint=0,
            life={},
        )
        argv = arguments(self.claude, row, resume=resume)
        kept = self.folder / "k"
        kept.mkdir(exist_ok=True)
        env = self.env | dict(env or {})
        with KeeperProcess(kept, argv, run=self.runs, env=env, cwd=row.directory) as keeper:
            claude = Claude(keeper, self.folder / "project", keeper.link().attach())
            try:
                yield claude
            finally:
                self.heard += claude.raw

    def requests(self) -> Sequence[Line]:
        """Bodies of the model requests of this room so far, oldest first, without the CLI's own."""
        with contextlib.suppress(FileNotFoundError):
            sent = [json.loads(line) for line in self.record.read_text().splitlines()]
            return [r["body"] for r in sent if r["session"] == self.conversation and not is_background(r["body"])]
        return []


def version_of(claude: Path, folder: Path) -> str:
    """What `claude --version` says, in an environment of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    env = clean_env(folder, "http://127.0.0.1:9")
    done = subprocess.run([str(claude), "--version"], env=env, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.split()[0]


def cleared(folder: Path) -> Path:
    """The same folder, empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
