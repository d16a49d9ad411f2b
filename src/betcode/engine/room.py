"""Tells the pool how many processes there is memory for, again and again (PS-9); what follows is decided there."""

from __future__ import annotations

import asyncio

from betcode.engine.registry import Registry
from betcode.model import limits


async def watch_memory(registry: Registry) -> None:
    """Until cancelled. That the total is reached, and that it is no more, is logged once each."""
    full = False
    while True:
        total = registry.memory
        registry.world.slots.room_for(total.room)
        if total.is_full and not full:
            registry.world.log.warning(
                "all sessions together use the memory that they may: no further claude is started",
                used_bytes=total.used,
                max_bytes=total.limit,
                processes=total.processes,
            )
        elif full and not total.is_full:
            registry.world.log.info("there is memory for further processes again", used_bytes=total.used)
        full = total.is_full
        await asyncio.sleep(limits.MEMORY_ROOM_S)
