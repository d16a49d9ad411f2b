"""The service of the directories in use: what it is called, who runs it, and whether it is installed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from betcode.adapters.environment import child_environment
from betcode.adapters.launchd import Launchd
from betcode.adapters.supervisor import Supervisor
from betcode.adapters.user_systemd import UserSystemd
from betcode.cli.invocation import Invocation
from betcode.config.paths import mark_of
from betcode.core.service.service import Service, carried, missing, names_in, service_name
from betcode.model.errors import BetcodeError
from betcode.model.rows import Options

ENVIRONMENT_FILE = "service.env"
"""In the directory of the settings; written by nobody but the user."""


def supervisor(invocation: Invocation) -> Supervisor:
    """Whoever runs services on this kind of system."""
    return Launchd(invocation.env) if sys.platform == "darwin" else UserSystemd(invocation.env)


def service_of(invocation: Invocation) -> Service:
    """The service as it would be installed from here."""
    paths = invocation.paths
    return Service(
        service_name(mark_of(paths)),
        tuple(invocation.daemon_argv()),
        environment=carried(invocation.env),
        environment_file=str(paths.config / ENVIRONMENT_FILE),
        log=str(paths.stderr),
    )


def installed(invocation: Invocation) -> tuple[Supervisor, Service] | None:
    """The service of these directories and who runs it; None when it is not installed."""
    runs, service = supervisor(invocation), service_of(invocation)
    return (runs, service) if runs.file(service).exists() else None


def reachable(invocation: Invocation) -> tuple[Supervisor, Service] | None:
    """As `installed`; also None where its supervisor does not answer, as in a container or a foreign shell."""
    found = installed(invocation)
    return None if found is None or found[0].problem() else found


def unavailable(problem: str) -> BetcodeError:
    """There is nobody to run a service."""
    return BetcodeError(
        "service.unavailable",
        f"{problem}, so no service can be installed; nothing was changed",
        hint="None is needed: the next command starts the daemon. In a container let init run `betcode daemon run`.",
    )


def kept_out(invocation: Invocation, runs: Supervisor) -> list[str]:
    """Names of the variables of this shell that claude would get, and will not get from the service."""
    passed = set(child_environment(invocation.env, Options())) & set(invocation.env)
    return missing(passed, elsewhere=[*runs.variables(), *_own_names(invocation)])


def _own_names(invocation: Invocation) -> list[str]:
    file: Path = invocation.paths.config / ENVIRONMENT_FILE
    if not os.path.exists(file):
        return []
    try:
        return names_in(file.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise BetcodeError(
            "config.invalid", f"{str(file)!r} cannot be read: {error.strerror}", hint=f"chmod 600 {file}"
        ) from error
