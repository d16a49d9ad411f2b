"""Finding out which upstream a session uses, when it is loaded and before each start of its claude."""

from __future__ import annotations

import asyncio

from betcode.engine.slots import Seat
from betcode.engine.world import World
from betcode.model.rows import SessionRow


async def identify(world: World, seat: Seat, row: SessionRow) -> None:
    """As its settings and credentials say now."""
    identity = await asyncio.to_thread(world.identify, row.options, row.directory)
    seat.access.identified(identity, world.clock.now())
