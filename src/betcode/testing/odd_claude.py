"""A program in the place of `claude` that does what it is told, good or bad, for tests of what the product does then.

`install` makes the executable for BETCODE_CLAUDE. It reads `odd.json` in the session's directory:

    {"do": DEED, "when": "start" | "initialize" | "turn", ...}     without the file: answers every message, "ok"

At "start" it does the deed before it reads anything, at "initialize" before the answer, at "turn" (usual) in its first
turn after the beginning was shown. A deed that returns lets all go on well. {"do": "real"} becomes the real claude.
More keys stand at the deeds; the table DEEDS is the whole repertoire. It needs the standard library alone, since it
runs without site packages.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, NoReturn

ORDERS = "odd.json"
GIVEN = "given"
"""File in the session's directory: a line for each line that it was given, with its kind."""
VERSION = "2.1.330"
MIB = 1024 * 1024
LETTERS = b"x" * 65_536

SHAPES: tuple[Any, ...] = (
    *(1, None, "text", [], {}, [{"type": "assistant"}]),
    {"type": 7},
    {"type": None},
    {"type": "system"},
    {"type": "system", "subtype": []},
    {"type": "assistant"},
    {"type": "assistant", "message": "no object"},
    {"type": "assistant", "message": {"id": 4, "content": {"type": "text"}}},
    {"type": "user", "message": {"content": 9}},
    {"type": "result", "subtype": {}, "is_error": "perhaps", "usage": [], "user_message_uuids": ["nobody"]},
    {"type": "stream_event", "event": {"type": "content_block_delta", "index": -1, "delta": []}},
    {"type": "control_request", "request": {"subtype": "can_use_tool"}},
    {"type": "control_request", "request_id": "", "request": None},
    {"type": "control_response", "response": {"subtype": "success"}},
    {"type": "command_lifecycle", "command_uuid": 5, "state": []},
    {"type": "rate_limit_event", "rate_limit_info": {"status": 1, "resetsAt": "1e999"}},
    {"type": "tool_progress", "elapsed_time_seconds": 10**400},
)
"""Valid JSON of which nothing fits. A result among them has no message of ours, so it ends no turn of ours."""


def install(folder: Path, real: Path, *, version: str = VERSION, process: str = "", asked: str = "") -> Path:
    """Make the executable in `folder`, or replace it in one step.

    Args:
        folder: where it is called `odd-claude`.
        real: what it becomes for {"do": "real"}.
        version: what it says to `--version`.
        process: what a running one calls itself in its answer to `initialize`, if not `version`; "none" for nothing.
        asked: what a running one says when it is asked for its version.
    """
    path, new = folder / "odd-claude", folder / "odd-claude.new"
    words = [sys.executable, "-I", "-S", str(Path(__file__).resolve()), str(real)]
    says = f"ODD_VERSION={shlex.quote(version)} ODD_PROCESS={shlex.quote(process)} ODD_ASKED={shlex.quote(asked)}"
    new.write_text(f'#!/bin/sh\n{says} exec {shlex.join(words)} "$@"\n', encoding="utf-8")
    new.chmod(0o700)
    return new.replace(path)


def order(directory: Path, do: str, **more: Any) -> None:
    """Tell what the next processes in this directory are to do."""
    fresh = directory / f"{ORDERS}.new"
    fresh.write_text(json.dumps({"do": do, **more}), encoding="utf-8")
    fresh.replace(directory / ORDERS)


