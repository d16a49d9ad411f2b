"""One request and its reply, for verbs that do nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

from betcode.cli.invocation import Invocation
from betcode.model.frames import Request


def ask(invocation: Invocation, request: Request, *, start: bool = True) -> dict[str, Any]:
    """Connect, ask, and leave. Raises BetcodeError."""

    async def once() -> dict[str, Any]:
        async with invocation.client(start=start) as client:
            return await client.request(request)

    return asyncio.run(once())
