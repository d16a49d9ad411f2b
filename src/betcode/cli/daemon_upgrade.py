"""Replace the running daemon: the new one is ready before the old one is stopped."""

from __future__ import annotations

import asyncio

from betcode import __version__
from betcode.cli.daemon_end import stop_daemon
from betcode.cli.daemon_restart import Who, restart_service
from betcode.cli.invocation import Invocation
from betcode.client import brief
from betcode.client.start import replace_daemon
from betcode.config.paths import prepare
from betcode.model.errors import BetcodeError


async def upgrade_daemon(invocation: Invocation) -> tuple[Who | None, Who]:
    """The daemon that ran, and the one that runs now; a service is restarted by whoever runs it.

    Raises:
        BetcodeError: the new one did not come up; the message says whether the old one still runs.
    """
    socket = invocation.paths.socket
    if (service := await asyncio.to_thread(invocation.site().reachable)) is not None:
        return await restart_service(invocation, *service)
    if not await asyncio.to_thread(brief.answers, socket):
        await invocation.start_daemon()
        return None, await _who(invocation)
    old = await _who(invocation)
    stopped = False

    async def stop_the_old_one() -> None:
        nonlocal stopped
        await asyncio.to_thread(stop_daemon, socket, end_sessions=False)
        stopped = True

    prepare(invocation.paths)
    try:
        await replace_daemon(
            invocation.daemon_argv(),
            env=dict(invocation.env),
            stderr_path=invocation.paths.stderr,
            socket_path=socket,
            waiting=stop_the_old_one,
        )
        new = await _who(invocation)
    except BetcodeError as error:
        raise _failed(error, old, stopped=stopped) from error
    if new["pid"] == old["pid"]:
        never = BetcodeError("daemon.start_failed", "it ended without a word", hint="See `betcode daemon logs`.")
        raise _failed(never, old, stopped=False)
    return old, new


async def _who(invocation: Invocation) -> Who:
    found: Who = (await asyncio.to_thread(brief.ask, invocation.paths.socket, "status"))["daemon"]
    return found


def _failed(error: BetcodeError, old: Who, *, stopped: bool) -> BetcodeError:
    """What happened, whether a daemon runs, and the way back."""
    what = f"the new daemon (betcode {__version__}) did not come up: {error}"
    if not stopped:
        return BetcodeError(
            error.code,
            f"{what}\nThe old one (betcode {old['version']}, pid {old['pid']}) goes on; nothing was changed.",
            hint=error.hint,
        )
    back = f"pip install betcode=={old['version']} && betcode daemon start"
    return BetcodeError(
        error.code,
        f"{what}\nThe old one (betcode {old['version']}) has ended. Sessions go on without a daemon.",
        hint=f"{error.hint} Then: betcode daemon start. Or go back, for example: {back}",
    )
