"""What the daemon says when the file of claude changes: once in its log, and in the status while it is so."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from betcode.adapters.claude_binary import ClaudeBinary
from betcode.core.diagnosis.finding import Severity
from betcode.core.diagnosis.programs import RunningClaude, judge_running_claude
from betcode.daemon.claude_watch import ClaudeWatch
from betcode.model.capabilities import TESTED, dotted
from betcode.testing.small_engine import KeptLog

ENV = {"PATH": "/usr/bin:/bin"}


def put(folder: Path, version: str) -> Path:
    """Replace the program in one step, as an update does."""
    new = folder / "new"
    new.write_text(f"#!/bin/sh\necho '{version} (Claude Code)'\n")
    new.chmod(0o700)
    return new.replace(folder / "claude")


async def watched(folder: Path, version: str) -> tuple[ClaudeWatch, KeptLog]:
    """A daemon that has started with this version."""
    binary, log = ClaudeBinary(str(put(folder, version))), KeptLog()
    await binary.checked("", ENV)
    return ClaudeWatch(binary, log, lambda: ENV), log


def said(log: KeptLog) -> list[str]:
    return [message for message, _ in log.lines]


@pytest.mark.req("PS-12")
def test_an_upgrade_is_told_once_and_stands_in_the_status(tmp_path: Path) -> None:
    async def run() -> None:
        watch, log = await watched(tmp_path, "2.1.222")
        assert watch.status() == {"path": str(tmp_path / "claude"), "version": "2.1.222", "warnings": []}
        put(tmp_path, "2.1.330")
        for _ in range(3):
            await watch.look()
        [(message, fields)] = log.lines
        assert message.startswith("claude was replaced")
        assert {"before": "2.1.222", "now": "2.1.330"}.items() <= fields.items()
        status = watch.status()
        assert (status["version"], status["before"]) == ("2.1.330", "2.1.222")
        assert len(status["warnings"]) == 1

    asyncio.run(run())


@pytest.mark.req("PS-12")
def test_one_that_is_too_old_stops_new_processes_until_it_is_replaced_again(tmp_path: Path) -> None:
    async def run() -> None:
        watch, log = await watched(tmp_path, "2.1.330")
        put(tmp_path, "2.1.139")
        await watch.look()
        await watch.look()
        assert [m[:18] for m in said(log)] == ["claude was replaced"[:18], "no new claude is started"[:18]]
        status = watch.status()
        assert "too old" in status["problem"]
        assert "2.1.222" in status["hint"]
        put(tmp_path, "2.1.330")
        await watch.look()
        assert said(log)[-1] == "claude can be started again"
        assert watch.status() == {"path": str(tmp_path / "claude"), "version": "2.1.330", "warnings": []}

    asyncio.run(run())


@pytest.mark.req("PS-12")
def test_one_that_was_removed_is_told_once(tmp_path: Path) -> None:
    async def run() -> None:
        watch, log = await watched(tmp_path, "2.1.330")
        (tmp_path / "claude").unlink()
        await watch.look()
        await watch.look()
        assert said(log) == ["no new claude is started; those that run go on"]

    asyncio.run(run())


@pytest.mark.req("PS-12")
def test_a_newer_one_than_was_tried_is_a_warning_once_and_is_used(tmp_path: Path) -> None:
    async def run() -> None:
        newer = dotted((*TESTED[:2], TESTED[2] + 1))
        watch, log = await watched(tmp_path, newer)
        await watch.look()
        put(tmp_path, f"{newer} again")
        await watch.look()
        assert said(log) == ["claude is newer than BetCode was tried with"]
        assert ["newer than" in warning for warning in watch.status()["warnings"]] == [True]

    asyncio.run(run())


@pytest.mark.req("PS-12")
def test_the_watch_looks_again_and_again(tmp_path: Path) -> None:
    async def run() -> None:
        watch, log = await watched(tmp_path, "2.1.222")
        task = asyncio.create_task(watch.watch(0.001))
        try:
            for version in ("2.1.283", "2.1.330"):
                put(tmp_path, version)
                async with asyncio.timeout(30):
                    while watch.status()["version"] != version:  # noqa: ASYNC110 - a condition, with a deadline
                        await asyncio.sleep(0.001)
        finally:
            task.cancel()
        assert len(log.lines) == 2

    asyncio.run(run())


@pytest.mark.req("PS-12")
@pytest.mark.parametrize(
    "found, severity",
    [
        (RunningClaude(), None),
        (RunningClaude("/bin/claude", "2.1.330"), Severity.OK),
        (RunningClaude("/bin/claude", "2.1.330", before="2.1.222"), Severity.INFO),
        (RunningClaude("/bin/claude", "2.1.330", problem="too old", hint="update it"), Severity.ERROR),
    ],
)
def test_the_doctor_passes_on_what_the_daemon_knows(found: RunningClaude, severity: Severity | None) -> None:
    assert [one.severity for one in judge_running_claude(found)] == ([severity] if severity else [])
