"""A whole BetCode on a disk that gets full in the middle of a turn; for `test_full_disk.py`, in a process of its own.

Its temporary directory (TMPDIR) is the small disk. Prints what it saw as JSON.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from betcode.testing.command import Command
from betcode.testing.installation import Installation, installation, scripted

WAIT_S = 60.0
LARGE = 2_000_000
"""More than the step by which the intake log grows ahead."""


def fill(path: Path) -> None:
    """Take all the room there is, also what a keeper has given up since the last time."""
    with path.open("ab", buffering=0) as ballast:
        size = 1024 * 1024
        while size:
            try:
                ballast.write(b"x" * size)
            except OSError:
                size //= 2


def until(holds: Any, what: str) -> None:
    end = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def journal(made: Installation, session: str) -> bytes:
    return b"".join(path.read_bytes() for path in (made.paths.sessions / session).glob("*.out"))


def answers(betcode: Command, session: str) -> list[str]:
    events = betcode("sessions", "show", "--json", session).lines()
    return [event["text"] for event in events if event["kind"] == "assistant"]


def scene(made: Installation, ballast: Path) -> dict[str, Any]:
    betcode = Command(made.env, made.project)
    first = betcode("run", "--output-format", "json", scripted("first", {"text": "before"}))
    session = betcode.session_of(first)
    sent = betcode("send", session, scripted("second", {"words": 60, "delta_ms": 50}))
    assert sent.status == 0, sent
    fill(ballast)
    pid = made.daemon_pid()
    key = "123e4567-e89b-42d3-a456-426614174000"
    large = scripted(f"third {'x' * LARGE}", {"text": "after"})  # a small one finds room that is kept for it

    def send() -> Any:
        fill(ballast)
        return betcode("send", "--key", key, session, "-", stdin=large.encode())

    until(lambda: b"w30" in journal(made, session), "the turn did not get on")  # its keeper has met the full disk
    refused = send()
    told = betcode("status", "--json").json()["database"]
    alive = made.daemon_pid()
    ballast.unlink()
    again: list[Any] = []

    def accepted() -> bool:
        again.append(betcode("send", "--key", key, session, "-", stdin=large.encode()))
        return bool(again[-1].status == 0)

    until(accepted, "the message was not accepted when there was room again")
    until(lambda: "after" in answers(betcode, session), "the last answer did not come")
    checked = betcode("db", "check", "--json")
    return {
        "refused": [refused.status, refused.err],
        "state": told["state"],
        "warnings": told["warnings"],
        "same_daemon": pid == alive == made.daemon_pid(),
        "answers": answers(betcode, session),
        "whole": checked.json()["ok"],
        "requests": made.model.stats()["requests_total"],
    }


def main() -> None:
    with installation() as made:
        made.paths.data.mkdir(mode=0o700)
        print(json.dumps(scene(made, Path(os.environ["TMPDIR"]) / "ballast")))


if __name__ == "__main__":
    main()
