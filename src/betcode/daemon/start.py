"""The daemon's start from its settings on, the same for `betcode daemon run` and for `python -m betcode.daemon`."""

from __future__ import annotations

import faulthandler
import sys
import time
from collections.abc import Mapping

from betcode.config.load import Loaded, load
from betcode.config.paths import Paths
from betcode.daemon.app import run_daemon
from betcode.daemon.report import StartReport
from betcode.model.errors import BetcodeError


def start(
    paths: Paths,
    env: Mapping[str, str],
    *,
    claude: str | None = None,
    slots: int | None = None,
    report_fd: int | None = None,
    replaces: bool = False,
    rehearses: bool = False,
) -> int:
    """Read the settings and run until the end. Returns the exit status.

    Args:
        paths: where everything is.
        env: the variables that may hold settings.
        claude: the program, instead of the setting.
        slots: turns at the same time, instead of the setting.
        report_fd: pipe to the client that started this one; without it a terminal or a service manager has.
        replaces: as for `run_daemon`.
        rehearses: as for `run_daemon`.

    Raises:
        BetcodeError: the daemon could not start; also reported on `report_fd`.
    """

    def read() -> Loaded:
        return load(flags={"agent.claude": claude, "daemon.slots": slots}, env=env, project_dir=None, paths=paths)

    begun = time.monotonic()
    if sys.stderr is not None:
        faulthandler.enable()  # a daemon that hangs is ended by SIGABRT: then the stacks of its threads are told
    report = StartReport(report_fd)
    try:
        loaded = read()
    except BetcodeError as error:
        report.failed(error)
        raise
    return run_daemon(
        paths,
        loaded,
        configured_in_s=time.monotonic() - begun,
        reload=read,
        report=report,
        foreground=report_fd is None,
        replaces=replaces,
        rehearses=rehearses,
    )
