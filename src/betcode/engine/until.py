"""Waiting for a session to come to some state."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from betcode.core.life import Session
from betcode.engine.session import SessionRunner


async def until(runner: SessionRunner, holds: Callable[[Session], bool], steady_s: float) -> bool:
    """Wait until the committed session is so; False when that did not come by `steady_s`."""
    listener = asyncio.Event()
    runner.feed.listeners.add(listener)
    try:
        while not (holds(runner.session) and runner.feed.settled):
            left = steady_s - runner.world.clock.now().steady_s
            if left <= 0:
                return False
            listener.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await listener.wait()
        return True
    finally:
        runner.feed.listeners.discard(listener)
