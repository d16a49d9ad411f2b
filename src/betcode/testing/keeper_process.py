"""A real keeper for tests and measurements: start one, talk to it, and be sure that it ends.

`KeeperLink` is a blocking stand-in for the daemon's side: it collects what arrives and waits for conditions, each
with a deadline. It is no model for the daemon, which must never wait for one keeper.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

import betcode.keeper
from betcode.keeper.protocol import (
    FrameReader,
    Kind,
    attach_frame,
    end_frame,
    frame,
    json_payload,
    out_payload,
    stdin_frame,
)
from betcode.keeper.tree import kill_tree

DEADLINE_S = 30.0
"""For anything a healthy keeper does within milliseconds, on a machine that does other work as well."""
_END_S = 10.0
"""A keeper that is told to end and whose claude is dead needs milliseconds; then it is killed."""
_POLL_S = 0.005
_RECEIVE_BYTES = 1 << 20


def wait_until(condition: Callable[[], object], *, what: str, deadline_s: float = DEADLINE_S) -> None:
    """Return once `condition()` is true. Raises TimeoutError naming `what` after the deadline."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {deadline_s:g} s: {what}")
        time.sleep(_POLL_S)


def is_running(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def lock_is_free(session_dir: Path) -> bool:
    """Whether anybody could take the session's lock now."""
    with (session_dir / "lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


class LaunchFailed(Exception):
    """The launcher said no. `fields` is its answer."""

    def __init__(self, fields: dict[str, object]) -> None:
        super().__init__(str(fields))
        self.fields = fields


class KeeperLink:
    """One connection to a keeper. Everything received so far lies in the attributes."""

    def __init__(self, path: str) -> None:
        """Connect and wait for HELLO."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(DEADLINE_S)
        self._socket.connect(path)
        self._reader = FrameReader()
        self.out = bytearray()
        self.out_start = 0
        self.err = bytearray()
        self.acks: list[dict[str, object]] = []
        self.beats: list[dict[str, object]] = []
        self.hello: dict[str, object] = {}
        self.exit: dict[str, object] | None = None
        self.refused: dict[str, object] | None = None
        self.closed = False
        self.until(lambda: self.hello or self.closed, what="HELLO")

    def attach(self, *, generation: int = 1, from_offset: int = 0) -> KeeperLink:
        """Send ATTACH."""
        self.out_start = from_offset
        self.send(attach_frame(generation=generation, from_offset=from_offset))
        return self

    def send(self, encoded: bytes) -> None:
        """Send frames as they are."""
        self._socket.sendall(encoded)

    def write(self, line_id: str, line: bytes) -> None:
        """Ask for a line, without waiting for its ACK."""
        self.send(stdin_frame(line_id, line))

    def end(self, how: str, *, grace_s: float = 0.0) -> None:
        """Ask for claude's end."""
        self.send(end_frame(how, grace_s=grace_s))

    def ping(self) -> dict[str, object]:
        """The next BEAT."""
        seen = len(self.beats)
        self.send(frame(Kind.PING))
        self.until(lambda: len(self.beats) > seen, what="a BEAT")
        return self.beats[-1]

    def ack(self, line_id: str, *, number: int = 1) -> dict[str, object]:
        """The ACK for this id, or the second, third ... one."""

        def found() -> list[dict[str, object]]:
            return [ack for ack in self.acks if ack["id"] == line_id]

        self.until(lambda: len(found()) >= number, what=f"ACK {number} of {line_id}")
        return found()[number - 1]

    def until(self, condition: Callable[[], object], *, what: str, deadline_s: float = DEADLINE_S) -> None:
        """Receive until `condition()` is true. Raises TimeoutError; ConnectionError if the keeper closes first."""
        end = time.monotonic() + deadline_s
        while not condition():
            if self.closed:
                raise ConnectionError(f"the keeper closed the connection before: {what}")
            if not self.receive(max(0.0, end - time.monotonic())):
                raise TimeoutError(f"not within {deadline_s:g} s: {what}")

    def receive(self, timeout_s: float) -> bool:
        """Take one chunk; False if none came in time."""
        self._socket.settimeout(timeout_s or 1e-6)
        try:
            chunk = self._socket.recv(_RECEIVE_BYTES)
        except TimeoutError:
            return False
        except ConnectionResetError:
            chunk = b""
        finally:
            self._socket.settimeout(DEADLINE_S)
        self.closed = not chunk
        for kind, payload in self._reader.feed(chunk):
            self._on_frame(kind, payload)
        return True

    def _on_frame(self, kind: int, payload: bytes) -> None:
        if kind == Kind.OUT:
            offset, stdout = out_payload(payload)
            assert offset == self.out_start + len(self.out), f"OUT at {offset} after {self.out_start + len(self.out)}"
            self.out += stdout
        elif kind == Kind.ERR:
            self.err += payload
        elif kind == Kind.ACK:
            self.acks.append(json_payload(payload))
        elif kind == Kind.BEAT:
            self.beats.append(json_payload(payload))
        elif kind == Kind.HELLO:
            self.hello = json_payload(payload)
        elif kind == Kind.EXIT:
            self.exit = json_payload(payload)
        elif kind == Kind.REFUSED:
            self.refused = json_payload(payload)

    def close(self) -> None:
        """Close the socket, as a daemon that dies does."""
        self._socket.close()
        self.closed = True


class KeeperProcess:
    """A started keeper, its claude (or any other program), and the links to it; all ended by `with`."""

    def __init__(self, session_dir: Path, argv: list[str], *, command: list[str] | None = None, **spec: object) -> None:
        """Start it with `command`, see `launch`. Raises LaunchFailed with the launcher's answer."""
        self.session_dir = session_dir
        self.spec: dict[str, object] = {
            "session_dir": str(session_dir),
            "run": 1,
            "argv": argv,
            "env": {"PATH": os.environ.get("PATH", os.defpath)},
            "cwd": str(session_dir),
            "socket": str(session_dir / "s"),
            "generation": 1,
            "mark": f"{session_dir.name}-{os.getpid()}-{time.monotonic_ns()}",
            **spec,
        }
        answer = launch(self.spec, command)
        self.keeper_pid = int(str(answer["keeper_pid"]))
        self.claude_pid = int(str(answer["claude_pid"]))
        self._links: list[KeeperLink] = []

    def link(self) -> KeeperLink:
        """A new connection that has got its HELLO; not yet attached."""
        link = KeeperLink(str(self.spec["socket"]))
        self._links.append(link)
        return link

    def path(self, name: str) -> Path:
        """A file of this run, such as `exit`."""
        return self.session_dir / f"{self.spec['run']}.{name}"

    def report(self) -> dict[str, object]:
        """The exit report, once the keeper is gone."""
        self.wait_gone()
        report: dict[str, object] = json.loads(self.path("exit").read_bytes())
        return report

    def wait_gone(self) -> None:
        """Wait for the end of the keeper."""
        wait_until(lambda: not is_running(self.keeper_pid), what=f"the end of keeper {self.keeper_pid}")

    def signal(self, number: int) -> None:
        """Send the keeper a signal."""
        os.kill(self.keeper_pid, number)

    def __enter__(self) -> KeeperProcess:
        """Nothing more to begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End both processes whatever state they are in."""
        for link in self._links:
            link.close()
        for pid, number in (
            (self.claude_pid, signal.SIGKILL),
            (self.keeper_pid, signal.SIGTERM),
            (self.keeper_pid, signal.SIGCONT),
        ):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        try:
            wait_until(lambda: not is_running(self.keeper_pid), what="", deadline_s=_END_S)
        except TimeoutError:
            os.kill(self.keeper_pid, signal.SIGKILL)
        self.wait_gone()
        kill_tree(self.keeper_pid, str(self.spec["mark"]))  # what a killed keeper has left


def launch(spec: dict[str, object], command: list[str] | None = None) -> dict[str, object]:
    """Run the launcher with this spec; `command` in place of the usual one. Raises LaunchFailed if it answers no."""
    if command is None:
        command = [sys.executable, "-I", "-S", str(Path(betcode.keeper.__file__).with_name("__main__.py"))]
    raw = json.dumps(spec).encode()
    done = subprocess.run(command, input=raw, capture_output=True, timeout=DEADLINE_S, check=False)
    if not done.stdout:
        raise LaunchFailed({"code": "no_answer", "message": done.stderr.decode(errors="replace")})
    answer: dict[str, object] = json.loads(done.stdout)
    if not answer["ok"]:
        raise LaunchFailed(answer)
    return answer


@contextlib.contextmanager
def scripted_child(session_dir: Path, script: str, **spec: object) -> Iterator[KeeperProcess]:
    """A keeper whose claude is a Python script (standard library, no site)."""
    with KeeperProcess(session_dir, [sys.executable, "-I", "-S", "-c", script], command=None, **spec) as keeper:
        yield keeper
