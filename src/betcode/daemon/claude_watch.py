"""What the daemon knows of the claude on disk: looked at again and again, a change told once, its state in the status.

A process that runs keeps the executable that it was started with. So a change concerns the next process of each
session: with a good version it is started, with one that is too old it is refused, and those that run go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from betcode.adapters.claude_binary import ClaudeBinary, Found, refused
from betcode.engine.ports import Log
from betcode.model import limits
from betcode.model.capabilities import TESTED, dotted, parsed
from betcode.model.errors import BetcodeError


class ClaudeWatch:
    """Of the claude that a session without a PATH of its own gets."""

    def __init__(self, claude: ClaudeBinary, log: Log, environment: Callable[[], Mapping[str, str]]) -> None:
        """`environment`: what a child would get now. What is known of `claude` already counts as found at the start."""
        self._claude = claude
        self._log = log
        self._environment = environment
        self._first = self._now = claude.newest
        self._problem: BetcodeError | None = None
        self._newer: set[str] = set()
        self._tell_newer(claude.version)
        claude.noticed = self._noticed

    async def watch(self, every_s: float = limits.CLAUDE_LOOK_S) -> None:
        """Look at the file every so often, until it is cancelled."""
        while True:
            await asyncio.sleep(every_s)
            await self.look()

    async def look(self) -> None:
        """Look once: cheap while the file is the same."""
        env = self._environment()
        try:
            await self._claude.checked(env.get("PATH", ""), env)
        except BetcodeError as error:
            self._refused(error)
        else:
            self._good(self._claude.newest)

    def _noticed(self, before: Found | None, now: Found) -> None:
        """Some claude, perhaps that of one session's own PATH, was seen first or has changed."""
        if before is not None:
            self._log.warning(
                "claude was replaced: sessions get it with their next process, those that run keep the old one",
                path=now.path,
                before=before.version,
                now=now.version,
            )
        if now.problem is None:
            self._tell_newer(now.version)
        if self._now is None or now.path != self._now.path:
            return
        if now.problem is None:
            self._good(now)
        else:
            self._refused(refused(now.path, now.problem))

    def _refused(self, error: BetcodeError) -> None:
        if self._problem is None or str(self._problem) != str(error):
            what = "no new claude is started; those that run go on"
            self._log.error(what, error_type=error.code, detail=str(error), hint=error.hint)
        self._problem = error

    def _good(self, now: Found | None) -> None:
        if self._problem is not None:
            self._log.info("claude can be started again", version=self._claude.version)
        self._problem, self._now = None, now

    def _tell_newer(self, version: str) -> None:
        numbers = parsed(version)
        if numbers is not None and numbers > TESTED and version not in self._newer:
            self._newer.add(version)
            self._log.warning("claude is newer than BetCode was tried with", version=version, tried=dotted(TESTED))

    def status(self) -> dict[str, Any]:
        """For the reply to `status`: path, version, what it was at the start, and what people should know."""
        now, first = self._now, self._first
        version, before = (now.version, first.version) if now and first else ("", "")
        said: dict[str, Any] = {"path": now.path if now else "", "version": version, "warnings": []}
        if before != version:
            said["before"] = before
            said["warnings"].append(f"claude is {version} for each next process; it was {before} at the daemon's start")
        numbers = parsed(version)
        if numbers is not None and numbers > TESTED:
            said["warnings"].append(f"claude {version} is newer than {dotted(TESTED)}, up to which BetCode was tried")
        if self._problem is not None:
            said |= {"problem": str(self._problem), "hint": self._problem.hint}
            said["warnings"].append(f"no new claude is started: {self._problem}")
        return said