def put(data: bytes, fd: int = 1) -> None:
    """Write all of it, however much the pipe takes at a time."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class OddClaude:
    """One process. `orders` is what the file says; `message` the uuid of the turn's message."""

    def __init__(self, orders: dict[str, Any], session: str) -> None:
        self.orders = orders
        self.message = ""
        self._session = session
        self._input = self._lines()
        self._answers = 0
        self._done = False

    # --- the protocol -------------------------------------------------------------------------------------------

    def say(self, **line: Any) -> None:
        """Print one line."""
        put(self.encoded(**line))

    def encoded(self, **line: Any) -> bytes:
        """One line with its newline."""
        return json.dumps({**line, "session_id": self._session}).encode() + b"\n"

    def event(self, **event: Any) -> None:
        """Print one event of the model's stream."""
        self.say(type="stream_event", event=event, parent_tool_use_id=None)

    def delta(self, text: str) -> None:
        """Print more of the answer."""
        self.event(type="content_block_delta", index=0, delta={"type": "text_delta", "text": text})

    def life(self, state: str) -> None:
        """Report on the turn's message."""
        self.say(type="command_lifecycle", command_uuid=self.message, state=state)

    def result(self, *messages: str, text: str = "ok") -> bytes:
        """The line that ends a turn."""
        return self.encoded(
            type="result", subtype="success", is_error=False, terminal_reason="completed", result=text, num_turns=1,
            user_message_uuids=list(messages),
        )  # fmt: skip

    def idle(self) -> None:
        """Say that nothing runs."""
        self.say(type="system", subtype="session_state_changed", state="idle")

    def _lines(self) -> Iterator[dict[str, Any]]:
        rest = b""
        while chunk := os.read(0, 65_536):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield json.loads(line)

    def work(self) -> None:
        """Serve until stdin ends."""
        self._perform("start")
        while (line := next(self._input, None)) is not None:
            self._take(line)

    def _take(self, line: dict[str, Any]) -> None:
        with Path(GIVEN).open("a", encoding="utf-8") as given:
            given.write(f"{line.get('request', line).get('subtype', line['type'])}\n")
        if line["type"] == "user":
            self._turn(line["uuid"])
        elif line["type"] == "control_request":
            if line["request"]["subtype"] == "initialize":
                self._perform("initialize")
            body = self._about(line["request"]["subtype"])
            answer = {"subtype": "success", "request_id": line["request_id"], "response": body}
            self.say(type="control_response", response=answer)

    def _about(self, subtype: str) -> dict[str, Any]:
        """What it says of itself."""
        if subtype == "get_binary_version":
            return {"version": os.environ.get("ODD_ASKED", "")}
        named = os.environ.get("ODD_PROCESS") or os.environ.get("ODD_VERSION") or VERSION
        return {"session_state": "idle"} | ({} if named == "none" else {"claude_code_version": named})

    def _turn(self, message: str) -> None:
        self.message = message
        self.life("queued")
        self.life("started")
        self.say(type="system", subtype="init", model="odd", tools=[], claude_code_version=VERSION)
        self._answers += 1
        name = f"msg_{os.getpid()}_{self._answers}"
        self.event(type="message_start", message={"id": name, "role": "assistant", "content": []})
        self.event(type="content_block_start", index=0, content_block={"type": "text", "text": ""})
        text = self._perform("turn") or "ok"
        self.delta(text)
        content = [{"type": "text", "text": text}]
        self.say(type="assistant", message={"id": name, "content": content}, parent_tool_use_id=None)
        self.event(type="content_block_stop", index=0)
        self.event(type="message_stop")
        put(self.result(message, text=text))
        self.life("completed")
        self.idle()

    def _perform(self, moment: str) -> str | None:
        if self.orders.get("when", "turn") != moment or "do" not in self.orders or self._done:
            return None
        self._done = True
        return DEEDS[self.orders["do"]](self)

    def answer_to(self, request_id: str, within_s: float) -> dict[str, Any] | None:
        """The next line from stdin that answers this request; None if none came in time."""
        signal.signal(signal.SIGALRM, _give_up)
        signal.setitimer(signal.ITIMER_REAL, within_s)
        try:
            for line in self._input:
                if line["type"] == "control_response" and line["response"].get("request_id") == request_id:
                    return line
        except TimeoutError:
            self._input = self._lines()  # an exception ends a generator
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return None

    # --- deeds --------------------------------------------------------------------------------------------------

    def exit(self) -> NoReturn:
        """End with `code`, after `stderr` was written."""
        put(str(self.orders.get("stderr", "")).encode(), 2)
        os._exit(int(self.orders.get("code", 1)))

    def sleep(self) -> NoReturn:
        """Live on, and neither read nor write."""
        while True:
            signal.pause()

    def deaf(self) -> NoReturn:
        """Ignore SIGTERM, in a child of an own session too, and live on."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork() == 0:
            os.setsid()
        self.sleep()

    def fork(self) -> str:
        """Leave three processes of own sessions behind, one without the environment; their pids are in `forked`."""
        for number in range(3):
            between = os.fork()
            if between == 0:
                os.setsid()
                if os.fork() == 0:
                    env = {} if number == 0 else dict(os.environ)
                    os.execve("/bin/sh", ["sh", "-c", "trap '' TERM; echo $$ >> forked; exec sleep 600"], env)
                os._exit(0)
            os.waitpid(between, 0)
        while not Path("forked").exists() or Path("forked").read_text().count("\n") < 3:
            time.sleep(0.01)
        if "code" in self.orders:
            self.exit()
        return "forked"

    def close_stdout(self) -> NoReturn:
        """Close stdout and live on."""
        os.close(1)
        self.sleep()

    def close_stdin(self) -> NoReturn:
        """Close stdin, answer `initialize` only then, and live on: whoever has the answer finds stdin closed."""
        line = next(self._input)
        os.close(0)
        self._take(line)
        Path("closed").touch()
        self.sleep()

    def stderr(self) -> str:
        """Write `mib` MiB to stderr, in lines; then exit with `code` if there is one."""
        for number in range(int(self.orders["mib"]) * MIB // 4096):
            put(b"complaint %08d " % number + LETTERS[:4076] + b"\n", 2)
        if "code" in self.orders:
            os._exit(int(self.orders["code"]))
        return "complained"

    def binary(self) -> str:
        """Print `mib` MiB of random bytes."""
        rng = Random(1)
        for _ in range(int(self.orders["mib"]) * MIB // len(LETTERS)):
            put(rng.randbytes(len(LETTERS)))
        put(b"\n")
        return "binary"

    def endless(self) -> str:
        """Print one line, of `mib` MiB or without an end."""
        for _ in range(int(self.orders.get("mib", MIB)) * MIB // len(LETTERS)):
            put(LETTERS)
        put(b"\n")
        return "long"

    def empty(self) -> str:
        """Print a million empty lines."""
        put(b"\n" * 1_000_000)
        return "empty"

    def shapes(self) -> str:
        """Print valid JSON of wrong shapes, `rounds` times all of them."""
        lines = b"".join(_bare(shape) + b"\n" for shape in SHAPES)
        for _ in range(int(self.orders["rounds"])):
            put(lines)
        return "shapes"

    def foreign(self) -> str:
        """Speak another protocol, `rounds` times: kinds of lines nobody knows, and no JSON at all."""
        known = b"".join(self.encoded(type=f"packet_{number}", data=[number] * 10) for number in range(5))
        for _ in range(int(self.orders["rounds"])):
            put(known + b"Content-Length: 44\r\n\r\n" + b"<reply id='1'/>\n")
        return "foreign"

    def chatter(self) -> str:
        """Print deltas of `size` characters as fast as it can: `mib` MiB, or without an end."""
        text = "chatter " * (int(self.orders["size"]) // 8)
        line = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
        block = self.encoded(type="stream_event", event=line, parent_tool_use_id=None)
        block *= 1 + len(LETTERS) // len(block)
        for _ in range(-(-int(self.orders.get("mib", MIB)) * MIB // len(block))):
            put(block)
        return "chatter"

    def ticks(self) -> str:
        """Print the monotonic time every `every_s` seconds as a delta, until there is a file `stop`."""
        while not Path("stop").exists():
            self.delta(f"{time.monotonic():.6f} ")
            time.sleep(float(self.orders["every_s"]))
        return "stopped"

    def half(self) -> NoReturn:
        """Print half a line and exit."""
        put(self.result(self.message)[:50])
        os._exit(0)

    def stranger(self) -> str:
        """Print a result for a message that nobody sent."""
        put(self.result("11111111-2222-3333-4444-555555555555", text="not yours"))
        return "mine"

    def twice(self) -> str:
        """Print the turn's result one time too many."""
        put(self.result(self.message, text="first"))
        return "second"

    def ask_twice(self) -> str:
        """Ask for a permission, and after the answer again with the same request id."""
        ask = {"subtype": "can_use_tool", "tool_name": "Bash", "input": {"command": "id"}, "tool_use_id": "toolu_1"}
        answers = []
        for within_s in (600.0, float(self.orders.get("wait_s", 1.0))):
            self.say(type="control_request", request_id="same", request=ask)
            self.say(type="control_request", request_id="same", request=ask)
            answer = self.answer_to("same", within_s)
            answers.append(answer["response"]["response"]["behavior"] if answer else "none")
        return " ".join(answers)

    def odd_request(self) -> str:
        """Ask for what nobody knows, under an id of `length` characters."""
        name = "o" * int(self.orders.get("length", 5))
        self.say(type="control_request", request_id=name, request={"subtype": "make_coffee"})
        answer = self.answer_to(name, float(self.orders.get("wait_s", 30.0)))
        return str(answer["response"].get("error")) if answer else "no answer"

    def single_bytes(self) -> str:
        """Print 100 deltas, one byte a write."""
        for number in range(100):
            line = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": f"{number} "}}
            for byte in self.encoded(type="stream_event", event=line, parent_tool_use_id=None):
                put(bytes([byte]))
        return "bytes"

    def lines(self) -> str:
        """Print `lines`, each in hex, `rounds` times all of them."""
        put(b"".join(bytes.fromhex(line) + b"\n" for line in self.orders["lines"]) * int(self.orders.get("rounds", 1)))
        return "printed"

    def nuls(self) -> str:
        """Print 4,096 NULs before a line of the protocol, and again as a line of their own."""
        put(bytes(4096) + self.encoded(type="system", subtype="session_state_changed", state="running"))
        put(bytes(4096) + b"\n")
        return "nuls"


DEEDS: dict[str, Callable[[OddClaude], str]] = {
    name: getattr(OddClaude, name)
    for name in (
        "exit", "sleep", "deaf", "fork", "close_stdout", "close_stdin", "stderr", "binary", "endless", "empty",
        "shapes", "foreign", "chatter", "ticks", "half", "stranger", "twice", "ask_twice", "odd_request",
        "single_bytes", "lines", "nuls",
    )
}  # fmt: skip


def _bare(value: Any) -> bytes:
    return json.dumps(value).encode()


def _give_up(_signal: int, _frame: object) -> None:
    raise TimeoutError


def main(argv: list[str]) -> None:
    """`argv`: this file, the real claude, and claude's own arguments."""
    if "--version" in argv:
        print(f"{os.environ.get('ODD_VERSION', VERSION)} (Claude Code)")
        return
    try:
        orders: dict[str, Any] = json.loads(Path(ORDERS).read_bytes())
    except FileNotFoundError:
        orders = {}
    if orders.get("do") == "real":
        os.execv(argv[1], argv[1:])
    named = [word.partition("=")[2] for word in argv if word.startswith(("--session-id=", "--resume="))]
    OddClaude(orders, named[0] if named else "").work()


if __name__ == "__main__":
    main(sys.argv)
