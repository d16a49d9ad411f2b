"""A stand-in for claude that prints deltas at any rate: the real CLI cannot be made to print thousands a second.

It speaks the part of the CLI's protocol that the daemon needs. A message's text is a JSON object: `count` deltas, `hz`
a second (0: as fast as the pipe takes them). Each delta is the time at which it was printed (`time.monotonic_ns`), so
that whoever shows it knows how old it is. With `ready` all lines are made before the first is printed, so that the
flood is no slower than the pipe; the turn's result is the time at which printing began. Run as a program it reads
messages from standard input; with an argument `direct` it prints for the message given after it, for measuring the
pipe itself.
"""

from __future__ import annotations

import json
import sys
import time

VERSION = "2.1.330"
DIGITS = 16
"""Length of a delta: the time in nanoseconds, padded, and a space."""


def line(value: dict[str, object]) -> str:
    """One line."""
    return json.dumps(value, separators=(",", ":")) + "\n"


def put(value: dict[str, object]) -> None:
    """One line."""
    sys.stdout.write(line(value))


def event(value: dict[str, object]) -> None:
    """One line of the model's stream."""
    put(streamed(value))


def streamed(value: dict[str, object]) -> dict[str, object]:
    """An event of the model's stream as the CLI wraps it."""
    return {"type": "stream_event", "event": value, "session_id": "s", "parent_tool_use_id": None, "uuid": "u"}


def delta(said: list[str]) -> dict[str, object]:
    """The next delta; it is added to what was said."""
    said.append(f"{time.monotonic_ns():>{DIGITS - 1}} ")
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": said[-1]}}


def prepared(count: int, said: list[str]) -> str:
    """The lines of so many deltas."""
    return "".join(line(streamed(delta(said))) for _ in range(count))


def turn(uuid: str, wish: dict[str, float]) -> None:
    """One turn."""
    count, hz = int(wish["count"]), wish["hz"]
    began_ns = time.monotonic_ns()
    put({"type": "command_lifecycle", "command_uuid": uuid, "state": "queued"})
    put({"type": "command_lifecycle", "command_uuid": uuid, "state": "started"})
    put({"type": "system", "subtype": "session_state_changed", "state": "running"})
    put({"type": "system", "subtype": "init", "model": "flood", "claude_code_version": VERSION, "tools": []})
    event({"type": "message_start", "message": {"id": uuid, "role": "assistant", "content": []}})
    event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    said: list[str] = []
    begun = time.monotonic()
    if wish.get("ready"):
        sys.stdout.flush()
        block = prepared(count, said)
        began_ns = time.monotonic_ns()
        sys.stdout.write(block)
        count = 0
    for number in range(count):
        if hz:
            sys.stdout.flush()
            time.sleep(max(0.0, begun + number / hz - time.monotonic()))
        event(delta(said))
    message = {"id": uuid, "role": "assistant", "content": [{"type": "text", "text": "".join(said)}]}
    put({"type": "assistant", "message": message, "parent_tool_use_id": None})
    event({"type": "content_block_stop", "index": 0})
    event({"type": "message_stop"})
    put(
        {
            "type": "result",
            "subtype": "success",
            "is_error": False,
            "result": str(began_ns),
            "num_turns": 1,
            "terminal_reason": "completed",
            "user_message_uuids": [uuid],
        }
    )
    put({"type": "command_lifecycle", "command_uuid": uuid, "state": "completed"})
    put({"type": "system", "subtype": "session_state_changed", "state": "idle"})
    sys.stdout.flush()


def main() -> None:
    """Serve until standard input ends."""
    if "--version" in sys.argv:
        put_version()
        return
    if sys.argv[1:2] == ["direct"]:
        turn("direct", json.loads(sys.argv[2]))
        return
    for asked in sys.stdin:
        value = json.loads(asked)
        if value["type"] == "control_request":
            named = {"session_state": "idle", "claude_code_version": VERSION}  # without one nothing is sent to it
            answer = {"subtype": "success", "request_id": value["request_id"], "response": named}
            put({"type": "control_response", "response": answer})
            sys.stdout.flush()
        elif value["type"] == "user":
            content = value["message"]["content"]
            text = content if isinstance(content, str) else content[0]["text"]
            turn(value["uuid"], json.loads(text))


def put_version() -> None:
    """As `claude --version`."""
    sys.stdout.write(f"{VERSION} (Claude Code)\n")


if __name__ == "__main__":
    main()
