"""The service of the directories in use: what it is called, who runs it, and whether it is installed."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from betcode.adapters.environment import child_environment
from betcode.adapters.launchd import Launchd
from betcode.adapters.supervisor import Supervisor
from betcode.adapters.user_systemd import UserSystemd
from betcode.config.paths import Paths, mark_of
from betcode.core.service.service import Service, carried, missing, names_in, service_name
from betcode.model.errors import BetcodeError
from betcode.model.rows import Options

ENVIRONMENT_FILE = "service.env"
"""In the directory of the settings; written by nobody but the user."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where one call of `betcode` stands: directories, variables, and the command of their daemon."""

    paths: Paths
    env: Mapping[str, str]
    argv: tuple[str, ...]

    def supervisor(self) -> Supervisor:
        """Whoever runs services on this kind of system."""
        return Launchd(self.env) if sys.platform == "darwin" else UserSystemd(self.env)

    @property
    def environment_file(self) -> Path:
        """Where the user puts what the service shall have besides."""
        return self.paths.config / ENVIRONMENT_FILE

    def service(self) -> Service:
        """The service as it would be installed from here."""
        return Service(
            service_name(mark_of(self.paths)),
            self.argv,
            environment=carried(self.env),
            environment_file=str(self.environment_file),
            log=str(self.paths.stderr),
        )

    def installed(self) -> tuple[Supervisor, Service] | None:
        """The service of these directories and who runs it; None when it is not installed."""
        runs, service = self.supervisor(), self.service()
        return (runs, service) if runs.file(service).exists() else None

    def reachable(self) -> tuple[Supervisor, Service] | None:
        """As `installed`; also None where its supervisor does not answer, as in a container or a foreign shell."""
        found = self.installed()
        return None if found is None or found[0].problem() else found

    def kept_out(self, runs: Supervisor) -> list[str]:
        """Names of the variables of this shell that claude would get, and will not get from the service."""
        passed = set(child_environment(self.env, Options())) & set(self.env)
        return missing(passed, elsewhere=[*runs.variables(), *self._own_names()])

    def _own_names(self) -> list[str]:
        file = self.environment_file
        if not os.path.exists(file):
            return []
        try:
            return names_in(file.read_text(encoding="utf-8", errors="replace"))
        except OSError as error:
            raise BetcodeError(
                "config.invalid", f"{str(file)!r} cannot be read: {error.strerror}", hint=f"chmod 600 '{file}'"
            ) from error


def unavailable(problem: str) -> BetcodeError:
    """There is nobody to run a service."""
    return BetcodeError(
        "service.unavailable",
        f"{problem}, so no service can be installed; nothing was changed",
        hint="None is needed: the next command starts the daemon. In a container let init run `betcode daemon run`.",
    )
