"""A claude that changes on the disk, one that is not what its file says, and one that is newer than was tried."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import Any

import pytest

from betcode.client.client import Client
from betcode.model.capabilities import TESTED, dotted
from betcode.testing.claude_home import bundled_claude
from betcode.testing.command import Command
from betcode.testing.installation import Installation, installation, until
from betcode.testing.odd_claude import GIVEN, install
from betcode.testing.odd_sessions import WAIT_S, Seen, session_in

NEWER = dotted((*TESTED[:2], TESTED[2] + 1))


async def said(made: Installation, client: Client, seen: Seen | None = None) -> tuple[Seen, str]:
    """A message, in a new session unless one is given, and its outcome."""
    seen = seen or await session_in(made, client, "nothing", when="never")
    await seen.say()
    return seen, await seen.outcome()


def given(seen: Seen) -> list[str]:
    """The kinds of lines that the session's processes got."""
    file = seen.directory / GIVEN
    return file.read_text().split() if file.exists() else []


def logged(made: Installation, message: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in made.paths.log.read_text().splitlines()]
    return [line for line in lines if line["message"].startswith(message)]


async def looked(betcode: Command) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """What the status says of claude, and the findings of the doctor."""
    status, doctor = await asyncio.gather(
        asyncio.to_thread(betcode, "status", "--json"), asyncio.to_thread(betcode, "doctor", "--json")
    )
    return status.json()["claude"], {one["id"]: one for one in doctor.json()}


@pytest.mark.req("PS-12")
def test_a_claude_that_is_replaced_while_the_daemon_runs_concerns_new_processes_alone_and_is_told_once() -> None:
    async def run(made: Installation) -> None:
        betcode = Command(made.env, made.project)
        async with made.client() as client:
            old, outcome = await said(made, client)
            assert outcome == "completed"
            install(made.home, bundled_claude(), version="2.1.221")

            new, outcome = await said(made, client)
            assert (outcome, given(new)) == ("failed", [])
            assert "claude.too_old" in new.told
            assert (await said(made, client, old))[1] == "completed", "the process that ran goes on"
            status, findings = await looked(betcode)
            assert "too old" in status["problem"]
            assert [findings[name]["severity"] for name in ("claude.version", "claude.daemon")] == ["error", "error"]
            ended = await asyncio.to_thread(betcode, "run", "again")
            assert (ended.status, "2.1.221" in ended.err, "hint: " in ended.err) == (78, True, True), ended

            install(made.home, bundled_claude(), version=dotted(TESTED))
            assert (await said(made, client, new))[1] == "completed"
            os.kill((await old.look())["claude_pid"], signal.SIGKILL)
            for _ in range(2):
                assert (await said(made, client, old))[1] == "completed"
            assert [event.get("code") for event in old.events].count("claude.changed") == 1
            status, findings = await looked(betcode)
            assert (status["before"], status["version"], "problem" in status) == ("2.1.330", dotted(TESTED), False)
            assert findings["claude.daemon"]["severity"] == "info"
        assert [(line["before"], line["now"]) for line in logged(made, "claude was replaced")] == [
            ("2.1.330", "2.1.221"),
            ("2.1.221", dotted(TESTED)),
        ]
        assert len(logged(made, "no new claude is started")) == 1

    with installation() as one:
        one.env["BETCODE_CLAUDE"] = str(install(one.home, bundled_claude()))
        asyncio.run(run(one))


@pytest.mark.req("PS-12")
def test_a_process_that_is_older_than_its_file_says_gets_nothing_and_a_newer_one_than_was_tried_works() -> None:
    async def run(made: Installation) -> None:
        async with made.client() as client:
            for _ in range(2):
                assert (await said(made, client))[1] == "completed"
            assert len(logged(made, "claude is newer than BetCode was tried with")) == 1
            text = await asyncio.to_thread(Command(made.env, made.project), "status")
            assert f"warning   claude {NEWER} is newer than {dotted(TESTED)}" in text.out

            for process, asked, lines in (
                ("2.1.139", "", ["initialize"]),
                ("none", "2.1.139", ["initialize", "get_binary_version"]),
                ("none", "", ["initialize", "get_binary_version"]),
            ):
                install(made.home, bundled_claude(), process=process, asked=asked)
                seen, outcome = await said(made, client)
                assert (outcome, given(seen)) == ("failed", lines)
                assert ("claude.too_old" if process != "none" or asked else "claude.version_unknown") in seen.told
                await until(lambda seen=seen: not seen.alive(), within_s=WAIT_S, what="the end of its process")
            install(made.home, bundled_claude(), process="none", asked="2.1.222")
            seen, outcome = await said(made, client)
            assert (outcome, given(seen)) == ("completed", ["initialize", "get_binary_version", "user"])

    with installation() as one:
        one.env["BETCODE_CLAUDE"] = str(install(one.home, bundled_claude(), version=NEWER))
        asyncio.run(run(one))
