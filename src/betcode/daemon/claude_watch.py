"""Looks at the claude on disk again and again, and says what `core.executable` makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from betcode.adapters.claude_binary import ClaudeBinary, Found, refused
from betcode.core import executable
from betcode.core.executable import Executable, Sight
from betcode.engine.ports import Log
from betcode.model import limits
from betcode.model.errors import BetcodeError


class ClaudeWatch:
    """Of the claude that a session without a PATH of its own gets."""

    def __init__(self, claude: ClaudeBinary, log: Log, environment: Callable[[], Mapping[str, str]]) -> None:
        """`environment`: what a child would get now. What is known of `claude` already counts as found at the start."""
        self._claude = claude
        self._log = log
        self._environment = environment
        found = _sight(claude.newest)
        self._known = Executable(first=found, now=found)
        self._take(executable.tell_newer(self._known, claude.version))
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
            self._take(executable.bad(self._known, error))
        else:
            self._take(executable.good(self._known, _sight(self._claude.newest)))

    def status(self) -> dict[str, Any]:
        """As `core.executable.status`."""
        return executable.status(self._known)

    def _noticed(self, before: Found | None, now: Found) -> None:
        problem = None if now.problem is None else refused(now.path, now.problem)
        self._take(executable.seen(self._known, _sight(before), Sight(now.path, now.version), problem))

    def _take(self, step: executable.Step) -> None:
        self._known, words = step
        for word in words:
            getattr(self._log, word.level)(word.message, **word.fields)


def _sight(found: Found | None) -> Sight | None:
    return None if found is None else Sight(found.path, found.version)
