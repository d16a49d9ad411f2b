"""The daemon as a service of the user: whether it is installed, can start, and is the daemon that runs."""

from __future__ import annotations

from dataclasses import dataclass

from betcode.core.diagnosis.finding import Finding, error, info, ok, warning

NAME = "daemon.service"


@dataclass(frozen=True, slots=True)
class Installed:
    """The service of this data directory as it was found. `file` is empty when it is not installed."""

    kind: str = ""
    file: str = ""
    problem: str = ""
    """Why whoever runs it does not answer."""
    program: str = ""
    """What it starts, if that does not exist any more."""
    pid: int | None = None
    """The daemon that it runs."""


def judge_service(found: Installed, *, daemon_pid: int | None) -> Finding:
    """`daemon_pid`: of the daemon that answers."""
    if not found.file:
        return ok(NAME, "the daemon is not installed as a service; the next command that needs it starts it")
    if found.program:
        what = f"the service starts {found.program}, which does not exist any more"
        return error(NAME, what, "betcode daemon install")
    if found.problem:
        what = f"the daemon is installed as a service ({found.file}), but {found.problem}"
        return info(NAME, what, "betcode daemon start")
    if daemon_pid is not None and found.pid != daemon_pid:
        what = f"a daemon runs (pid {daemon_pid}) beside the service that is installed ({found.file})"
        return warning(NAME, what, "betcode daemon restart")
    if found.pid is None:
        return info(NAME, f"the service is installed and does not run ({found.file})", "betcode daemon start")
    return ok(NAME, f"the daemon is a service of {found.kind}: {found.file}")
