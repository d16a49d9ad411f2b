"""`betcode daemon restart`, and the part of `upgrade` that concerns a service."""

from __future__ import annotations

import asyncio
from typing import Any

from betcode.adapters.supervisor import Supervisor
from betcode.cli.daemon_install import check_start, stop_stray
from betcode.cli.invocation import Invocation
from betcode.client import brief
from betcode.client.start import start_through
from betcode.config.paths import prepare
from betcode.core.service.service import Service
from betcode.model import limits
from betcode.model.errors import BetcodeError

Who = dict[str, Any]
"""`pid`, `version` and `started_at` of a daemon."""


async def restart_service(invocation: Invocation, runs: Supervisor, service: Service) -> tuple[Who | None, Who]:
    """The daemon that answered before, and the service's that runs now. Turns go on meanwhile.

    Raises:
        BetcodeError: why no daemon could start: then nothing was changed; or what went wrong with the service.
    """
    prepare(invocation.paths)
    old = await asyncio.to_thread(_who, invocation)
    await check_start(invocation)
    await asyncio.to_thread(stop_stray, invocation, runs, service)
    await start_through(lambda: runs.restart(service), socket_path=invocation.paths.socket, always=True)
    new = await asyncio.to_thread(_who, invocation)
    if new is None:
        raise BetcodeError("daemon.unreachable", "the new daemon has ended again", hint="See `betcode daemon logs`.")
    return old, new


def _who(invocation: Invocation) -> Who | None:
    """None as well for one that hangs: a restart is to end it."""
    try:
        found: Who = brief.ask(invocation.paths.socket, "status", timeout_s=limits.HELLO_WAIT_S)["daemon"]
    except BetcodeError:
        return None
    return found
