"""Shows what was odd: the lines that could not be read, with their very bytes (ND-9), and what was new."""

from __future__ import annotations

from typing import Any

import msgspec

from betcode.core.instant import iso
from betcode.engine.registry import Registry
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.frames import GetDrift, Quarantine, QuarantinedLine
from betcode.model.ids import SessionId
from betcode.wire.objects import preview

_DAY_S = 86_400.0


async def show_odd(registry: Registry, request: Quarantine | QuarantinedLine | GetDrift) -> dict[str, Any]:
    """The body of the reply. Raises BetcodeError."""
    match request:
        case Quarantine():
            return await list_lines(registry, registry.find(request.session))
        case QuarantinedLine():
            return await read_line(registry, registry.find(request.session), request)
        case GetDrift():
            return {"drift": await registry.world.store.drift()}


async def list_lines(registry: Registry, session: SessionId) -> dict[str, Any]:
    """The body of a reply to `frames.Quarantine`. Raises BetcodeError `store.failed`."""
    found = await registry.world.store.quarantine(session, _since(registry))
    lines = [
        {
            "run": line.run,
            "offset": line.offset,
            "size": line.size,
            "time": line.time,
            "error_type": line.error_type,
            "reason": line.detail,
            "text": preview(line.copy, limits.BAD_LINE_PREVIEW_CHARS, line.size),
        }
        for line in found
    ]
    return {"session": session, "lines": lines}


async def read_line(registry: Registry, session: SessionId, request: QuarantinedLine) -> dict[str, Any]:
    """The body of a reply to `frames.QuarantinedLine`: from the journal, and if that is gone from the copy."""
    line = await registry.world.store.quarantined(session, request.run, request.offset)
    if line is None or line.time < _since(registry):
        raise BetcodeError(
            "request.invalid",
            f"no line at byte {request.offset} of process {request.run} is in quarantine",
            hint=f"See which are: betcode sessions quarantine {session}",
        )
    wanted = min(limits.QUARANTINE_PIECE_BYTES, line.size - request.start)
    data = b""
    while len(data) < wanted:
        at = line.offset + request.start + len(data)
        begins, piece = await registry.world.launcher.read_raw(session, line.run, at, wanted - len(data))
        if begins != at or not piece:
            break
        data += piece
    if not data:
        data = line.copy[request.start : request.start + max(0, wanted)]
    return {"data": msgspec.to_builtins(data), "size": line.size}


def _since(registry: Registry) -> str:
    return iso(registry.world.clock.now().unix_s - limits.QUARANTINE_DAYS * _DAY_S)
