"""A tool of the real claude that uses up memory or open files harms its own session, and no other (PS-9, INV-4)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from betcode.keeper.limits import FILES_HARD_MAX, FILES_MAX
from betcode.keeper.tree import start_ticks
from betcode.model.frames import GetStatus
from betcode.testing.installation import Installation, installation, scripted, session_of, until, words
from betcode.testing.witness import WAIT_S, come, look, notices, outcome, send

MEMORY_MIB = 256
HOG = """
import os, time
open("hog.pid", "a").write(f"{os.getpid()} ")
held = [b"x" * (100 << 20)]
while True:
    held.append(b"x" * (2 << 20))
    time.sleep(0.05)
"""
"""40 MiB a second: the looks see it on its way through the last fifth."""
GREEDY = """
import os
taken = []
try:
    while True: taken.append(os.open("/dev/null", os.O_RDONLY))
except OSError as error:
    print(len(taken) + 3, error.strerror)
"""


@pytest.fixture(scope="module")
def made() -> Iterator[Installation]:
    with installation() as one:
        one.env["BETCODE_AGENT_MEMORY_BYTES_MAX"] = str(MEMORY_MIB * 1024 * 1024)
        (one.project / "hog.py").write_text(HOG)
        (one.project / "greedy.py").write_text(GREEDY)
        yield one


def bash(command: str) -> dict[str, Any]:
    return {"tool": {"name": "Bash", "input": {"command": command, "description": "w"}}}


@pytest.mark.req("PS-9", "INV-4", "INV-1", "PS-11")
def test_a_tool_that_uses_up_memory_is_warned_of_and_ended_with_its_turn_while_another_sessions_turn_goes_on(
    made: Installation,
) -> None:
    async def run() -> None:
        async with (
            made.client() as client,
            session_of(made, client, allow=("Bash",)) as greedy,
            session_of(made, client) as other,
        ):
            beside = await send(client, other, scripted("count", {"words": 60, "delta_ms": 100}))
            await come(client, other, "turn_started")
            pid = (await look(client, other))["claude_pid"]
            key = await send(client, greedy, scripted("eat", bash("python3 hog.py"), {"text": "no"}, keep=True))
            state, seen = await outcome(client, greedy, key)
            assert state == "unknown", "the tool may have had its effect"
            seen = await come(client, greedy, "notice", code="limit.memory")
            assert notices(seen) == ["limit.memory_near", "agent.unknown_outcome", "limit.memory"]
            told = [e for e in seen if e["kind"] == "notice"][-1]
            [hog] = map(int, (made.project / "hog.pid").read_text().split())
            assert re.search(rf"python[\d.]* \(pid {hog}\) \d+ MiB", told["message"])
            sizes = re.search(r"used (\d+) MiB of memory, where (\d+) MiB are allowed", told["message"])
            assert sizes is not None
            used, allowed = map(int, sizes.groups())
            assert MEMORY_MIB + 100 < allowed <= used + 1
            assert "python3 hog.py" in told["message"]
            assert "agent.memory_bytes_max" in told["hint"]
            assert start_ticks(hog) is None
            assert (await outcome(client, other, beside))[0] == "completed"
            texts = [e["text"] for e in (await come(client, other, "assistant")) if e["kind"] == "assistant"]
            assert texts == [words(60)]
            assert (await look(client, other))["claude_pid"] == pid
            view = await look(client, greedy)
            assert (view["state"], view["claude_pid"]) == ("IDLE", None), "nothing is started by itself"
            key = await send(client, greedy, scripted("go on", {"text": "fine"}))
            assert (await outcome(client, greedy, key))[0] == "completed"
            assert len((made.project / "hog.pid").read_text().split()) == 1

    asyncio.run(run())


@pytest.mark.req("PS-9", "INV-4")
def test_a_tool_that_takes_open_files_is_refused_at_its_own_limit_and_its_claude_works_on(made: Installation) -> None:
    async def run() -> None:
        async with made.client() as client, session_of(made, client, allow=("Bash",)) as session:
            key = await send(client, session, scripted("first", {"text": "ready"}))
            assert (await outcome(client, session, key))[0] == "completed"
            pid = (await look(client, session))["claude_pid"]
            limits = Path(f"/proc/{pid}/limits")
            held = re.compile(rf"Max open files +{FILES_MAX} +{FILES_HARD_MAX} ")
            await until(lambda: held.search(limits.read_text()), within_s=WAIT_S, what="claude's own limit")
            key = await send(client, session, scripted("take", bash("python3 greedy.py"), {"text": "done"}))
            state, seen = await outcome(client, session, key)
            assert state == "completed"
            assert [e["text"] for e in seen if e["kind"] == "tool_result"] == [f"{FILES_MAX} Too many open files"]
            used = (await look(client, session))["memory_bytes"]
            assert used > 100 * 1024 * 1024
            together = (await client.request(GetStatus()))["memory"]
            assert used <= together["used_bytes"] < together["max_bytes"]

    asyncio.run(run())
