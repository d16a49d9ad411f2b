"""The daemon as an agent of launchd, on macOS. Not tried on a Mac yet."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from betcode.adapters.supervisor import Tools, failed
from betcode.core.service.launch_agent import agent_text, label
from betcode.core.service.service import Service
from betcode.model import limits

_PID = re.compile(r"^\s*pid = (\d+)$", re.MULTILINE)
_IN_PROGRESS = 36
"""Status of `launchctl bootout` that has begun and not ended."""


class Launchd:
    """Fulfils `Supervisor`. launchctl does not wait for the daemon: whoever starts it waits for its answer."""

    kind = "launchd"

    def __init__(self, env: Mapping[str, str]) -> None:
        """`env`: of this process."""
        self._env = env
        self.tools = Tools(env)

    def problem(self) -> str:
        """As `Supervisor`."""
        if not self.tools.has("launchctl"):
            return "this system has no launchctl"
        return "" if self.tools.ask("launchctl", "print", self._domain()).status == 0 else "launchd does not answer"

    def file(self, service: Service) -> Path:
        """As `Supervisor`."""
        return Path(self._env.get("HOME") or Path.home()) / "Library/LaunchAgents" / f"{label(service)}.plist"

    def links(self, service: Service) -> list[Path]:
        """As `Supervisor`: none."""
        return []

    def text(self, service: Service) -> str:
        """As `Supervisor`."""
        return agent_text(service)

    def register(self, service: Service) -> None:
        """As `Supervisor`. What was loaded before is unloaded, or launchd would keep the old text."""
        self._unload(service)
        self.tools.must("launchctl", "enable", self._target(service))

    def start(self, service: Service) -> None:
        """As `Supervisor`."""
        if not self._is_loaded(service):
            self.tools.must("launchctl", "bootstrap", self._domain(), str(self.file(service)))
        self.tools.must("launchctl", "kickstart", self._target(service))

    def restart(self, service: Service) -> None:
        """As `Supervisor`."""
        if not self._is_loaded(service):
            self.start(service)
        else:
            wait_s = limits.SERVICE_STOP_S + limits.SERVICE_TOOL_S
            self.tools.must("launchctl", "kickstart", "-k", self._target(service), wait_s=wait_s)

    def withdraw(self, service: Service) -> None:
        """As `Supervisor`."""
        self._unload(service)

    def forget(self, service: Service) -> None:
        """As `Supervisor`. Without file and job launchd knows nothing of it."""

    def pid(self, service: Service) -> int | None:
        """As `Supervisor`."""
        found = _PID.search(self.tools.ask("launchctl", "print", self._target(service)).out)
        return int(found[1]) if found else None

    def variables(self) -> list[str]:
        """As `Supervisor`: launchd does not tell."""
        return []

    def _unload(self, service: Service) -> None:
        if not self._is_loaded(service):
            return
        wait_s = limits.SERVICE_STOP_S + limits.SERVICE_TOOL_S
        done = self.tools.change("launchctl", "bootout", self._target(service), wait_s=wait_s)
        if done.status not in (0, _IN_PROGRESS):
            raise failed(done)

    def _is_loaded(self, service: Service) -> bool:
        return self.tools.ask("launchctl", "print", self._target(service)).status == 0

    def _target(self, service: Service) -> str:
        return f"{self._domain()}/{label(service)}"

    def _domain(self) -> str:
        """The user's graphical session, or without one what the user has by ssh."""
        graphical = f"gui/{os.geteuid()}"
        return graphical if self.tools.ask("launchctl", "print", graphical).status == 0 else f"user/{os.geteuid()}"
