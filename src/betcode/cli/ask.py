"""One request and its reply, for verbs that do nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

from betcode.cli.invocation import Invocation
from betcode.core.admission import Kind, kind_of
from betcode.model.frames import AnyRequest, Permissions


def ask(invocation: Invocation, request: AnyRequest, *, start: bool = True) -> dict[str, Any]:
    """Connect, ask, and leave. Raises BetcodeError.

    Answers, what stops work, and the list of questions get through to a daemon that admits no more clients.
    """
    urgent = kind_of(request) in (Kind.ANSWER, Kind.CONTROL) or isinstance(request, Permissions)

    async def once() -> dict[str, Any]:
        async with invocation.client(start=start, urgent=urgent) as client:
            return await client.request(request)

    return asyncio.run(once())
