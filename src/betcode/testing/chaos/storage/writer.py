"""A program in the place of `claude` that writes much in each turn, and asks a question in its first.

As `odd_claude`, whose protocol it speaks; it needs the standard library alone.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[4]))

from betcode.testing.odd_claude import VERSION, OddClaude, put

BLOCKS = 300
"""Events of a turn, about."""


class Writer(OddClaude):
    """One process."""

    def say(self, **line: Any) -> None:
        """As claude, which says at its beginning where it works."""
        super().say(**line, **({"cwd": os.getcwd()} if line.get("subtype") == "init" else {}))

    def _perform(self, moment: str) -> str | None:
        if moment == "turn":
            if self._answers == 1:
                self._ask()
            self._write()
        return None

    def _ask(self) -> None:
        """A question for permission; it goes on with either answer."""
        name = f"request_{os.getpid()}"
        body = {"subtype": "can_use_tool", "tool_name": "Bash", "input": {"command": "make"}, "tool_use_id": name}
        self.say(type="control_request", request_id=name, request=body)
        self.answer_to(name, 60.0)

    def _write(self) -> None:
        """Text, and a tool call with its result now and then, each with letters that stand nowhere else."""
        rng = Random(self.message)
        count = int(os.environ.get("WRITER_BLOCKS", BLOCKS))
        parts = []
        for number in range(count):
            name = f"msg_{os.getpid()}_{self._answers}_{number}"
            letters = f"{number} {rng.randbytes(rng.choice((20, 60, 120))).hex()}"
            if number % 10 == 9:
                call: dict[str, Any] = {
                    "type": "tool_use",
                    "id": f"tool_{name}",
                    "name": "Read",
                    "input": {"path": letters},
                }
                parts.append(self._assistant(name, call))
                result = {"type": "tool_result", "tool_use_id": f"tool_{name}", "content": letters[::-1]}
                parts.append(self.encoded(type="user", message={"role": "user", "content": [result]}))
            else:
                parts.append(self._assistant(name, {"type": "text", "text": letters}))
        put(b"".join(parts))

    def _assistant(self, name: str, block: Any) -> bytes:
        return self.encoded(type="assistant", message={"id": name, "content": [block]}, parent_tool_use_id=None)


def main(argv: list[str]) -> None:
    """`argv`: this file and claude's own arguments."""
    if "--version" in argv:
        print(f"{VERSION} (Claude Code)")
        return
    named = [word.partition("=")[2] for word in argv if word.startswith(("--session-id=", "--resume="))]
    Writer({}, named[0] if named else "").work()


if __name__ == "__main__":
    main(sys.argv)
