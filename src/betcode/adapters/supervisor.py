"""What systemd and launchd have in common for us: a file that describes the daemon, and commands, remembered."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from betcode.core.service.service import Service
from betcode.model import limits
from betcode.model.errors import BetcodeError


class Supervisor(Protocol):
    """Starts the daemon at the login, and again when it failed. Its methods block."""

    kind: str
    tools: Tools

    def problem(self) -> str:
        """Why there is nobody to run a service here; empty if there is."""
        ...

    def file(self, service: Service) -> Path:
        """Where the service is described."""
        ...

    def links(self, service: Service) -> list[Path]:
        """What `register` leaves besides."""
        ...

    def text(self, service: Service) -> str:
        """What stands there."""
        ...

    def register(self, service: Service) -> None:
        """The file is written: have it read, and the service started at each login. Raises `service.failed`."""
        ...

    def start(self, service: Service) -> None:
        """Start it unless it runs. Raises `service.failed`, or what the daemon says of its start."""
        ...

    def restart(self, service: Service) -> None:
        """End the daemon if it runs, and start it; as `start`."""
        ...

    def withdraw(self, service: Service) -> None:
        """End the daemon and start it at no login any more; sessions go on. The file is still there."""
        ...

    def forget(self, service: Service) -> None:
        """The file is removed."""
        ...

    def pid(self, service: Service) -> int | None:
        """The daemon of the service, if it runs."""
        ...

    def variables(self) -> list[str]:
        """Names of the variables that it gives to every service."""
        ...


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    argv: list[str]
    status: int
    out: str
    err: str


@dataclass(slots=True)
class Tools:
    """Runs commands of the system. `ran` are those that were to change something, for people to see."""

    env: Mapping[str, str]
    ran: list[list[str]] = field(default_factory=list)

    def has(self, name: str) -> bool:
        """Whether there is such a command."""
        return shutil.which(name, path=self.env.get("PATH")) is not None

    def ask(self, *argv: str) -> Done:
        """Run a command that changes nothing."""
        return self._run(argv, limits.SERVICE_TOOL_S)

    def change(self, *argv: str, wait_s: float = limits.SERVICE_TOOL_S) -> Done:
        """Run a command whatever its outcome."""
        self.ran.append(list(argv))
        return self._run(argv, wait_s)

    def must(self, *argv: str, wait_s: float = limits.SERVICE_TOOL_S) -> None:
        """Run a command that has to succeed. Raises BetcodeError `service.failed`."""
        done = self.change(*argv, wait_s=wait_s)
        if done.status != 0:
            raise failed(done)

    def _run(self, argv: tuple[str, ...], wait_s: float) -> Done:
        program = shutil.which(argv[0], path=self.env.get("PATH")) or argv[0]
        try:
            done = subprocess.run(
                [program, *argv[1:]],
                env=dict(self.env),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=wait_s,
                check=False,
            )
        except OSError as error:
            return Done(list(argv), os.EX_OSERR, "", f"it cannot be executed: {error.strerror}")
        except subprocess.TimeoutExpired:
            return Done(list(argv), os.EX_TEMPFAIL, "", f"it did not end within {wait_s:.0f} s")
        return Done(
            list(argv), done.returncode, *(text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
        )


def failed(done: Done) -> BetcodeError:
    """A command of the system that did not do what it was told."""
    said = " ".join((done.err or done.out).split())[: limits.LOG_FIELD_CHARS] or f"exit status {done.status}"
    return BetcodeError(
        "service.failed",
        f"{' '.join(done.argv)}: {said}",
        hint="Run that command yourself to see more; then try again.",
    )
