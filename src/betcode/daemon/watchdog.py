"""Signs of life for the service manager, as long as the daemon really works.

Each is sent from the event loop, after the writer thread has answered: a loop that hangs sends none, and neither does
one whose database thread hangs or is gone. The service manager then ends the daemon and starts another one; turns go on
meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from betcode.adapters.service_notice import ServiceNotice
from betcode.engine.ports import Log
from betcode.model import limits


async def show_life(notice: ServiceNotice, works: Callable[[], Awaitable[None]], log: Log) -> None:
    """Until cancelled; ends at once when no watchdog was asked for.

    Args:
        notice: the way to the service manager.
        works: returns when the database thread has answered; an error ends this, and so the signs of life.
        log: told when a sign could not be sent, and when one can be again.
    """
    if notice.watchdog_s is None:
        return
    told = False
    while True:
        await works()
        sent = notice.alive()
        if sent == told:
            told = not sent
            if told:
                log.warning("the service manager cannot be told that the daemon works")
            else:
                log.info("the service manager can be told again that the daemon works")
        await asyncio.sleep(notice.watchdog_s / limits.WATCHDOG_SIGNS)
