"""What the daemon does about the upstreams beside the sessions: remembers them, looks at credentials, counts down."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Final

import msgspec

from betcode.adapters.metrics import Metrics
from betcode.adapters.upstream_identity import identify, secret_of
from betcode.core.breaker import Change, State
from betcode.core.instant import iso
from betcode.engine.ports import Log
from betcode.engine.registry import Registry
from betcode.engine.upstreams import Upstreams
from betcode.model import upstream_limits as limits
from betcode.model.rows import Options
from betcode.model.upstream import Stored, UpstreamId

FILE: Final = "upstreams.json"
SECRET: Final = "upstreams.secret"  # noqa: S105 - a file name
VALUES: Final = {State.CLOSED: 0.0, State.HALF_OPEN: 1.0, State.OPEN: 2.0}
"""What the gauge of breakers shows."""


class Api:
    """One daemon's."""

    def __init__(
        self, data: Path, log: Log, meter: Metrics, environment: Callable[[Options], Mapping[str, str]]
    ) -> None:
        """Become what an earlier daemon knew; a file that cannot be read is as good as none, and is logged.

        Args:
            data: where it is kept.
            log: gets each change of a breaker once.
            meter: counts them.
            environment: what a claude with these options would get.
        """
        self._path = data / FILE
        self._log = log
        self._meter = meter
        self._environment = environment
        self._secret = secret_of(data / SECRET)
        self._stored: list[Stored] = []
        self._changed = asyncio.Event()
        self._states: dict[str, float] = {}
        self.upstreams = Upstreams(Random(), keep=self._keep, told=self._told, on_error=self._broken)
        self.upstreams.turned_away = lambda: meter.turned_away("api")
        try:
            self.upstreams.restore(msgspec.json.decode(self._path.read_bytes(), type=list[Stored]))
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors
            log.warning("what was known of the API cannot be read; it is asked anew", detail=repr(error))

    def identify(self, options: Options, directory: str) -> UpstreamId:
        """Which upstream such a session uses. It blocks."""
        return identify(self._environment(options), options, directory, self._secret)

    def watch(self, registry: Registry) -> None:
        """Begin what runs beside the sessions."""
        registry.beside("remember the upstreams", self._write())
        registry.beside("look at refused credentials", self._look(registry))
        registry.beside("count down to the next try", self._count_down(registry))

    def _keep(self, stored: list[Stored]) -> None:
        self._stored = stored
        self._changed.set()

    def _told(self, label: str, change: Change) -> None:
        if change.before is change.after:
            return  # it only stays so for longer
        self._states[label] = VALUES[change.after]
        self._meter.breaker("api", max(self._states.values()))
        self._log.warning(
            "the API is asked as before" if change.after.value == "closed" else f"the API is {change.after.value}",
            upstream=label,
            before=change.before.value,
            after=change.after.value,
            reason=change.reason,
            retry_at=iso(change.retry_at_s) if change.retry_at_s else "",
        )

    def _broken(self, error: Exception) -> None:
        self._log.error("a listener of a breaker failed", error_type=type(error).__name__, detail=repr(error))

    async def _write(self) -> None:
        """Store what has changed, at once: a restart must not forget when to come back."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await asyncio.to_thread(_replace, self._path, msgspec.json.encode(self._stored))
            except OSError as error:
                self._log.warning("what is known of the API could not be stored", detail=repr(error))

    async def _look(self, registry: Registry) -> None:
        """See whether credentials that were refused have changed."""
        while True:
            await asyncio.sleep(limits.CREDENTIALS_LOOK_S)
            paused = {access.session for access in self.upstreams.paused()}
            for runner in registry.running():
                if runner.id in paused:
                    await runner.identify()

    async def _count_down(self, registry: Registry) -> None:
        """Show the seconds that are left to those who look on (RL-3)."""
        while True:
            await asyncio.sleep(limits.COUNTDOWN_S)
            waiting = {access.session for access in self.upstreams.waiting()}
            for runner in registry.running():
                if runner.id in waiting and runner.feed.listeners:
                    runner.show_waits()


def _replace(path: Path, content: bytes) -> None:
    """Raises OSError."""
    new = path.with_name(f"{path.name}.new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
